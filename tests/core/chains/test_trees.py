"""Fields of several arrays through forces, HMC and runs: U(1) links with a complex scalar."""

import json

import h5py
import numpy
import pytest

from haarflow import backends
from haarflow.core import fields, random
from haarflow.core.chains.hmc import HMC, molecular_dynamics
from haarflow.core.chains.integrators import OMELYAN
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import run
from haarflow.core.chains.metropolis import IndependenceMetropolis, LocalMetropolis
from haarflow.core.groups.additive import U1, Complex
from haarflow.core.laws.deviations import largest_pull
from haarflow.core.parts import autodiff_force, check_theory, described
from haarflow.core.spaces import Space
from haarflow.core.statistics import gamma_method
from haarflow.results import ensemble
from haarflow.theories import Sum, U1Gauge, with_parts
from haarflow.theories.theory import check_field, check_finite
from tests.support.runs import haarflow, process
from tests.support.scalar_qed import Auto, Fields, ScalarQED, Uncoupled, ring

COUPLINGS = {"beta": 1.3, "m2": 3.0, "kappa": 0.8}


def drawn(theory, backend, chains=3, seed=1):
    return fields.normal(random.key(seed, backend), theory.spaces, (chains,))


def on_host(backend, field):
    return fields.map(backend.to_numpy, field)


def apart(a, b):
    return max(float(numpy.abs(x - y).max()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("lattice", [(4,), (2, 3), (3, 2, 2)])
def test_the_force_is_the_derivative_along_each_coordinate(host, lattice):
    """Central differences along Re and Im: F = dS/d Re phi + i dS/d Im phi."""
    theory, h = ScalarQED(lattice), 1e-5
    field = drawn(theory, host, chains=1)
    force = theory.force(field, COUPLINGS)
    for name, steps in (("U", (1.0,)), ("phi", (1.0, 1.0j))):
        for site in numpy.ndindex(getattr(field, name).shape):
            slopes = []
            for step in steps:
                bump = numpy.zeros_like(getattr(field, name))
                bump[site] = h * step
                up, down = (field._replace(**{name: getattr(field, name) + s * bump}) for s in (1, -1))
                slopes.append(((theory.action(up, COUPLINGS) - theory.action(down, COUPLINGS)) / (2 * h))[0])
            found = getattr(force, name)[site]
            assert found == pytest.approx(slopes[0] + (1j * slopes[1] if len(slopes) > 1 else 0), abs=1e-8)


@pytest.mark.parametrize("lattice", [(4,), (2, 3)])
def test_the_force_by_autodiff_is_the_one_by_hand(backend, host, lattice):
    if not backend.autodiff:
        pytest.skip("no autodiff")
    field = drawn(Auto(lattice), backend)
    by_hand = ScalarQED(lattice).force(on_host(backend, field), COUPLINGS)
    found = backend.jit(lambda x: autodiff_force(Auto(lattice), x, COUPLINGS))(field)
    assert type(found) is Fields and apart(on_host(backend, found), by_hand) < 1e-12


def test_a_sum_of_terms_over_trees(backend):
    """Terms with halved couplings make the whole: action, force and difference."""
    theory, half = ScalarQED((2, 3)), {name: 0.5 * value for name, value in COUPLINGS.items()}
    both = Sum((theory, theory))
    old, new = (drawn(theory, backend, seed=seed) for seed in (1, 2))
    pairs = (
        (both.action(old, half), theory.action(old, COUPLINGS)),
        (both.difference(new, old, half), theory.action(new, COUPLINGS) - theory.action(old, COUPLINGS)),
    )
    for one, other in pairs:
        assert numpy.allclose(backend.to_numpy(one), backend.to_numpy(other), rtol=1e-12, atol=1e-11)
    one, other = (on_host(backend, force) for force in (both.force(old, half), theory.force(old, COUPLINGS)))
    assert apart(one, other) < 1e-12
    with pytest.raises(ValueError, match="one set of spaces"):
        Sum((theory, U1Gauge((2, 3))))


def test_a_chain_is_the_same_on_every_backend(backend, host):
    theory = ScalarQED((2, 3))
    kernel = HMC(theory, OMELYAN, 4, {"couplings": COUPLINGS, "step_size": 0.2})
    ends = []
    for one in (backend, host):
        start = fields.map(one.asarray, on_host(host, drawn(theory, host)))
        state, records = run(kernel, random.key(5, one), kernel.init(start), 3, measure=theory.observables)
        ends.append((on_host(one, state.field), one.to_numpy(records["info"]["dH"])))
        assert one.to_numpy(records["observables"]["hop"]).dtype.kind == "c"
    assert apart(ends[0][0], ends[1][0]) < 1e-11 and numpy.abs(ends[0][1] - ends[1][1]).max() < 1e-11


def test_hmc_is_a_value_of_the_involution(backend):
    """The same numbers, bit for bit, and chains with their own step sizes move as on their own."""
    theory = ScalarQED((2, 3))
    sizes = backend.asarray([0.1, 0.2, 0.3])
    kernel, start = HMC(theory, steps=3, values={"couplings": COUPLINGS, "step_size": sizes}), drawn(theory, backend)
    key = random.key(2, backend)
    state, info = backend.jit(kernel.step)(key, kernel.init(start))
    again, told = backend.jit(Involutive(theory, kernel).step)(key, kernel.init(start))
    assert apart(on_host(backend, state.field), on_host(backend, again.field)) == 0.0
    assert numpy.array_equal(backend.to_numpy(info["dH"]), backend.to_numpy(told["dH"]))
    momentum = fields.normal(key, theory.spaces, (3,))
    moved = backend.jit(lambda x, w, size: molecular_dynamics(theory, x, w, OMELYAN, size, 3, COUPLINGS)[0])
    whole = moved(start, momentum, sizes)
    for chain in range(3):
        x, w = (fields.map(lambda part, chain=chain: part[chain, ...], tree) for tree in (start, momentum))
        alone = moved(x, w, sizes[chain])
        assert apart(on_host(backend, alone), [part[chain] for part in on_host(backend, whole)]) < 1e-13


def test_what_does_not_fit_is_refused(host):
    theory, field = ScalarQED((2, 3)), drawn(ScalarQED((2, 3)), host)
    assert check_field(theory, field) == 1 and described(theory).spaces.phi == Space(Complex(), (2, 3))
    with pytest.raises(ValueError, match=r"wants field/phi of shape \(\*batch, 2, 3\), got \(3, 2\)"):
        check_field(theory, field._replace(phi=field.phi[..., 0]))
    with pytest.raises(TypeError, match="wants field/phi of complex128 or complex64, got float64"):
        check_field(theory, field._replace(phi=field.phi.real))
    with pytest.raises(TypeError, match="wants field/U of float64 or float32, got complex128"):
        check_field(theory, field._replace(U=field.U + 0j))
    with pytest.raises(ValueError, match="a field of the parts field/U, field/phi, got field"):
        check_field(theory, field.U)
    with pytest.raises(ValueError, match=r"finite field/phi, got 1 value of 18"):
        check_finite(
            theory, field._replace(phi=numpy.where(numpy.arange(18).reshape(3, 2, 3) == 4, numpy.nan, field.phi))
        )
    with pytest.raises(TypeError, match="local moves move a field of one array"):
        LocalMetropolis(theory)
    with pytest.raises(TypeError, match="works on a single array"):
        _ = described(theory).field_shape

    class Wrong:
        lattice = (2, 3)
        spaces = (Space(U1(), (2, 2, 3)), 3)
        action = ScalarQED.action

    with pytest.raises(TypeError, match="name its parts"):
        check_theory(Wrong())


def independence(theory, couplings, tries=1):
    values = {"params": {}, "couplings": couplings}
    return IndependenceMetropolis(Uncoupled(theory, couplings["m2"]), theory, tries, values)


def test_independent_proposals_move_all_parts_together(backend, host):
    """Each chain keeps its old parts or takes those of one proposal, the same on every backend; the cache is exact."""
    theory = ScalarQED((2, 3))
    kernel, ends = independence(theory, COUPLINGS, tries=3), []
    for one in (backend, host):
        start = fields.map(one.asarray, on_host(host, drawn(theory, host, chains=8)))
        state, info = one.jit(kernel.step)(random.key(5, one), kernel.init(start))
        assert type(state.field) is Fields
        ends.append(on_host(one, state.field))
        numpy.testing.assert_allclose(
            one.to_numpy(state.cache), one.to_numpy(kernel.init(state.field).cache), atol=1e-11
        )
    assert apart(*ends) < 1e-12
    kept = [numpy.all(a == b, axis=tuple(range(1, a.ndim))) for a, b in zip(ends[1], on_host(host, start), strict=True)]
    assert numpy.array_equal(kept[0], kept[1]) and numpy.array_equal(kept[0], info["accepted"] == 0.0)
    new = kernel.proposal.sample({}, random.fold_in(random.key(5, host), 0), 24)[0]
    for part, proposals in zip(ends[1], new, strict=True):
        for chain in numpy.flatnonzero(~kept[0]):
            assert any(numpy.array_equal(part[chain], proposals[chain + 8 * t]) for t in range(3))


def test_independent_proposals_have_the_exact_means(host):
    """Two numbers at five sigma, chance of luck 1e-6; the seed is fixed."""
    couplings = {"beta": 0.7, "m2": 2.0, "kappa": 0.0}
    theory = ScalarQED((2, 2))
    kernel = independence(theory, couplings)
    start = kernel.init(kernel.proposal.sample({}, random.key(1, host), 50)[0])
    _, records = run(kernel, random.key(2, host), start, 200, measure=lambda x: theory.observables(x, couplings))
    for name, exact in theory.exact(couplings).items():
        estimate = gamma_method(numpy.real(records["observables"][name][20:]).T)
        assert abs(estimate.value - exact) < 5.0 * estimate.error, (name, estimate, exact)


def test_a_complex_action_is_refused(host):
    theory = with_parts(ScalarQED((2, 2)), action=lambda field, couplings=None: 1j * field.U[..., 0, 0, 0])
    with pytest.raises(TypeError, match="needs a real action"):
        kernel = independence(theory, COUPLINGS)
        kernel.init(kernel.proposal.sample({}, random.key(1, host), 2)[0])


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("lattice", "couplings"),
    [
        ((3,), {"beta": 0.0, "m2": 2.0, "kappa": 1.2}),
        ((2, 2), {"beta": 1.3, "m2": 2.0, "kappa": 0.0}),
    ],
)
def test_exact_means(host, lattice, couplings):
    """Five sigma each for four numbers, chance of luck 2e-6; <exp(-dH)> = 1 beside them. The seeds are fixed."""
    theory = ScalarQED(lattice)
    kernel = HMC(theory, OMELYAN, 2, {"couplings": couplings, "step_size": 0.6})
    start = drawn(theory, host, chains=200)
    state, _ = run(kernel, random.key(3, host), kernel.init(start), 50)
    _, records = run(kernel, random.key(4, host), state, 300, measure=lambda x: theory.observables(x, couplings))
    weights = numpy.exp(-records["info"]["dH"])
    assert largest_pull(weights.mean(axis=0), 1.0) < 5.0 and numpy.std(records["info"]["dH"]) > 0.01
    for name, exact in theory.exact(couplings).items():
        values = records["observables"][name]
        for part, wanted in ((values.real, numpy.real(exact)), (values.imag, numpy.imag(exact))):
            if part.any():
                estimate = gamma_method(part.T)
                assert abs(estimate.value - wanted) < 5.0 * estimate.error, (name, estimate, wanted)


def test_the_ring_without_hopping_is_gaussian():
    assert ring(4, 2.0, 0.0)["density"] == pytest.approx(0.5) and ring(4, 2.0, 0.0)["hop"] == pytest.approx(0.0)


RECIPE = """
name = "qed"
lattice = [2, 2]
fields_every = 5
[theory]
beta = 1.3
m2 = 2.0
kappa = 0.0
[samplers.hmc]
chains = 8
draws = 200
warmup = 20
block = 55
steps = 4
step_size = 0.3
scheme = "omelyan"
"""
OPTIONS = ("-b", "numpy", "-q", "--theory", "tests.support.scalar_qed:ScalarQED")


def test_a_run_from_the_command_line(tmp_path):
    (tmp_path / "qed.toml").write_text(RECIPE)
    assert haarflow("run", tmp_path / "qed.toml", *OPTIONS, "-o", tmp_path / "whole") == 0
    found = ensemble.read(tmp_path / "whole" / "ensemble.h5")
    assert {"hop.re", "hop.im", "plaquette", "density"} <= found.samplers["hmc"].observables.keys()
    parts = list(ensemble.fields(tmp_path / "whole" / "ensemble.h5", "hmc"))
    assert len(parts) == 8 and parts[0]["U"].shape == (40, 2, 2, 2) and parts[0]["phi"].shape == (40, 2, 2)
    assert parts[0]["phi"].dtype == numpy.complex128
    with h5py.File(tmp_path / "whole" / "ensemble.h5") as file:  # the kept configurations have the stored observables
        density = numpy.mean(numpy.abs(parts[3]["phi"]) ** 2, axis=(-2, -1))
        assert numpy.allclose(file["hmc/observables/density"][3, ::5], density)
        assert file["hmc/observables/hop"].dtype == numpy.complex128
    report = (tmp_path / "whole" / "report.html").read_text(encoding="utf-8")
    assert "hop.re" in report and "hop.im" in report
    estimates = ensemble_estimates(tmp_path / "whole")
    for name in ("plaquette", "density", "hop.re", "hop.im"):
        assert abs(estimates[name]["value"] - estimates[name]["exact"]) < 5 * estimates[name]["error"]


def ensemble_estimates(folder):
    return json.loads((folder / "summary.json").read_text())["samplers"]["hmc"]["observables"]


def test_a_killed_run_goes_on_from_the_last_block(tmp_path):
    """A run that dies at its third block and is taken up again has the bytes of one that was never stopped."""
    (tmp_path / "qed.toml").write_text(RECIPE)
    assert haarflow("run", tmp_path / "qed.toml", *OPTIONS, "-o", tmp_path / "whole") == 0
    dies = """
import os, sys
from haarflow.run.runfolder import RunFolder
write = RunFolder.write_block
def dying(self, sampler, number, arrays):
    if number == 2:
        os._exit(9)
    write(self, sampler, number, arrays)
RunFolder.write_block = dying
from haarflow.cli import main
sys.exit(main())
"""
    words = ("run", tmp_path / "qed.toml", *OPTIONS, "-o", tmp_path / "cut")
    assert process(*words, code=dies).returncode == 9
    assert not (tmp_path / "cut" / "ensemble.h5").exists() and any((tmp_path / "cut" / "blocks").iterdir())
    assert haarflow(*words) == 0
    assert (tmp_path / "cut" / "ensemble.h5").read_bytes() == (tmp_path / "whole" / "ensemble.h5").read_bytes()


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_hmc_by_autodiff(name):
    if not backends.is_present(name):
        pytest.skip(f"no {name}")
    backend = backends.get(name)
    by_hand, auto = (
        HMC(kind((2, 2)), steps=3, values={"couplings": COUPLINGS, "step_size": 0.2}) for kind in (ScalarQED, Auto)
    )
    start, key = drawn(Auto((2, 2)), backend), random.key(1, backend)
    one, two = (run(kernel, key, kernel.init(start), 2)[0].field for kernel in (by_hand, auto))
    assert apart(on_host(backend, one), on_host(backend, two)) < 1e-11
