"""SU(N) gauge theory: loops against plain products, improved actions, exact means by HMC, borders, cold fields."""

import itertools
import math

import numpy
import pytest

from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.integrators import LEAPFROG, OMELYAN, OMELYAN4
from haarflow.core.chains.kernel import run
from haarflow.core.chains.metropolis import LocalMetropolis
from haarflow.core.groups.sun import SU
from haarflow.core.lattice import loops
from haarflow.core.laws.fields import host_matrices
from haarflow.core.laws.law import at_once
from haarflow.core.statistics import gamma_method
from haarflow.theories import SUNGauge
from haarflow.theories.exact import sun_torus
from haarflow.theories.theory import autodiff_force
from tests.conftest import member


def links(theory, generator, batch=2):
    """Haar distributed host links."""
    return host_matrices(theory.group, (batch, *theory.field_shape), "haar", generator)


def walk(u, site, steps, lattice):
    """The product along a path by the definition, one site and matrix at a time; u is (d, N, N, *lattice)."""
    total, x = numpy.eye(u.shape[1], dtype=complex), list(site)
    for step in steps:
        mu = abs(step) - 1
        if step < 0:
            x[mu] = (x[mu] - 1) % lattice[mu]
        link = u[(mu, slice(None), slice(None), *x)]
        total = total @ (link if step > 0 else link.conj().T)
        if step > 0:
            x[mu] = (x[mu] + 1) % lattice[mu]
    return total


@pytest.mark.parametrize("steps", [(1,), (-2,), (1, 2, -1, -2), (3, 3, -1, -3, -3, 1), (1, -3, 2, 2, 2, -1)])
def test_a_path_is_the_product_of_its_links(steps, backend, generator):
    theory = SUNGauge((2, 1, 3), n=3)
    u = links(theory, generator)
    found = backend.to_numpy(loops.path(backend.asarray(u), steps, 3, theory.group))
    for row, site in itertools.product(range(2), numpy.ndindex(*theory.lattice)):
        assert abs(found[(row, ..., *site)] - walk(u[row], site, steps, theory.lattice)).max() < 1e-14


def test_named_loops_are_paths(generator):
    theory = SUNGauge((2, 3, 2), n=2)
    u, group = links(theory, generator), theory.group

    def path(*steps):
        return loops.path(u, steps, 3, group)

    for mu, nu in itertools.permutations(range(3), 2):
        m, n = mu + 1, nu + 1
        assert abs(loops.plaquette(u, mu, nu, 3, group) - path(m, n, -m, -n)).max() < 1e-14
        assert abs(loops.rectangle(u, mu, nu, (1, 2), 3, group) - path(m, n, n, -m, -n, -n)).max() < 1e-14
        words = ((m, n, -m, -n), (n, -m, -n, m), (-m, -n, m, n), (-n, m, n, -m))
        for leaf, steps in zip(loops.clover(u, mu, nu, 3, group), words, strict=True):
            assert abs(leaf - path(*steps)).max() < 1e-14
    assert abs(loops.polyakov(u, 1, theory.lattice, group) - path(2, 2, 2)).max() < 1e-14


def test_a_path_of_angles_adds_them(host):
    assert loops.path(host.asarray([[1.0, 2.0, 4.0]]), (1, 1, -1), d=1).tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("steps", [(), (0,), (3,), (1.5,)])
def test_steps_that_lead_nowhere_are_refused(steps):
    with pytest.raises(ValueError, match=r"signed directions starting at one"):
        loops.path(numpy.zeros((2, 4, 4)), steps, d=2)


@pytest.mark.parametrize("rectangle", [0.0, -1 / 12])
def test_gradients_of_the_action_at_cold_and_degenerate_fields(rectangle, autodiff_backend, generator):
    theory, backend = SUNGauge((3, 4), n=3, rectangle=rectangle), autodiff_backend
    styles = [host_matrices(theory.group, (2, *theory.field_shape), style, generator) for style in ("cold", "seam")]
    u = backend.asarray(numpy.concatenate(styles))
    found = backend.to_numpy(backend.jit(lambda u: autodiff_force(theory, u, {"beta": 6.0}))(u))
    wanted = backend.to_numpy(at_once(lambda u: theory.force(u, {"beta": 6.0}), u))
    assert found.shape[0] == 4 and abs(found - wanted).max() < 1e-12


def test_gauge_transformations_change_nothing_to_rounding(generator):
    theory = SUNGauge((3, 4, 2), n=3, rectangle=-0.331)
    u, w = links(theory, generator), host_matrices(theory.group, (2, 3, 3, 3, 4, 2), "haar", generator)
    turned = loops.gauge_transform(u, w, 3, theory.group)
    for name, value in theory.observables(u).items():
        assert abs(theory.observables(turned)[name] - value).max() < 1e-12, name
    force = [theory.group.algebra(theory.force(x)[:, 1]) for x in (u, turned)]
    carried = theory.group.compose(theory.group.compose(w, force[0]), theory.group.inverse(w))
    assert abs(carried - force[1]).max() < 1e-12


def test_improved_actions_count_rectangles_and_keep_the_continuum_limit():
    """c0 + 8 c1 = 1: near the identity each action is the same sum of squared fluxes of long waves."""
    field = numpy.zeros((2, 8, 1, 64))
    field[1, 2] = 1e-3 * numpy.cos(2 * numpy.pi * numpy.arange(64) / 64)
    field[0, 2, 0] = 1e-3 * numpy.sin(2 * numpy.pi * numpy.arange(64) / 64)
    found = []
    for rectangle in (0.0, -1 / 12, -0.331):
        theory = SUNGauge((1, 64), rectangle=rectangle)
        cold = theory.action(theory.group.exp(0.0 * field))
        found.append(theory.action(theory.group.exp(field)) - cold)
    assert max(found) / min(found) - 1 < 0.03
    assert SUNGauge((4, 4), rectangle=-1 / 12).weights == pytest.approx((5 / 3, -1 / 12))


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_theory_of_one_plaquette_a_site_in_strong_coupling(n, generator):
    """<plaquette> = beta / (2 N^2) + O(beta^2), SU(2) beta/4, by averages over Haar draws."""
    theory, beta = SUNGauge((2, 2), n=n), 0.2
    u = host_matrices(theory.group, (20000, *theory.field_shape), "haar", generator)
    weight = numpy.exp(-theory.action(u, {"beta": beta}))
    mean = (weight * theory.observables(u)["plaquette"]).sum() / weight.sum()
    assert abs(mean - sun_torus.plaquette(n, beta, 4)) < 5 * theory.observables(u)["plaquette"].std() / 20000**0.5
    assert sun_torus.plaquette(n, 1e-4, 64) == pytest.approx(1e-4 * (0.25 if n == 2 else 0.5 / n**2), rel=1e-3)


def test_wrong_fields_and_couplings_are_refused_with_the_remedy(backend):
    theory = SUNGauge((4, 4), n=3)
    with pytest.raises(TypeError, match=r"complex128 or complex64, got .*float64"):
        theory.action(backend.xp.zeros((2, 3, 3, 4, 4), dtype=backend.xp.float64))
    with pytest.raises(ValueError, match=r"\(\*batch, 2, 3, 3, 4, 4\)"):
        theory.action(backend.xp.zeros((2, 4, 4, 3, 3), dtype=backend.xp.complex128))
    with pytest.raises(ValueError, match="did you mean 'beta'"):
        theory.check({"bta": 1.0})
    for words in ({"lattice": (4,)}, {"lattice": (4, 4), "n": 1}, {"lattice": (4, 4), "rectangle": float("nan")}):
        with pytest.raises(ValueError):
            SUNGauge(**words)


def test_couplings_may_differ_from_chain_to_chain(backend, generator):
    theory = SUNGauge((2, 2), n=2)
    u = backend.asarray(links(theory, generator))
    both = backend.to_numpy(theory.force(u, {"beta": backend.asarray([1.0, 2.0])}))
    one = backend.to_numpy(theory.force(u, {"beta": 1.0}))
    assert abs(both - one * numpy.asarray([1.0, 2.0])[:, None, None, None, None]).max() < 1e-14


def measured(theory, kernel, chains, warm, draws, seed=1):
    """The mean plaquette by a kernel on JAX, from cold starts; all steps in blocks of one compiled program."""
    backend = member("jax")
    u = theory.group.identity(backend.xp.zeros((chains, *theory.field_shape), dtype=backend.xp.complex128))
    state, size = kernel.init(u), math.gcd(warm, draws)
    for number, steps in ((seed, warm), (seed + 1, draws)):
        blocks = []
        for start in range(0, steps, size):
            key = random.key(number, backend)
            state, records = run(kernel, key, state, size, start=start, measure=theory.observables)
            blocks.append(tree_map(backend.to_numpy, records))
    records = tree_map(lambda *parts: numpy.concatenate(parts), *blocks)
    rows = records["observables"]["plaquette"].T
    return gamma_method(rows), records


# group, beta, exact, scheme, steps
ROWS = [
    (2, 2.2, 0.464480549736, OMELYAN, 4),
    (2, 2.7, 0.532980575657, OMELYAN4, 2),
    (3, 4.0, 0.279619150170, LEAPFROG, 12),
    (3, 6.0, 0.422532056631, OMELYAN, 5),
]


@pytest.mark.statistical
@pytest.mark.parametrize(("n", "beta", "exact", "scheme", "steps"), ROWS)
def test_hmc_reproduces_the_exact_plaquette_of_the_torus(n, beta, exact, scheme, steps):
    """Within 4 sigma of the run, chance of luck 6e-5; seeds fixed."""
    theory = SUNGauge((4, 4), n=n)
    values = {"couplings": {"beta": beta}, "step_size": 1.0 / steps}
    found, records = measured(theory, HMC(theory, scheme, steps, values), 64, 50, 300)
    assert abs(found.value - exact) < 4 * found.error < 0.004
    d_h = numpy.asarray(records["info"]["dH"])
    assert abs(numpy.exp(-d_h).mean() - 1) < 5 * numpy.exp(-d_h).std() / d_h.size**0.5


@pytest.mark.statistical
def test_local_moves_reproduce_the_exact_plaquette():
    theory = SUNGauge((4, 4), n=2)
    kernel = LocalMetropolis(theory, {"couplings": {"beta": 2.2}, "width": 0.5})
    found, _ = measured(theory, kernel, 64, 100, 400)
    assert abs(found.value - 0.464480549736) < 4 * found.error < 0.01


@pytest.mark.slow
def test_four_dimensions_at_the_reference_coupling():
    """SU(3), 4^4, beta = 5.7: 0.5597(3); within 4 combined sigma."""
    theory = SUNGauge((4, 4, 4, 4), n=3)
    values = {"couplings": {"beta": 5.7}, "step_size": 0.2}
    found, _ = measured(theory, HMC(theory, OMELYAN, 5, values), 16, 200, 300)
    assert abs(found.value - 0.5597) < 4 * (found.error**2 + 0.0003**2) ** 0.5


def test_the_group_is_the_theorys():
    assert SUNGauge((4, 4), n=4).group == SU(4, 2)
