"""Model files: definition, parameters and model card in one safetensors file with a JSON header, no pickle.

Header (one metadata entry, `haarflow`): {"format": "haarflow-model", "version": 1, "definition": {"kind": "Model",
"fields": {...}}, "card": {...}, "conventions": {...}, "versions": {...}}. A definition is nested {"kind": class name,
"fields": {name: value}}; a kind is looked up in the literal table CLASSES of flows/catalogue.py, never imported because a file
names it.
Parameters are stored under their dotted paths, C-contiguous, in their own dtype.
"""

import dataclasses
import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.tree import flatten, paths
from haarflow.backends.types import Array, Tree
from haarflow.core.files import plain, write_bytes
from haarflow.core.untrusted import check_regular, parsed_json, reading
from haarflow.flows.definitions import DefinitionError, decode, encode, outline, shapes
from haarflow.flows.flow import Model
from haarflow.flows.mixtures import AnyModel, Mixture, on_components

FORMAT = "haarflow-model"
VERSION = 1
WHAT = "a model file of this version"
CONVENTIONS = {
    "weight": "exp(-S)",
    "axes": "(*batch, *internal, *lattice), time first",
    "log_det": "log |det dy/dx|; log q(y) = log r(x) - log_det; normalised Haar measure",
    "conv": "y[o,x] = sum_{c,k} w[o,c,k] x[c, x+k-(K-1)/2], periodic",
}


class ModelFileError(ValueError):
    """A file that is not a complete model file of this version, theory and shape."""


class OpenedModel(NamedTuple):
    """A model from a file: definition, parameters on the chosen backend, and its card.

    `model.sample(params, key, n)` draws; the card says how it was trained and what was measured.
    """

    model: Any  # a Model or a Mixture: who opens a file knows which
    params: Tree
    card: dict[str, Any]


def save_model(path: str | os.PathLike[str], model: AnyModel, params: Tree, card: dict[str, Any] | None = None) -> None:
    """Write a model with its card, a JSON-able dict: `theory` (name, lattice, couplings), measured `ess`, and so on.

    Raises TypeError for a definition or a card that holds anything but numbers, strings, tuples and frozen dataclasses, and
    OSError if writing fails, in which case an old file is left unchanged.
    """
    header = {
        "format": FORMAT,
        "version": VERSION,
        "definition": encode(model),
        "card": card or {},
        "conventions": CONVENTIONS,
        "versions": versions(),
    }
    write_bytes(path, pack(paths(params), header))


def open_model(
    path: str | os.PathLike[str],
    backend: Any = None,
    definition: Any = None,
    theory: str | None = None,
    lattice: Iterable[int] | None = None,
) -> OpenedModel:
    """Open a model file on `backend` (a record or a name; NumPy when None).

    `definition` supplies what is not in the library's table: a Model, a flow, or the class (or classes) that the file
    names. `theory` is the expected name; `lattice` puts a translation-invariant flow on another volume, but no flow of pairs,
    whose operator lives on one lattice. Raises
    ModelFileError for a truncated file, a newer version, another theory, an unknown kind, and parameters whose names or
    shapes do not match the definition; FileNotFoundError if there is no file.
    """
    arrays, header = read(path, FORMAT, VERSION)
    card = header["card"]
    check_theory(path, card, theory)
    with reading(path, ModelFileError, WHAT):
        model = _definition(path, header.get("definition"), definition)
    if lattice is not None:
        size = tuple(lattice)
        model = on_components(lambda one: dataclasses.replace(one, prior=_on_lattice(path, one.prior, size)), model)
    backend = backends.get(backend or "numpy") if backend is None or isinstance(backend, str) else backend
    return OpenedModel(model, _params(path, model, arrays, backend), {**card, "versions": header["versions"]})


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the whole header of a model file without building the model: what `haarflow info` prints."""
    return read(path, FORMAT, VERSION)[1]


def pack(named: dict[str, Array], header: dict[str, Any]) -> bytes:
    """Return the bytes of a safetensors file with arrays by name and one JSON metadata entry.

    Arrays are first made C-contiguous and little-endian, since safetensors writes the buffer as it is.
    """
    arrays = {name: _host(leaf) for name, leaf in named.items()}
    return save(arrays, metadata={"haarflow": json.dumps(plain(header), allow_nan=False, sort_keys=True)})


def read(path: str | os.PathLike[str], kind: str, newest: int) -> tuple[dict[str, numpy.ndarray], dict[str, Any]]:
    """Return the arrays by name and the header of a file of the format `kind`.

    Raises ModelFileError for a truncated file, another format, or a version above `newest`.
    """
    check_regular(path, ModelFileError)
    with reading(path, ModelFileError, "a safetensors file"):
        try:
            with safe_open(Path(path), framework="numpy") as file:
                text = (file.metadata() or {}).get("haarflow")
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ModelFileError(
                f"{path} is cut short or not a safetensors file ({error}): copy or write it again"
            ) from None
    header = _header(path, text)
    if header.get("format") != kind:
        raise ModelFileError(f"{path} is not a {kind} file: its format is {header.get('format')!r}")
    if not isinstance(header.get("version"), int) or header["version"] > newest:
        raise ModelFileError(
            f"{path} has format version {header.get('version')}, this version of haarflow reads up to {newest}: upgrade it"
        )
    for name in ("card", "versions"):
        if not isinstance(header.setdefault(name, {}), dict):
            raise ModelFileError(f"{path} has a damaged header ({name} is not a table): copy or write it again")
    return arrays, header


def check_leaves(
    path: str | os.PathLike[str], arrays: dict[str, numpy.ndarray], expected: dict[str, tuple[int, ...]]
) -> None:
    """Raise ModelFileError unless the arrays have the expected names and shapes."""
    if missing := sorted(set(expected) - set(arrays)):
        raise ModelFileError(f"{path} lacks the arrays {_some(missing)} of its definition: it belongs to another model")
    if extra := sorted(set(arrays) - set(expected)):
        raise ModelFileError(
            f"{path} has the arrays {_some(extra)}, which its definition lacks: it belongs to another model"
        )
    for name, shape in expected.items():
        if tuple(arrays[name].shape) != tuple(shape):
            raise ModelFileError(f"{path}: {name} has the shape {tuple(shape)}, got {tuple(arrays[name].shape)}")


def flow_of(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a card says of its flow, the kind and the options of a recipe's [flow], or nothing.

    >>> flow_of({"flow": {"kind": "sweep"}}), flow_of({"flow": "sweep"})
    ({'kind': 'sweep'}, {})
    """
    flow = card.get("flow")
    return dict(flow) if isinstance(flow, dict) else {}


def check_theory(path: str | os.PathLike[str], card: dict[str, Any], theory: str | None) -> None:
    """Raise ModelFileError unless the card's theory is the expected one (None: any)."""
    trained = card.get("theory") or {}
    name = trained.get("name") if isinstance(trained, dict) else trained
    if theory is not None and name != theory:
        raise ModelFileError(f"{path} was trained for the theory {name!r}, expected {theory!r}: open another file")


def versions() -> dict[str, str]:
    """Return the versions of Python, haarflow and the installed array libraries."""
    installed = {"python": platform.python_version()}
    for name in ("haarflow", "numpy", "jax", "torch", "cupy", "numba", "array-api-compat", "safetensors"):
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _definition(path: str | os.PathLike[str], stored: Any, supplied: Any) -> AnyModel:
    if isinstance(supplied, Model | Mixture):
        return supplied
    try:
        if not (supplied is None or isinstance(supplied, type | tuple | list)):
            return Model(decode(stored["fields"]["prior"]), supplied)
        classes = (supplied,) if isinstance(supplied, type) else (supplied or ())
        model = decode(stored, {one.__name__: one for one in classes})
    except DefinitionError as error:
        raise ModelFileError(f"{path}: {error}") from None
    if not isinstance(model, Model | Mixture):
        raise ModelFileError(f"{path}: the definition is not that of a Model with a prior and a flow")
    return model


def _on_lattice(path: str | os.PathLike[str], prior: Any, lattice: tuple[int, ...]) -> Any:
    if lattice == tuple(prior.lattice):
        return prior
    if "lattice" not in {field.name for field in dataclasses.fields(prior)}:
        raise ModelFileError(
            f"{path} holds a flow for the lattice {tuple(prior.lattice)} alone, not for {lattice}: make one there"
        )
    return dataclasses.replace(prior, lattice=lattice)


def _params(path: str | os.PathLike[str], model: AnyModel, arrays: dict[str, numpy.ndarray], backend: Backend) -> Tree:
    """Parameters in the structure of fresh ones, of which only names and shapes are made."""
    with reading(path, ModelFileError, WHAT):
        fresh = outline(model, sum(array.size for array in arrays.values()))
    expected = shapes(fresh)
    check_leaves(path, arrays, expected)
    return flatten(fresh)[1]([backend.asarray(arrays[name], dtype=arrays[name].dtype.name) for name in expected])


def _host(leaf: Array) -> numpy.ndarray:
    array = numpy.asarray(backends.of(leaf).to_numpy(leaf))
    return numpy.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).reshape(array.shape)


def _header(path: str | os.PathLike[str], text: str | None) -> dict[str, Any]:
    if text is None:
        raise ModelFileError(f"{path} has no haarflow header: it was written by another program")
    try:
        return parsed_json(text)
    except ValueError as error:
        raise ModelFileError(f"{path} has a damaged header ({error}): copy or write it again") from None


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
