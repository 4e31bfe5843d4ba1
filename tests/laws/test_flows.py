"""The laws of flows, models and priors: every object obeys them, every mutant breaks the one meant for it."""

import dataclasses
import warnings

import numpy
import pytest

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core.groups.additive import U1, Real
from haarflow.core.laws.law import SIZES, Given
from haarflow.flows.catalogue import CLASSES
from haarflow.flows.flow import Chain, Model, Repeat, Translate
from haarflow.flows.laws import cases
from haarflow.flows.laws.cache import remembering
from haarflow.flows.laws.compiled_flow import Bound
from haarflow.flows.laws.densities import DENSITY_LAWS
from haarflow.flows.laws.density import free_components, integrates_to_one, lattice_rule
from haarflow.flows.laws.jacobian import by_differences, log_det_by_differences
from haarflow.flows.laws.maps import traced_once
from haarflow.flows.laws.paths import PATH_LAWS
from haarflow.flows.laws.tables import MODEL_LAWS, PRIOR_LAWS, undeclared
from haarflow.flows.laws.weights import WEIGHT_LAWS
from haarflow.flows.masks import frozen_loops
from haarflow.flows.priors import Gaussian, UniformLinks
from haarflow.flows.scalar.momentum import MomentumScaling
from haarflow.flows.scalar.tails import QuarticTail
from haarflow.flows.splines import circular_channels, circular_spline
from haarflow.flows.symmetries import declared, displacement, periods
from haarflow.flows.u1.coupling import GaugeCoupling
from haarflow.verification.classes import modules_of, representatives
from haarflow.verification.flow_objects import FLOW_ENTRIES, STRIPES, halving
from haarflow.verification.pair_objects import PAIR_ENTRIES
from haarflow.verification.weight_objects import DENSITY_ENTRIES
from tests.conftest import member
from tests.mutants import autoregressive, loop_flows
from tests.mutants.flows.table import HEALTHY, IMPOSSIBLE, MUTANTS

LAWS = {"model": {law.name: law for law in MODEL_LAWS}, "prior": {law.name: law for law in PRIOR_LAWS}}
MODELS = (*FLOW_ENTRIES, *(entry for entry in PAIR_ENTRIES if entry.kind in ("model", "prior")))
OBJECTS = {entry.name: entry for entry in MODELS}
# Backends that compile for each shape run only these, one of each kind of map; the others give the same numbers as NumPy.
FREE_SWEEP = OBJECTS["sweep, conditioned, a net, no charge symmetry"]
COMPILED = ("gauge coupling, moebius_pairs", "affine coupling", "free field")
HARD = {"seed": 3, "style": "seam", "size": "large"}
# On strict arrays, one object for each class of the library.
SIMPLEST = tuple(entry.name for entry in representatives(MODELS))
SLOW = pytest.mark.slow  # flows along loops: half a minute on strict arrays, ten seconds of compilation for a mutant
TO_COMPILE = (*loop_flows.MUTANTS, *autoregressive.MUTANTS)


def check(law, obj, given):
    """The verdict, or None where the law does not apply."""
    if law.applies(obj):
        return None
    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        return law.check(obj, given)


def broken(entry, backend, words):
    """The laws that an object breaks, with the verdicts."""
    found = []
    lattice = entry.lattices[words["seed"] % len(entry.lattices)]
    given = Given(lattice, backend=backend, **words)
    with remembering():
        for law in LAWS[entry.kind].values():
            if law.sampled and words["seed"] != 0:
                continue
            if law.name == "remembers_nothing" and (
                words["seed"] or backend.name == "jax" or entry.name not in SIMPLEST
            ):
                continue  # on lattices of its own: once for each class
            verdict = check(law, entry.make(lattice), given)
            if verdict is not None and not verdict.passed:
                found.append((law.name, given, verdict.residual, verdict.tolerance))
    return found


@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_keeps_every_law_on_numpy(host, name):
    assert broken(OBJECTS[name], host, {"seed": 0}) == []
    assert broken(OBJECTS[name], host, HARD) == []


@pytest.mark.engines
@pytest.mark.parametrize("name", OBJECTS)
def test_every_object_keeps_every_law_in_single_precision(host, name):
    assert broken(OBJECTS[name], host, {"seed": 5, "dtype": "float32", "size": "small"}) == []


@pytest.mark.engines
@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW if name == "loop flow" else ()) for name in SIMPLEST])
def test_objects_keep_every_law_on_strict_arrays(name):
    assert broken(OBJECTS[name], member("strict"), {"seed": 3, "style": "seam"}) == []


@pytest.mark.parametrize("name", COMPILED)
def test_objects_keep_the_laws_on_every_member(backend, name):
    assert broken(OBJECTS[name], backend, {"seed": 0}) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
@pytest.mark.parametrize("name", ("numpy", "readonly", "strict", "torch"))
def test_every_mutant_is_caught_by_the_law_meant_for_it(name, mutant):
    laws = mutant.laws if name == "numpy" else mutant.laws[:1]  # residuals are the same as on NumPy
    with remembering():  # as in `haarflow verify`: what an earlier law computed hides nothing
        caught_by_its_laws(member(name), name, mutant._replace(laws=laws))


def caught_by_its_laws(backend, name, mutant):
    if (mutant.name, name) in IMPOSSIBLE:
        return
    obj, given = mutant.make(mutant.given["lattice"]), Given(**mutant.given, backend=backend)
    for law in mutant.laws:
        assert LAWS[mutant.kind][law].applies(obj) is None
        try:
            verdict = check(LAWS[mutant.kind][law], obj, given)
        except ValueError as refused:  # read-only arrays refuse to be written to
            assert "read-only" in str(refused)
            continue
        assert not verdict.passed, f"{law} misses {mutant.name} on {name}: {verdict.residual} <= {verdict.tolerance}"


@pytest.mark.engines
@pytest.mark.parametrize(
    "mutant",
    [pytest.param(mutant, marks=SLOW if mutant in TO_COMPILE else ()) for mutant in MUTANTS],
    ids=lambda mutant: mutant.name,
)
def test_every_mutant_is_caught_where_shapes_compile(mutant):
    """The first of its laws is enough, since residuals are the same as on NumPy."""
    caught_by_its_laws(member("jax"), "jax", mutant._replace(laws=mutant.laws[:1]))


def test_the_mutants_healthy_twins_pass(host):
    for kind, make in HEALTHY.items():
        obj = make((2, 2))
        for law in LAWS["prior" if kind == "prior" else "model"].values():
            verdict = check(law, obj, Given((2, 2), backend=host))
            assert verdict is None or verdict.passed, (kind, law.name)


def test_every_law_has_a_mutant():
    bitten = {law for mutant in MUTANTS for law in mutant.laws}
    assert {*LAWS["model"], *LAWS["prior"]} - bitten == {"traced_once"}  # its mutant is a backend: see the next test


def test_the_law_of_one_trace_bites(host):
    """A backend whose `jit` caches nothing: the Python code of the flow runs on every call."""
    forgetful = dataclasses.replace(host, jit=lambda function: lambda *args: function(*args))
    given = Given((2, 2), backend=forgetful)
    verdict = check(LAWS["model"]["traced_once"], OBJECTS["quartic tail"].make((2, 2)), given)
    assert not verdict.passed and verdict.residual == 2.0
    flow = Bound(QuarticTail(1), host, 1)
    assert "nothing is compiled" in traced_once(flow, {}, numpy.zeros((1, 1)), numpy.zeros((1, 1))).reason


def test_every_public_flow_and_prior_is_among_the_objects():
    """Every class that a model file may name is in the table, by itself or inside a chain."""

    def kinds(obj):
        found = {type(obj).__name__}
        for entry in dataclasses.fields(obj):
            value = getattr(obj, entry.name)
            for part in value if isinstance(value, tuple) else (value,):
                found |= kinds(part) if dataclasses.is_dataclass(part) else set()
        return found

    every = (*FLOW_ENTRIES, *PAIR_ENTRIES, *DENSITY_ENTRIES)
    seen = set().union(*(kinds(entry.make(entry.lattices[0])) for entry in every))
    nets = {"ConvNet"}  # created inside the couplings when they are used
    assert set(CLASSES) - seen == nets


def test_stencils_that_straddle_a_knot_are_taken_again_or_redrawn(host):
    """At the knots of a spline the second derivative jumps, whatever the step size."""
    raw = 0.8 * numpy.random.default_rng(0).normal(size=(circular_channels(8), 1))
    edges = -numpy.pi + 2 * numpy.pi * numpy.cumsum(0.001 + 0.992 * numpy.exp(raw[:8, 0]) / numpy.exp(raw[:8, 0]).sum())

    class Spline:
        def forward(self, params, x, condition=None):
            y, log_slope = circular_spline(x, numpy.broadcast_to(params["raw"], (25, *x.shape)) + 0, 0)
            return y, log_slope.sum(axis=-1)

    params = {"raw": raw[:, :, None] * numpy.ones((25, 1, 1))}
    on_knots = edges[None, :3] + 1e-7
    verdict = log_det_by_differences(Spline(), params, on_knots, group=U1())
    assert verdict.passed and verdict.example["redraws"] > 0 and verdict.example["shrunk columns"] >= 0
    dense = by_differences(lambda rows: Spline().forward(params, rows), on_knots[0], U1())
    assert dense.bad == 3 and dense.shrinks == 9 + 3


def test_above_512_components_the_moving_block_is_dense(host):
    model = OBJECTS["stripes and larger loops"].make((16, 20))
    verdict = check(LAWS["model"]["log_det_by_differences"], model, Given((16, 20), batch=1, backend=host))
    assert verdict.passed and verdict.residual > 0.0
    with pytest.raises(ValueError, match="limited to 512 moving components, got 576"):
        log_det_by_differences(QuarticTail(2), {"log_c": numpy.asarray(0.1)}, numpy.ones((1, 24, 24)))


def test_symmetries_combine_to_what_all_parts_have():
    coupling, shift = halving("moebius", 1), Translate((1, 1), 1)
    chain = Repeat(Chain((coupling, shift)), 3)
    assert declared(chain) == ("translation", "gauge")
    assert periods(chain, 2) == (2, 1) and displacement(chain) == (3, 3)
    assert displacement(Chain((shift, Translate((-1, -1), 1)))) == ()
    wide = GaugeCoupling(2, STRIPES, frozen_loops(STRIPES, 2, [(1, 1)]))
    assert periods(Chain((coupling, wide)), 2) == (2, 4)
    tail, moved = QuarticTail(2), Translate((1, 0))
    assert declared(Chain((tail, tail))) == ("translation", "reflection", "hypercubic", "Z2")
    assert declared(Chain((tail, moved))) == ("translation", "Z2")
    assert declared(Model(UniformLinks((4, 4)), coupling)) == ("translation", "gauge")
    assert declared(Model(Gaussian((4, 4)), MomentumScaling(2))) == declared(Gaussian((4, 4)))
    with pytest.raises(ValueError, match=r"a symmetry is one of .* got 'parity'"):
        declared(type("Odd", (), {"symmetries": ("parity",)})())


def test_what_holds_undeclared_is_told():
    """`undeclared` reports symmetries that hold without being declared, but not those that act trivially on the lattice."""
    model = OBJECTS["affine coupling"].make((4, 4))
    assert undeclared(model, Given((4, 4), seed=1)) == ()
    assert undeclared(FREE_SWEEP.make((2, 3)), Given((2, 3), seed=1)) == ()
    assert undeclared(OBJECTS["sweep"].make((2, 3)), Given((2, 3), seed=1, size="zero")) != ()


def test_the_lattice_rule_integrates_what_is_known():
    """The mean of prod e^cos over the torus is I_0(1)^n; a Gaussian is normalised even if the draws have another width."""
    for variables in (1, 3, 5):
        u = lattice_rule(variables)
        total = numpy.exp(numpy.cos(2 * numpy.pi * u).sum(axis=1)).mean()
        assert abs(total / 1.2660658777520084**variables - 1) < 1e-3
    prior = Gaussian((2, 2), 0.7)
    draws = 1.2 * numpy.random.default_rng(0).standard_normal((500, 2, 2))
    verdict = integrates_to_one(prior.log_density, (2, 2), Real(), draws)
    assert verdict.passed and verdict.tolerance < 5e-3
    with pytest.raises(ValueError, match="at most 5 variables, got 8"):
        integrates_to_one(UniformLinks((2, 2)).log_density, (2, 2, 2), U1())


def test_gauge_fixing_leaves_one_link_for_each_loop():
    """d V links minus the V - 1 of a spanning tree remain, also if an extent is 1."""
    for lattice in ((2, 2), (1, 3), (3,), (2, 1, 2)):
        shape, volume = (len(lattice), *lattice), int(numpy.prod(lattice))
        assert len(free_components(shape, U1(), True)) == len(lattice) * volume - volume + 1


def test_parameters_have_the_sizes_asked_for(host):
    model = OBJECTS["gauge coupling, spline"].make((2, 2))
    sizes = {}
    for size in SIZES:
        leaves = []
        tree_map(
            lambda leaf, leaves=leaves: leaves.append(abs(leaf).max()),
            cases.parameters(model, Given((2, 2), size=size)),
        )
        sizes[size] = max(leaves)
    assert sizes["zero"] == 0.0 and sizes["small"] < sizes["one"] < sizes["large"]


def is_a_law(value):
    """Whether a value is a function that returns a Verdict."""
    return getattr(value, "__annotations__", {}).get("return") == "Verdict"


def test_no_law_is_forgotten_in_the_tables():
    """Every public function of the laws' modules that returns a Verdict has a row in a table."""
    tabled = {law.law for law in (*MODEL_LAWS, *PRIOR_LAWS, *DENSITY_LAWS, *WEIGHT_LAWS, *PATH_LAWS)}
    modules = modules_of("haarflow.flows.laws")
    found = [f for module in modules for f in vars(module).values() if is_a_law(f)]
    public = {f for f in found if not f.__name__.startswith("_") and f.__module__.startswith("haarflow.flows.laws.")}
    tabled_here = {law for law in tabled if law.__module__.startswith("haarflow.flows.laws.")}
    assert public and tabled_here <= public
    assert public - tabled == set()


def test_laws_run_on_bare_arrays_of_any_backend(backend):
    """As a user calls them, with a flow, parameters and fields."""
    flow, params = QuarticTail(1), {"log_c": backend.asarray(0.5)}
    x = backend.asarray([[0.3, -2.0, 0.0]])
    for law in ("log_det_by_differences", "round_trip", "log_dets_cancel", "support", "equals_numpy"):
        verdict = LAWS["model"][law].law(flow, params, x)
        assert verdict.passed and verdict.formula.strip()
    if backend.autodiff:
        assert LAWS["model"]["log_det_by_autodiff"].law(flow, params, x).passed
    else:
        with pytest.raises(backends.NoAutodiff):
            LAWS["model"]["log_det_by_autodiff"].law(flow, params, x)
