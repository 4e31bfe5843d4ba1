"""Definitions of models as JSON, and back: nested {"kind": class name, "fields": {name: value}}.

A definition that is read may come from anywhere. So a kind is looked up in the literal table CLASSES of
flows/catalogue.py, every value is compared with its field's type and with the largest number that the library itself
writes, all before an object is made; and the shapes of the parameters are found without more numbers than the file
holds.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import paths, tree_map
from haarflow.backends.types import Params
from haarflow.core import random
from haarflow.core.untrusted import fits
from haarflow.flows.catalogue import LACKING, flow_class
from haarflow.flows.flow import Chain, Repeat
from haarflow.flows.links.orientations import EveryPlane
from haarflow.flows.mixtures import AnyModel, Mixture

DEEPEST, MOST = 24, 20_000  # levels and values of a definition
LARGEST = 1 << 16  # a whole number, such as an extent of a lattice or the width of a layer
# fields with smaller bounds: the work on them grows faster than their size
BOUNDS = {"d": 6, "order": 1024, "kernel": 33, "reach": 64, "own": 1024, "context": 1024, "closings": 1024}
FEW = 1 << 16  # numbers that a draw may always have, so that the message can name what is missing
TABLE = 1 << 20  # entries of a kernel of `kernel` or `reach` sites along each of `d` axes
SERIES = {2: 3, 3: 2, 4: 2}  # dimensions -> order of Luescher's series; what lies beyond takes minutes
# field -> the method of its objects
ROLES = {
    **dict.fromkeys(("prior", "links", "noise"), "sample"),
    **dict.fromkeys(("flow", "flows", "marginal", "conditional"), "forward"),
    **dict.fromkeys(("net", "hops"), "apply"),
    "masked_net": "masked",
    "bilinears": "of",
    "operator": "hop",
    "models": "log_density",
}


class DefinitionError(ValueError):
    """A definition that this version of the library does not write."""


def encode(value: Any) -> Any:
    """Return a definition as JSON: frozen dataclasses as {"kind", "fields"}, tuples as lists.

    Fields that a repr leaves out, such as an operator's kernels, are no part of it: they have their defaults when it is
    read.

    Raises TypeError for anything else that is not a number, a string or None.

    >>> from haarflow.flows.priors import Gaussian
    >>> encode(Gaussian((4, 4)))
    {'kind': 'Gaussian', 'fields': {'lattice': [4, 4], 'sigma': 1.0}}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):  # whose fields are known only by name
        shown = [field.name for field in dataclasses.fields(value) if field.init and field.repr]
        return {"kind": type(value).__name__, "fields": {name: encode(getattr(value, name)) for name in shown}}
    if isinstance(value, tuple | list):
        return [encode(entry) for entry in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"a definition holds numbers, strings, tuples and frozen dataclasses, got {type(value).__name__}: arrays "
        "belong to the parameters, functions are named by strings"
    )


def decode(value: Any, classes: Mapping[str, type] | None = None) -> Any:
    """Return the definition that JSON describes; `classes` adds kinds to the library's table.

    Raises DefinitionError for a kind in neither, for fields that its class does not take, for values of another type or
    beyond the bounds above, and for definitions that are too deep or too long; and what the classes raise.

    >>> decode({"kind": "Gaussian", "fields": {"lattice": [4, 4], "sigma": 0.5}})
    Gaussian(lattice=(4, 4), sigma=0.5)
    >>> decode({"kind": "Gaussian", "fields": {"lattice": "4x4"}})
    Traceback (most recent call last):
    haarflow.flows.definitions.DefinitionError: lattice of Gaussian must be tuple[int, ...], got '4x4'
    """
    _check_size(value)
    return _decoded(value, classes or {})


def _check_size(value: Any) -> None:
    level, count = [value], 0
    for _ in range(2 * DEEPEST):  # an object takes two levels of JSON
        count += len(level)
        level = [
            child
            for entry in level
            for child in (entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ())
        ]
        if not level:
            return
        if count + len(level) > MOST:
            raise DefinitionError(f"the definition has more than {MOST} values")
    raise DefinitionError(f"the definition is nested more than {DEEPEST} levels deep")


def _decoded(value: Any, classes: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return tuple(_decoded(entry, classes) for entry in value)
    if not isinstance(value, dict):
        return value
    kind, stored = value.get("kind"), value.get("fields", {})
    if not isinstance(kind, str) or not isinstance(stored, dict):
        raise DefinitionError("an object of the definition has no kind or no fields")
    made, fields = _class(kind, classes), {name: _decoded(entry, classes) for name, entry in stored.items()}
    for lacking, meant in LACKING.get(kind, {}).items():
        fields |= meant if lacking not in fields else {}
    _check_names(kind, made, fields)
    if kind not in classes:
        _check_fields(kind, made, fields)
    return made(**fields)


def _class(kind: str, classes: Mapping[str, type]) -> type:
    known = classes.get(kind) or flow_class(kind)
    if known is None:
        raise DefinitionError(
            f"the file's kind {kind[:40]!r} is not one of the library's: pass the class of that name, "
            "open_model(path, definition=CLASS)"
        )
    return known


def _check_names(kind: str, made: type, fields: Mapping[str, Any]) -> None:
    known = {field.name: field for field in dataclasses.fields(made) if field.init}
    unset = (dataclasses.MISSING, dataclasses.MISSING)
    lacks = [name for name, field in known.items() if (field.default, field.default_factory) == unset]
    if wrong := sorted(fields.keys() - known.keys())[:3] or [name for name in lacks if name not in fields]:
        raise DefinitionError(f"the {kind} of the file does not match this version's: {', '.join(wrong)[:80]}")


def _check_fields(kind: str, made: type, fields: Mapping[str, Any]) -> None:
    hints = typing.get_type_hints(made)
    for name, value in fields.items():
        if name in ROLES:
            parts = value if name in ("flows", "models") and isinstance(value, tuple) else (value,)
            fit = all(dataclasses.is_dataclass(part) and hasattr(part, ROLES[name]) for part in parts)
        else:
            fit = fits(value, hints[name])
        if not fit:
            raise DefinitionError(f"{name} of {kind} must be {_named(hints[name])}, got {_short(value)}")
        if any(abs(number) > BOUNDS.get(name, LARGEST) for number in _whole_numbers(value)):
            raise DefinitionError(
                f"{name} of {kind} holds whole numbers up to {BOUNDS.get(name, LARGEST)}, got {_short(value)}"
            )
    _check_tables(kind, fields)


def _check_tables(kind: str, fields: Mapping[str, Any]) -> None:
    """The products of fields on which the work depends."""
    d = fields.get("d", 1)
    widest = max(_whole_numbers((fields.get("kernel", 1), fields.get("reach", 1))), default=1)
    if max(widest, 1) ** max(d, 1) > TABLE:
        raise DefinitionError(f"a kernel of {kind} of {widest} sites along {d} axes is too large")
    if kind == "LoopFlow" and (fields.get("order", 2) > SERIES.get(d, 1) or fields.get("n", 0) > 6):
        raise DefinitionError(f"flows along loops are opened for SU(6) and orders {SERIES} in d dimensions at most")


def _whole_numbers(value: Any) -> list[int]:
    if isinstance(value, tuple):
        return [number for entry in value for number in _whole_numbers(entry)]
    return [value] if isinstance(value, int) else []


def _named(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if isinstance(hint, type) else str(hint)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def outline(model: AnyModel, numbers: int) -> Params:
    """Return parameters of the shapes that a model's have, of any values.

    Only one of a `Repeat`'s flows is made, and no draw of more than `numbers` numbers, those of the file (or FEW).
    Raises ValueError where more would be needed.

    >>> from haarflow.flows.flow import Model, Translate
    >>> outline(Model(None, Repeat(Translate((1,)), 1 << 16)), 0)
    {}
    """
    with random.at_most(max(numbers, FEW)):
        if isinstance(model, Mixture):
            return {str(k): _outline(one.flow) for k, one in enumerate(model.models)}
        return _outline(model.flow)


def _outline(flow: Any) -> Params:
    if isinstance(flow, Chain):
        return {str(index): _outline(part) for index, part in enumerate(flow.flows)}
    if isinstance(flow, EveryPlane):
        return _outline(flow.cycle)
    if isinstance(flow, Repeat):
        return tree_map(lambda leaf: numpy.broadcast_to(leaf, (flow.n, *leaf.shape)), _outline(flow.flow))
    return flow.init(random.key(0, backends.get("numpy")))


def shapes(params: Params) -> dict[str, tuple[int, ...]]:
    """Return the shapes of parameters under their dotted paths.

    >>> shapes({"0": {"w": numpy.zeros((2, 3))}})
    {'0.w': (2, 3)}
    """
    return {name: tuple(leaf.shape) for name, leaf in paths(params).items()}
