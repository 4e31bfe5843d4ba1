"""HMC with pseudofermions: an involution, time scales, tolerances, what stops it, and the means of the exact determinant."""

from dataclasses import replace
from functools import partial

import numpy
import pytest

from haarflow.core import random
from haarflow.core.chains.integrators import LEAPFROG, OMELYAN
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import Cycle, run
from haarflow.core.laws.kernels.involution import involution_volume
from haarflow.core.solvers.dense import matrix
from haarflow.core.solvers.solution import OutsideInterval, Unconverged
from haarflow.core.statistics import gamma_method
from haarflow.theories import Sum, U1Gauge
from haarflow.theories.fermions.pseudofermions import pseudofermion
from haarflow.theories.fermions.pseudofermions.one_flavour import Root, largest
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy, background
from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import Inner, PseudofermionHMC
from haarflow.theories.gauge.flux_hit import FluxHits
from haarflow.theories.models.schwinger import Schwinger

COUPLINGS = {"beta": 2.0, "kappa": 0.25}
THEORY = Schwinger((2, 4))


def kernel(theory=THEORY, masses=(), inner=(), steps=3, step_size=0.2, couplings=COUPLINGS, **words):
    values = {"couplings": couplings, "step_size": step_size, "masses": masses}
    return PseudofermionHMC(theory, OMELYAN, steps, values, inner, **words)


def start(backend, theory=THEORY, chains=3):
    return random.normal(random.key(1, backend), (chains, *theory.field_shape))


def distance(a, b):
    return float(numpy.abs((a - b + numpy.pi) % (2 * numpy.pi) - numpy.pi).max())


@pytest.mark.parametrize(("masses", "inner"), [((), ()), ((0.2,), (Inner(OMELYAN, 1), Inner(LEAPFROG, 2)))])
@pytest.mark.parametrize(("tolerance", "mixed"), [(1e-12, False), (1e-6, False), (1e-9, True)])
def test_it_is_reversible_to_the_tolerance_of_its_forces(host, masses, inner, tolerance, mixed):
    words = {"for_action": Accuracy(1e-11, 500, mixed), "for_force": Accuracy(tolerance, 500, mixed)}
    hmc = kernel(masses=masses, inner=inner, **words)
    x = start(host)
    v = hmc.auxiliary(random.key(2, host), x)
    there = hmc.involution(x, v)
    back = hmc.involution(there.field, there.auxiliary)
    assert distance(back.field, x) < 100 * tolerance + 1e-12
    assert numpy.abs(back.auxiliary.momenta - v.momenta).max() < 100 * tolerance + 1e-12
    assert numpy.allclose(back.change, -there.change, atol=1000 * tolerance + 1e-10)
    assert all(numpy.array_equal(a, b) for a, b in zip(back.auxiliary.phi, v.phi, strict=True))


def test_it_preserves_volume(host):
    theory = Schwinger((2, 2))
    hmc = kernel(theory, masses=(0.2,), inner=(Inner(OMELYAN, 1), Inner(LEAPFROG, 2)), for_force=Accuracy(1e-13, 500))
    x = start(host, theory, 1)
    v = hmc.auxiliary(random.key(2, host), x)
    one = v._replace(momenta=v.momenta[0], phi=tuple(phi[0] for phi in v.phi))
    assert involution_volume(Involutive(theory, hmc), x[0], one).passed


@pytest.mark.parametrize("masses", [(), (0.2,)])
def test_the_energy_is_conserved_with_the_order_of_the_scheme(host, masses):
    x = start(host)
    v = kernel(masses=masses).auxiliary(random.key(2, host), x)
    sizes = []
    for steps in (8, 16, 32):
        hmc = kernel(masses=masses, steps=steps, step_size=0.4 / steps, for_force=Accuracy(1e-13, 500))
        image = hmc.involution(x, v)
        sizes.append(numpy.abs(image.change + hmc.energy_change(x, v, image)).max())
    assert abs(numpy.log2(sizes[1] / sizes[2]) - 2.0) < 0.2, sizes


@pytest.mark.parametrize(("masses", "inner"), [((), ()), ((0.2,), (Inner(OMELYAN, 1), Inner(OMELYAN, 1)))])
def test_the_same_on_every_backend(backend, host, masses, inner, monkeypatch):
    monkeypatch.setattr(pseudofermion, "fits", lambda *args: False)  # the dense retry takes long to compile
    hmc, key = kernel(masses=masses, inner=inner, steps=2), random.key
    infos = []
    for where in (backend, host):
        state, records = run(hmc, key(3, where), hmc.init(where.asarray(host.to_numpy(start(host)))), 2)
        infos.append((where.to_numpy(state.field), where.to_numpy(records["info"]["dH"])))
    assert distance(infos[0][0], infos[1][0]) < 1e-7 and numpy.allclose(infos[0][1], infos[1][1], atol=1e-7)


def test_four_flavours_take_two_pairs(host):
    theory = Schwinger((2, 4), flavours=4)
    assert len(kernel(theory, masses=(0.2,)).auxiliary(random.key(2, host), start(host)).phi) == 4


def test_an_odd_flavour_stands_beside_pairs(host):
    """Three flavours are a pair, with its Hasenbusch factors, and one more; its spectrum is part of the info."""
    theory = Schwinger((2, 4), flavours=3)
    hmc = kernel(theory, masses=(0.2,), inner=(Inner(OMELYAN, 1), Inner(OMELYAN, 1)))
    x = start(host)
    v = hmc.auxiliary(random.key(2, host), x)
    assert len(v.phi) == 3
    image = hmc.involution(x, v)
    assert numpy.abs(image.change + hmc.energy_change(x, v, image)).max() < 1.0
    assert distance(hmc.involution(image.field, image.auxiliary).field, x) < 1e-7
    _, records = run(hmc, random.key(3, host), hmc.init(x), 2)
    assert records["info"]["held"].all() and (records["info"]["lowest"] > 1e-4).all()


def test_an_interval_that_does_not_hold_the_spectrum_stops_the_run(host):
    hmc = kernel(Schwinger((2, 4), flavours=1), root=Root(poles=4, lowest=0.4))
    state = hmc.init(start(host))
    message = r"at beta = 2, kappa = 0.25 the smallest eigenvalue of chain \d, draw 7, may be as small as \d.\de.* below the interval"
    with pytest.raises(OutsideInterval, match=message):
        run(hmc, random.key(3, host), state, 2, start=7)
    _, info = hmc.step(random.key(3, host), state)
    dense = lowest_by_matrix(host, state.field)
    assert (info["lowest"] <= dense + 1e-12).all()


def lowest_by_matrix(host, field):
    """The smallest eigenvalue of Dhat Dhat^+ in units of the largest possible one, from dense matrices."""
    gauge = background(THEORY.operator, field)
    form, kappa = gauge.form, COUPLINGS["kappa"]
    normal = matrix(
        lambda x: form.schur(gauge.links, kappa, form.schur_adjoint(gauge.links, kappa, x)),
        numpy.zeros((len(field), *form.packed_shape), dtype=complex),
        1,
    )
    return numpy.linalg.eigvalsh(normal)[:, 0] / largest(2, kappa)


def test_a_solve_that_fails_stops_the_run_and_leaves_the_state(host, monkeypatch):
    """Neither a number nor a rejection: `run` raises, naming chain, draw, kappa and residual."""
    monkeypatch.setattr(pseudofermion, "fits", lambda *args: False)
    hopeless = kernel(couplings={"beta": 2.0, "kappa": 0.28}, for_force=Accuracy(1e-12, 1))
    state = hopeless.init(start(host))
    before = state.field.copy()
    with pytest.raises(
        Unconverged, match=r"at beta = 2, kappa = 0.28 a solve of chain \d, draw 7, .* residual of \d.\de"
    ):
        run(hopeless, random.key(3, host), state, 2, start=7)
    assert numpy.array_equal(state.field, before)
    _, info = hopeless.step(random.key(3, host), state)
    assert not info["converged"].any() and numpy.isnan(info["dH"]).all()


def test_a_dense_solve_replaces_one_that_fails(host):
    plain, dense = (kernel(for_force=Accuracy(1e-11, steps)) for steps in (500, 1))
    x = start(host)
    v = plain.auxiliary(random.key(2, host), x)
    assert distance(plain.involution(x, v).field, dense.involution(x, v).field) < 1e-9


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="Hasenbusch masses divide pairs of flavours, and one flavour has none"):
        kernel(Schwinger((2, 4), flavours=1), masses=(0.2,))
    with pytest.raises(
        ValueError, match=r"3 poles on \[0.0001, 1\] .* 8 components .* more than 0.001: take more poles"
    ):
        kernel(Schwinger((2, 4), flavours=1), root=Root(poles=3))
    with pytest.raises(ValueError, match="even"):
        kernel(Schwinger((3, 4)))
    with pytest.raises(ValueError, match=r"inner lists the forces that are faster than the first, here 2 .* got 1"):
        kernel(masses=(0.2,), inner=(Inner(OMELYAN, 1),))
    with pytest.raises(ValueError, match=r"fall from kappa = 0.25 towards 0, got 0.26"):
        kernel(masses=(0.26,))
    with pytest.raises(ValueError, match="replace one term Fermions of a sum of actions, and U1Gauge has 0"):
        kernel(U1Gauge((2, 4)))
    assert kernel(Sum((U1Gauge((2, 4)), THEORY.fermions))).gauge == THEORY.gauge
    assert replace(kernel(), steps=5).steps == 5


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("flavours", "force", "chains", "draws"),
    [
        (2, Accuracy(1e-9, 500), 200, 100),
        (2, Accuracy(1e-4, 500), 200, 100),
        (2, Accuracy(1e-9, 500, mixed=True), 200, 60),
        (1, Accuracy(1e-4, 500), 100, 60),
    ],
)
def test_exp_minus_dh_and_the_plaquette_at_loose_forces(host, flavours, force, chains, draws):
    """<exp(-dH)> = 1 and the exact determinant's plaquette on 2x4 at 4 sigma (chance of luck 1e-4); the seeds are fixed."""
    theory = Schwinger((2, 4), flavours)
    hits = FluxHits(theory, 1, {"couplings": COUPLINGS})
    action = Accuracy(1e-11, 2000, force.mixed)
    hmc = kernel(theory, steps=3, step_size=0.3, for_action=action, for_force=force, root=Root(8, 1e-3))
    pseudo = Cycle((hmc, hits))
    measure = partial(theory.gauge.observables, couplings={"beta": 2.0})
    state = pseudo.init(start(host, chains=chains))
    state, _ = run(pseudo, random.key(4, host), state, draws // 4)
    _, records = run(pseudo, random.key(4, host), state, draws, start=draws // 4, measure=measure)
    d_h = records["info"]["0"]["dH"].T
    inside = numpy.abs(d_h) < 2.0  # where the mean is 1, too, and has a finite variance
    ratio = gamma_method([numpy.exp(-d_h) * inside, inside.astype(float)], lambda a, b: a / b)
    assert abs(ratio.value - 1.0) < 4.0 * ratio.error
    found = gamma_method(records["observables"]["plaquette"].T)
    assert abs(found.value - plaquette_by_reweighting(theory)) < 4.0 * found.error + 4.0 * 0.0006


def plaquette_by_reweighting(theory):
    """<plaquette> by 200,000 exact draws of pure gauge theory with weight |det|^N_f; its error is below 0.0006."""
    from haarflow.backends import numpy as host
    from haarflow.core.statistics import reweight
    from haarflow.theories.samplers.u1 import exact_sample

    fields = exact_sample(theory.gauge, random.key(9, host), 200_000, {"beta": 2.0}).field
    log_w = -theory.fermions.action(fields, {"kappa": COUPLINGS["kappa"]})
    plaquette = numpy.cos(theory.gauge.plaquettes(fields)).mean(axis=(1, 2, 3))
    estimate = reweight(log_w[None], plaquette[None])
    assert estimate.error < 0.0006
    return estimate.value
