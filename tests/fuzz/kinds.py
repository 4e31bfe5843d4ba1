"""The kinds of files that are fuzzed: for each a strategy of bytes, the readers, and the errors that they may raise."""

import contextlib
import functools
import json
import tempfile
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy
from hypothesis import strategies as st
from safetensors.numpy import save

from haarflow import backends
from haarflow.core import random
from haarflow.flows.catalogue import FLOWS, constructor
from haarflow.flows.modelfile import ModelFileError, open_model, pack, read, read_card, save_model
from haarflow.gaugefiles import GaugeFileError, gauge_info, read_gauge
from haarflow.results import ensemble
from haarflow.results.ensemble import FORMAT, EnsembleError
from haarflow.results.summary_file import SummaryError, read_summary
from haarflow.run import recipes, toml
from haarflow.run.recipes import RecipeError
from haarflow.run.recipes.reading import BUILT_IN
from haarflow.run.runfolder import FolderError, read_metrics
from haarflow.run.target import target_of
from tests.fuzz import damage
from tests.support import gauge_twins


class Kind(NamedTuple):
    """A kind of file: its suffix, damaged files as bytes, what reads it, and how it may be refused."""

    suffix: str
    files: st.SearchStrategy
    read: Any
    refusals: tuple[type, ...]


# ---- recipes


@functools.cache
def recipe_texts():
    return [Path(file).read_bytes() for file in sorted(BUILT_IN.glob("*.toml"))]


@st.composite
def recipe_files(draw):
    text = draw(st.sampled_from(recipe_texts()))
    if draw(st.booleans()):
        return damage.broken(text, draw(damage.BYTES))
    table = damage.edited(tomllib.loads(text.decode()), draw(damage.EDITS))
    try:
        return toml.dumps(table).encode(errors="replace")
    except (
        TypeError,
        RecursionError,
        ValueError,
    ):  # a table inside a list, a deep table, or a number too long to print
        return b"a = " + b"[" * 2000 if draw(st.booleans()) else b"a = " + b"9" * 5000


def read_recipe(path):
    recipe = recipes.load(path)
    assert recipes.check(toml.as_table(recipe)) == recipe
    target_of(recipe)


# ---- model files

COUPLINGS = {"u1": {"beta": 1.0}, "sun": {"beta": 1.0}, "phi4": {"m2": -4.0, "lam": 8.0}}


@functools.cache
def model_files_good():
    """One small file of every kind of flow that needs no theory, and one along loops."""
    host, found = backends.get("numpy"), []
    for kind, options in ((("u1", "tutorial"), {"layers": 2}), (("u1", "sweep"), {}), (("phi4", "copula"), {}),
                          (("phi4", "convolutional"), {"hidden": (2,), "reach": 3}), (("sun", "sweep"), {"n": 2}),
                          (("sun", "spectral"), {"n": 2, "hidden": (2,)}), (("sun", "trivialising"), {"n": 2}),
                          (("sun", "loops"), {"n": 2, "order": 1})):  # fmt: skip
        model = constructor(FLOWS[kind[0]][kind[1]])((8, 8), **options)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "m"
            theory = {"name": {"sun": "su2"}.get(kind[0], kind[0]), "lattice": [8, 8], "couplings": COUPLINGS[kind[0]]}
            card = {"theory": theory, "flow": {"kind": kind[1]}, "condition": [], "ess": 0.5}
            save_model(path, model, model.init(random.key(0, host)), card)
            found.append((path.read_bytes(), *read(path, "haarflow-model", 1)))
    return found


@st.composite
def model_files(draw):
    data, arrays, header = draw(st.sampled_from(model_files_good()))
    way = draw(st.sampled_from(("bytes", "header", "header", "header", "text")))
    if way == "bytes":
        return damage.broken(data, draw(damage.BYTES))
    if way == "text":
        text = json.dumps(header).encode()
        return save(arrays, {"haarflow": damage.broken(text, draw(damage.BYTES)).decode(errors="replace")})
    part = draw(st.sampled_from(("definition", "definition", "card", "")))
    changed = dict(header)
    if part:
        changed[part] = damage.edited(header[part], draw(damage.EDITS))
    else:
        changed = damage.edited(header, draw(damage.EDITS))
    try:
        return save(arrays, {"haarflow": json.dumps(changed)})
    except (ValueError, RecursionError):
        return pack(arrays, {}) if draw(st.booleans()) else save(arrays, {"haarflow": "[" * 10_000})


def read_model(path):
    read_card(path)
    recipes_error = None
    try:
        recipes.for_model(str(path), "flow-reweighting", 10)
    except (ModelFileError, RecipeError) as error:
        recipes_error = error
    open_model(path)
    if recipes_error is not None:
        raise recipes_error


# ---- ensembles


@functools.cache
def ensemble_good():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.h5"
        with h5py.File(path, "w", libver="v110") as file:
            file.attrs.update(
                format=FORMAT, recipe="name = 'x'", theory="u1", lattice=[4, 4], couplings='{"beta": 1.0}'
            )
            for name, kind in (("hmc", "hmc"), ("flow", "flow-reweighting")):
                group = file.create_group(name)
                group.attrs.update(kind=kind, fields_every=2)
                for column in ("observables/Q", "observables/plaquette", "log_w", "accepted"):
                    group[column] = numpy.ones((2, 6))
                group["observables/flux"] = numpy.ones((2, 6, 3))
                group["fields"] = numpy.ones((2, 3, 2, 4, 4))
        return path.read_bytes()


H5_PLACES = ("hmc", "flow", "hmc/observables", "hmc/observables/Q", "flow/log_w", "flow/observables/flux", "hmc/fields")
H5_WAYS = (
    "drop",
    "soft",
    "external",
    "loop",
    "huge",
    "compressed",
    "shape",
    "text",
    "group",
    "virtual",
    "attribute",
    "empty",
)


@st.composite
def ensemble_files(draw):
    if draw(st.integers(0, 3)) == 0:
        return damage.broken(ensemble_good(), draw(damage.BYTES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.h5"
        path.write_bytes(ensemble_good())
        with h5py.File(path, "a") as file:
            for _ in range(draw(st.integers(1, 2))):
                with contextlib.suppress(
                    RuntimeError, KeyError
                ):  # the way to the second place leads through broken links
                    damage_h5(file, draw(st.sampled_from(H5_PLACES)), draw(st.sampled_from(H5_WAYS)), draw)
        return path.read_bytes()


def damage_h5(file, name, way, draw):
    """Put something else in the place of a group or an array."""
    if way == "attribute":
        where = file if draw(st.booleans()) or name not in file else file[name]
        word = draw(st.sampled_from(("format", "recipe", "theory", "lattice", "couplings", "kind", "fields_every")))
        value = draw(
            st.sampled_from((3, 2.5, "x", "{}", '{"beta": "x"}', "[" * 2000, "9" * 5000, numpy.zeros((2, 2)), b"\xff"))
        )
        where.attrs[word] = value
        return
    parent = name.rpartition("/")[0] or "/"
    if parent not in file or not isinstance(file.get(parent), h5py.Group):
        return
    if name in file:
        del file[name]
    made = {
        "soft": lambda: h5py.SoftLink("/" + name),
        "external": lambda: h5py.ExternalLink("/dev/zero", "/x"),
        "loop": lambda: file[parent],
        "shape": lambda: numpy.zeros(draw(st.sampled_from(((), (0,), (3,), (2, 5), (2, 0), (1, 1, 1, 1, 1))))),
        "text": lambda: numpy.asarray([b"a", b"b"]),
        "empty": lambda: h5py.Empty("f8"),
    }
    if way in made:
        file[name] = made[way]()
    elif way == "group":
        file.create_group(name)
    elif way == "huge":
        file.create_dataset(name, (10**6, 10**6), "f8")
    elif way == "compressed":
        file.create_dataset(name, (10**6, 10**6), "f8", chunks=(100, 100), compression="gzip")[0, :100] = 1.0
    elif way == "virtual":
        file.create_virtual_dataset(name, h5py.VirtualLayout((2, 6), "f8"))


def read_ensemble(path):
    found = ensemble.read(path)
    for name in found.samplers:
        try:
            next(iter(ensemble.fields(path, name)))
        except EnsembleError:
            continue


# ---- logs and summaries

LINES = (
    {"stage": "train", "step": 10, "loss": -3.5, "ess": 0.25, "cpu_s": 1.0},
    {"stage": "fit", "samples": 9, "numbers": 2, "couplings": [0.0, 1.0], "residuals": [0.1, 0.2], "integration": 0.01,
     "spread": 0.5, "lattice": [4, 4], "cpu_s": 3.0},
    {"stage": "sample", "sampler": "hmc", "block": 0, "draws": 50, "acceptance": 0.5, "cpu_s": 1.0},
)  # fmt: skip
ESTIMATE = {"value": 0.5, "error": 0.1, "note": ""}
BESIDE = {"configurations": 9, "independent": 9.0, "above": 0.1, "above_error": 0.1, "far_above": 0.0, "expected": 0.1,
          "ess": 0.5, "ln_Z": ESTIMATE}  # fmt: skip
COVERAGE = {"draws": 10, "ess": ESTIMATE, "pareto_shape": ESTIMATE, "error_growth": 1.0, "ln_Z": ESTIMATE,
            "chains": {"hmc": BESIDE}, "remark": ""}  # fmt: skip
SAMPLER = {"kind": "hmc", "acceptance": 0.5, "ess": 0.5, "cpu_s": 1.0, "samples": 10, "samples_per_cpu_s": 10.0,
           "warnings": [], "observables": {"Q": {"value": 0.0, "error": 0.1, "tau_int": 0.5, "exact": None}}}  # fmt: skip
SUMMARY = {
    "recipe": "x", "versions": {"numpy": "2"}, "backend": "numpy", "seed": 0, "theory": {"name": "u1", "beta": 1.0},
    "lattice": [4, 4],
    "training": {"steps": 3, "cpu_s": 1.0, "ess": 0.5, "fine_tuning": {
        "draws": 9, "start": 0.5, "end": 0.6, "difference": 0.1, "error": 0.1, "kept": "end"}},
    "samplers": {"hmc": SAMPLER, "flow": SAMPLER | {"kind": "flow-reweighting", "warnings": ["x"], "coverage": COVERAGE}},
    "provenance": {"date": "x", "host": "x", "commit": None, "wall_s": 3.0},
}  # fmt: skip


@st.composite
def log_files(draw):
    if draw(st.integers(0, 3)) == 0:
        return b"{" + as_text(damage.edited(SUMMARY, draw(damage.EDITS)))[1:]
    lines = [as_text(damage.edited(line, draw(damage.EDITS)) if draw(st.booleans()) else line) for line in LINES]
    text = b"\n".join(lines) + b"\n"
    return damage.broken(text, draw(damage.BYTES)) if draw(st.booleans()) else text


def as_text(table):
    try:
        return json.dumps(table).encode()
    except (ValueError, RecursionError):
        return b'{"stage": "train", "step": ' + b"[" * 2000


def read_log(path):
    if b'"samplers"' not in path.read_bytes():
        read_metrics(path)
        return
    from haarflow.report.text import summary_table

    summary_table(read_summary(path))


# ---- gauge files


@functools.cache
def gauge_good():
    return gauge_twins.files_of(gauge_twins.random_links(numpy.random.default_rng(6), (2, 2, 2, 2)))


@st.composite
def gauge_files(draw):
    name = draw(st.sampled_from(sorted(gauge_good())))
    data = gauge_good()[name]
    start = {"milc": 96, "openqcd": 24, "nersc": 400, "ildg": 700}.get(name.split("-")[0], 64)
    return damage.broken(data, draw(damage.BYTES), 0, start if draw(st.integers(0, 4)) else None)


def read_field(path):
    gauge_info(path)
    read_gauge(path)


KINDS = {
    "recipes": Kind(".toml", recipe_files(), read_recipe, (RecipeError,)),
    "models": Kind(".safetensors", model_files(), read_model, (ModelFileError, RecipeError)),
    "ensembles": Kind(".h5", ensemble_files(), read_ensemble, (EnsembleError,)),
    "logs": Kind(".jsonl", log_files(), read_log, (FolderError, SummaryError)),
    "gauge headers": Kind(".dat", gauge_files(), read_field, (GaugeFileError,)),
}
