"""Model files: the same numbers on every backend, and one clear error for each kind of bad file."""

import json
import time
from dataclasses import dataclass

import numpy
import pytest
from safetensors import safe_open
from safetensors.numpy import load, save

from haarflow import backends
from haarflow.backends.tree import leaves, paths
from haarflow.core import random
from haarflow.flows import modelfile
from haarflow.flows.catalogue import CLASSES
from haarflow.flows.definitions import decode, encode
from haarflow.flows.flow import Chain, Model, Repeat, Translate
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.modelfile import ModelFileError, open_model, read_card, save_model
from haarflow.flows.priors import Gaussian
from tests.support import toy

CARD = {"theory": {"name": "phi4", "lattice": [2], "couplings": {"m2": -4.0}}, "ess": numpy.float64(0.5), "note": "ü"}
OURS = Model(Gaussian((4,), 0.5), Chain((Translate((1,)), Repeat(Translate((-1,)), 2))))


@pytest.fixture
def path(tmp_path, host):
    model = toy.model()
    save_model(tmp_path / "m", model, model.init(random.key(1, host)), CARD)
    return tmp_path / "m"


def rewrite(path, change=lambda header: None, arrays=lambda arrays: None):
    """Write the file again with a changed header or changed arrays."""
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["haarflow"])
    found = load(path.read_bytes())
    change(header)
    arrays(found)
    path.write_bytes(save(found, {"haarflow": json.dumps(header)}))


def test_opens_on_every_backend_with_the_same_numbers(backend, path, host):
    there = open_model(path, host, definition=toy.Affine)
    here = open_model(path, backend, definition=toy.Affine)
    for a, b in zip(leaves(there.params), leaves(here.params), strict=True):
        numpy.testing.assert_array_equal(a, backend.to_numpy(b))
    key = random.key(3, backend)
    y, log_q = here.model.sample(here.params, key, 5)
    wanted, log_wanted = there.model.sample(there.params, random.key(3, host), 5)
    numpy.testing.assert_allclose(backend.to_numpy(y), wanted, rtol=1e-12)
    numpy.testing.assert_allclose(backend.to_numpy(log_q), log_wanted, rtol=1e-12)


def test_saves_from_every_backend_the_same_bytes(backend, tmp_path, host):
    model = toy.model()
    params = model.init(random.key(1, host))
    save_model(tmp_path / "a", model, params, CARD)
    save_model(tmp_path / "b", model, {name: backend.asarray(value) for name, value in params.items()}, CARD)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_definitions_round_trip():
    stored = json.loads(json.dumps(encode(OURS)))
    assert decode(stored) == OURS
    assert hash(decode(stored)) == hash(OURS)


def test_fields_that_a_file_leaves_out_have_their_defaults():
    """Bounds on fields that are not written hold for the defaults of the class: order 2 of flows along loops fits in 3D."""
    assert decode(layer("LoopFlow", n=2, d=3)) == LoopFlow(2, 3)
    assert decode(layer("Gaussian", lattice=[4, 4])) == Gaussian((4, 4))


def test_strided_and_single_precision_arrays_survive(tmp_path):
    @dataclass(frozen=True)
    class Plain:
        def init(self, key, dtype="float64"):
            x = random.normal(key, (3, 4), dtype)
            return {"w": x, "deep": {"0": {"v": x[0, :]}}}

    model = Model(Gaussian((2,)), Plain())
    w = numpy.arange(12, dtype="float32").reshape(4, 3).T
    params = {"w": w, "deep": {"0": {"v": w[1, ::1]}}}
    assert not w.flags.c_contiguous
    save_model(tmp_path / "m", model, params)
    found = open_model(tmp_path / "m", definition=model).params
    for a, b in zip(leaves(params), leaves(found), strict=True):
        numpy.testing.assert_array_equal(a, b)
    assert {leaf.dtype.name for leaf in leaves(found)} == {"float32"}


def test_the_card_comes_back_with_versions(path):
    card = open_model(path, definition=toy.Affine).card
    assert card["theory"] == CARD["theory"]
    assert card["ess"] == 0.5
    assert card["versions"]["numpy"] == numpy.__version__
    header = read_card(path)
    assert header["definition"]["fields"]["flow"] == {"kind": "Affine", "fields": {"sites": 2, "condition": ""}}


@pytest.mark.parametrize("given", [toy.Affine, (toy.Affine,), toy.Affine(2), toy.model()], ids=str)
def test_a_users_own_flow_is_handed_over(path, given):
    assert open_model(path, definition=given).model == toy.model()


def test_nothing_is_imported_by_a_name_in_the_file(path):
    with pytest.raises(ModelFileError, match=r"'Affine' is not one of the library's.*definition=CLASS"):
        open_model(path)
    rewrite(path, lambda header: header["definition"]["fields"]["flow"].update(kind="os.system('x')"))
    with pytest.raises(ModelFileError, match=r"pass the class of that name, open_model\(path, definition=CLASS\)$"):
        open_model(path)


def test_another_volume(tmp_path, host):
    save_model(tmp_path / "m", OURS, OURS.init(random.key(0, host)))
    opened = open_model(tmp_path / "m", lattice=(6,))
    assert opened.model.prior.lattice == (6,)
    assert opened.model.flow == OURS.flow


def test_every_cut_is_seen(path):
    data = path.read_bytes()
    for length in (0, 4, 8, 100, len(data) - 8, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError, match="cut short"):
            open_model(path, definition=toy.Affine)


def test_wrong_shapes_and_names(path):
    rewrite(path, arrays=lambda arrays: arrays.update(shift=numpy.ones(3)))
    with pytest.raises(ModelFileError, match=r"shift has the shape \(2,\), got \(3,\)"):
        open_model(path, definition=toy.Affine)
    rewrite(path, arrays=lambda arrays: arrays.pop("shift"))
    with pytest.raises(ModelFileError, match="lacks the arrays shift"):
        open_model(path, definition=toy.Affine)
    rewrite(path, arrays=lambda arrays: arrays.update(shift=numpy.ones(2), more=numpy.ones(2)))
    with pytest.raises(ModelFileError, match="has the arrays more"):
        open_model(path, definition=toy.Affine)


def test_a_newer_version_is_refused(path):
    rewrite(path, lambda header: header.update(version=modelfile.VERSION + 1))
    with pytest.raises(ModelFileError, match=r"format version 2, this version of haarflow reads up to 1: upgrade"):
        open_model(path, definition=toy.Affine)


def test_another_theory_is_refused(path):
    assert open_model(path, definition=toy.Affine, theory="phi4").card["theory"]["name"] == "phi4"
    with pytest.raises(ModelFileError, match="theory 'phi4', expected 'u1'"):
        open_model(path, definition=toy.Affine, theory="u1")


def test_files_of_other_programs(path, tmp_path):
    path.write_bytes(save({"a": numpy.ones(2)}))
    with pytest.raises(ModelFileError, match="no haarflow header"):
        open_model(path)
    path.write_bytes(save({"a": numpy.ones(2)}, {"haarflow": "{"}))
    with pytest.raises(ModelFileError, match="damaged header"):
        open_model(path)
    path.write_bytes(save({"a": numpy.ones(2)}, {"haarflow": '{"format": "haarflow-checkpoint", "version": 1}'}))
    with pytest.raises(ModelFileError, match="not a haarflow-model file"):
        open_model(path)
    with pytest.raises(FileNotFoundError):
        open_model(tmp_path / "none")


def test_fields_of_another_version_of_a_class(path):
    rewrite(path, lambda header: header["definition"]["fields"]["prior"]["fields"].update(width=2.0))
    with pytest.raises(ModelFileError, match="the Gaussian of the file does not match"):
        open_model(path, definition=toy.Affine)


def hostile(**flow):
    """The header of a small file with another flow."""
    fields = {"prior": encode(Gaussian((2,))), "flow": flow}
    return {"format": "haarflow-model", "version": 1, "definition": {"kind": "Model", "fields": fields}, "card": {}}


def layer(kind, **fields):
    return {"kind": kind, "fields": fields}


WIDE = layer("AffineCoupling", net=layer("CheckerboardNet", d=2, hidden=[60_000, 60_000]))
LONG = layer("Repeat", n=65_536, flow=layer("Repeat", n=65_536, flow=layer("Translate", shifts=[1])))


@pytest.mark.parametrize(
    ("flow", "says"),
    [
        (WIDE, "random numbers are wanted where at most"),
        (layer("Repeat", n=10**9, flow=layer("Translate", shifts=[1])), "holds whole numbers up to 65536"),
        (layer("LoopFlow", n=3, d=4, order=9), "orders"),
        (layer("LoopFlow", n=2, d=5), "orders"),
        (layer("AffineCoupling", net=layer("LatticeNet", d=6, kernel=33)), "is too large"),
        (layer("AffineCoupling", net=3), "net of AffineCoupling must be"),
        (layer("Translate", shifts="ab"), "shifts of Translate must be"),
        (layer("Translate", shifts=[1.5]), "shifts of Translate must be"),
        (layer("Translate"), "does not match this version's: shifts"),
        (layer("Translate", shifts=[1], more=1), "does not match this version's: more"),
        (layer("Chain", flows=[1, 2]), "flows of Chain must be"),
        (layer("GaugeCoupling", d=2, mask=["stripes", "a", 0, 2, 0]), "mask of GaugeCoupling must be"),
        ({"kind": ["Chain"], "fields": {}}, "has no kind"),
        ({"kind": "Chain", "fields": [1]}, "has no kind or no fields"),
        ("Chain", "flow of Model must be"),
        (layer("Chain", flows=[layer("Translate", shifts=[1])] * 9000), "more than 20000 values"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_definition_is_refused_before_any_work(flow, says, tmp_path):
    path = tmp_path / "m"
    header = hostile()
    header["definition"]["fields"]["flow"] = flow
    path.write_bytes(save({}, {"haarflow": json.dumps(header)}))
    begun = time.process_time()
    with pytest.raises(ModelFileError, match=says):
        open_model(path)
    assert time.process_time() - begun < 2.0


def test_many_repetitions_without_parameters_take_no_work(tmp_path):
    path = tmp_path / "m"
    header = hostile()
    header["definition"]["fields"]["flow"] = LONG
    path.write_bytes(save({}, {"haarflow": json.dumps(header)}))
    assert open_model(path).model.flow.n == 65_536


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a": ' * 500 + "1" + "}" * 500, '{"version": ' + "9" * 5000 + "}", "3"]
)
def test_a_header_too_deep_or_too_long(text, tmp_path):
    (tmp_path / "m").write_bytes(save({}, {"haarflow": text}))
    with pytest.raises(ModelFileError, match="damaged header"):
        open_model(tmp_path / "m")


def test_the_outline_has_the_shapes_of_fresh_parameters(host):
    from haarflow.flows.definitions import outline, shapes

    for flow in (Chain((toy.Affine(2), Repeat(Repeat(toy.Affine(2), 3), 2))), Repeat(Chain((toy.Affine(3),)), 4)):
        model = Model(Gaussian((2,)), flow)
        assert shapes(outline(model, 0)) == shapes(model.init(random.key(0, host)))


def test_definitions_hold_plain_values_only(tmp_path):
    @dataclass(frozen=True)
    class Wrong:
        table: object

    for value in (numpy.ones(2), print):
        with pytest.raises(TypeError, match="a definition holds numbers"):
            save_model(tmp_path / "m", Model(Gaussian((2,)), Wrong(value)), {"a": numpy.ones(2)})
    assert not list(tmp_path.iterdir())


def test_every_flow_and_prior_of_the_library_is_in_the_table():
    """A definition that saves must open again: each frozen dataclass with a forward map or a sampler has its line."""
    import dataclasses

    from haarflow.verification.classes import modules_of

    found = {}
    for module in modules_of("haarflow.flows"):
        place = module.__name__.removeprefix("haarflow.flows.")
        for name, value in vars(module).items():
            own = isinstance(value, type) and value.__module__ == module.__name__
            flow = own and dataclasses.is_dataclass(value) and hasattr(value, "init") and hasattr(value, "forward")
            prior = own and dataclasses.is_dataclass(value) and hasattr(value, "sample")
            if (flow or prior) and name not in (
                "Bound",
                "Conditional",  # a part of a model of pairs, taken out for a kernel
                "BoundPrior",
                "Unhashable",
            ):  # what the laws wrap a flow and a prior in
                found[name] = place
    assert found and {name: CLASSES.get(name) for name in found} == found


def test_params_with_paths_of_a_deep_flow(tmp_path, host):
    model = Model(Gaussian((2,)), Chain((toy.Affine(2), Repeat(toy.Affine(2), 3))))
    params = model.init(random.key(0, host))
    save_model(tmp_path / "m", model, params)
    opened = open_model(tmp_path / "m", backends.get("numpy"), definition=toy.Affine)
    assert paths(opened.params).keys() == paths(params).keys()
    assert opened.params["1"]["scale"].shape == (3, 2)
