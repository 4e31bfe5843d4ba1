"""The Yukawa model: its operator against hops written out site by site, quadrature, derivatives, and what is refused."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.spaces import Pair
from haarflow.theories import Phi4
from haarflow.theories.exact import yukawa as quadrature
from haarflow.theories.exact.free_fermions import staggered_log_det
from haarflow.theories.fermions.pseudofermions.real_pairs import WithRealPseudofermions
from haarflow.theories.fermions.staggered import staggered
from haarflow.theories.fermions.staggered.free_staggered import FreeStaggered
from haarflow.theories.fermions.staggered.staggered import Staggered
from haarflow.theories.fermions.staggered.yukawa_coupling import YukawaCoupling
from haarflow.theories.models.yukawa import Yukawa, yukawa_pairs

COUPLINGS = {"m2": -4.0, "lam": 8.0, "g": 0.8}


def fields(lattice, backend, batch=3, seed=1):
    return random.normal(random.key(seed, backend), (batch, *lattice))


@pytest.mark.parametrize("lattice", [(4, 4), (2, 6), (4, 1)])
@pytest.mark.parametrize("antiperiodic", [True, False])
def test_products_are_those_of_hops_site_by_site(backend, lattice, antiperiodic):
    operator, phi = Staggered(lattice, antiperiodic), fields(lattice, backend)
    psi = fields(lattice, backend, seed=2)
    free = quadrature.free_matrix(lattice, antiperiodic)  # hop by hop, on the host
    host = [backend.to_numpy(x).reshape(3, -1) for x in (phi, psi)]
    for sign, product in ((1.0, operator.apply), (-1.0, operator.transposed)):
        expected = sign * host[1] @ free.T + 0.8 * host[0] * host[1]
        found = backend.to_numpy(product(phi, 0.8, psi)).reshape(3, -1)
        numpy.testing.assert_allclose(found, expected, atol=1e-13)
    dense = backend.to_numpy(operator.matrix(phi, 0.8))
    numpy.testing.assert_allclose(dense[0], free + 0.8 * numpy.diag(host[0][0]), atol=1e-13)


def test_epsilon_symmetry(backend):
    """phi -> -phi keeps ln|det M| and turns the condensate round; eps M eps = M^T."""
    theory, phi = Yukawa((4, 4)), fields((4, 4), backend)
    observables = backend.jit(lambda phi: theory.observables(phi, COUPLINGS))
    one, other = ({n: backend.to_numpy(x) for n, x in observables(s * phi).items()} for s in (1.0, -1.0))
    numpy.testing.assert_allclose(one["log_det"], other["log_det"], atol=1e-10)
    numpy.testing.assert_allclose(one["condensate"], -other["condensate"], atol=1e-9)
    numpy.testing.assert_allclose(one["pion"], other["pion"], rtol=1e-8)
    numpy.testing.assert_allclose(one["fermion"], other["fermion"], atol=1e-9)
    matrix = backend.to_numpy(theory.operator.matrix(phi, 0.8))[0]
    eps = (-1.0) ** numpy.indices((4, 4)).sum(axis=0).ravel()
    numpy.testing.assert_allclose(eps[:, None] * matrix * eps, matrix.T, atol=1e-13)


def test_observables_of_fermions_are_those_of_the_dense_inverse():
    theory, phi, g, step = Yukawa((4, 4)), fields((4, 4), backends.get("numpy")), 0.8, 1e-5
    found = theory.observables(phi, COUPLINGS)
    up, down = (staggered.log_det(theory.operator, phi, g + s * step)[0] for s in (1, -1))
    numpy.testing.assert_allclose(found["phi_condensate"], (up - down) / (2 * step) / 16, rtol=1e-6)
    inverse = numpy.linalg.inv(theory.operator.matrix(phi, g))[0].reshape(4, 4, 4, 4)
    pion, fermion = numpy.zeros(4), numpy.zeros(4)
    for x, y in numpy.ndindex((16, 16)):
        (s, a), (t, b) = divmod(x, 4), divmod(y, 4)
        value = inverse[t, b, s, a]
        pion[(t - s) % 4] += value**2 / 16
        fermion[(t - s) % 4] += (value if (b - a) % 2 == 0 else 0.0) * (-1.0 if t < s else 1.0) / 16
    numpy.testing.assert_allclose(found["pion"][0], pion, rtol=1e-10)
    numpy.testing.assert_allclose(found["fermion"][0], fermion[1::2], atol=1e-12)
    assert fermion[1] == pytest.approx(fermion[3])


@pytest.mark.parametrize("lattice", [(2, 2), (4, 1), (2, 1)])
def test_determinant_as_a_polynomial_of_the_field(lattice):
    """The principal minors of D_st give det M at random fields."""
    phi = fields(lattice, backends.get("numpy"), 5).reshape(5, -1)
    found = sum(
        c * 0.8 ** len(rows) * numpy.prod(phi[:, list(rows)], axis=1)
        for rows, c in quadrature.minors(quadrature.free_matrix(lattice)).items()
    )
    dense = Staggered(lattice).matrix(phi.reshape(5, *lattice), 0.8)
    numpy.testing.assert_allclose(found, numpy.linalg.det(dense), atol=1e-13)


def test_exact_means_without_coupling_are_those_of_phi4_and_move_with_it():
    scalar, heavy = Phi4((2, 2)).exact({"m2": -4.0, "lam": 8.0}), {"m2": -4.0, "lam": 8.0, "g": 0.0}
    free = Yukawa((2, 2)).exact(heavy)
    for name in ("phi2", "phi4", "E", "chi2", "m_4", "G_min", "binder", "xi_2", "ln_Z"):
        assert free[name] == pytest.approx(scalar[name], abs=1e-10)
    step, at = 1e-4, quadrature.observables((2, 1), -4.0, 8.0, 0.8)
    up, down = (quadrature.observables((2, 1), -4.0, 8.0, 0.8 + s * step)["ln_Z"] for s in (1, -1))
    assert (up - down) / (2 * step) == pytest.approx(2 * 2 * at["phi_condensate"], rel=1e-6)
    assert Yukawa((8, 8)).exact(COUPLINGS) == {"identity": 1.0, "m": 0.0, "condensate": 0.0}


def test_free_fermions_of_a_mass(backend):
    free = FreeStaggered(Staggered((4, 6)), g=0.5)
    mass = backend.asarray([0.0, 0.3, -1.2])
    x = fields((4, 6), backend)
    back = backend.to_numpy(free.apply(mass, free.solve(mass, x)))
    numpy.testing.assert_allclose(back, backend.to_numpy(x), atol=1e-12)
    expected = [staggered_log_det((4, 6), m) for m in (0.0, 0.3, -1.2)]
    numpy.testing.assert_allclose(backend.to_numpy(free.log_det(mass)), expected, atol=1e-12)


def test_derivatives_of_the_pseudofermion_action(backend):
    """Slopes by hand against differences, where there is automatic differentiation."""
    if not backend.autodiff:
        pytest.skip("no automatic differentiation")
    theory, host = yukawa_pairs((2, 2)), backends.get("numpy")
    phi, chi = fields((2, 2), host, 1), fields((2, 2, 2), host, 1, seed=3)

    def total(parts):
        return backend.xp.sum(theory.pseudofermion(Pair(*parts), 0.8))

    _, slopes = backend.value_and_grad(total)([backend.asarray(phi), backend.asarray(chi)])
    for index, slope in enumerate(map(backend.to_numpy, slopes)):
        for site in numpy.ndindex(slope.shape):
            values = []
            for step in (1e-5, -1e-5):
                moved = [phi.copy(), chi.copy()]
                moved[index][site] += step
                values.append(float(theory.pseudofermion(Pair(*moved), 0.8)[0]))
            assert slope[site] == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-6)


def test_a_pseudofermion_drawn_exactly_has_the_exact_action():
    """chi = M eta: the action of chi is |eta|^2, whose mean over 4,000 draws is half the components; 4 sigma, chance 6e-5."""
    theory, host = yukawa_pairs((2, 2)), backends.get("numpy")
    phi = fields((2, 2), host, 4000)
    chi = theory.refreshed(random.key(4, host), phi, COUPLINGS)
    action = theory.pseudofermion(Pair(phi, chi), 0.8)
    assert abs(action.mean() - theory.exact()["pseudofermion"]) < 4 * action.std() / math.sqrt(4000)


def test_wrong_definitions_are_refused():
    with pytest.raises(ValueError, match=r"want even extents, around which their phases close, got \[4, 3\]"):
        Yukawa((4, 3))
    with pytest.raises(ValueError, match="flavours must be an even number >= 2, as det M may be negative, got 1"):
        YukawaCoupling(Staggered((4, 4)), flavours=1)
    with pytest.raises(TypeError, match="antiperiodic must be True or False, got 'no'"):
        Staggered((4, 4), antiperiodic="no")
    with pytest.raises(ValueError, match="wants antiperiodic ones"):
        FreeStaggered(Staggered((4, 4), antiperiodic=False), g=0.3)
    with pytest.raises(ValueError, match="the fermions live on the lattice"):
        WithRealPseudofermions(Phi4((4, 4)), Staggered((2, 4)))
    with pytest.raises(ValueError, match="takes 4 sites at most"):
        quadrature.observables((4, 4), -4.0, 8.0, 0.3)
    with pytest.raises(ValueError, match="did you mean 'lam'"):
        Yukawa((4, 4)).check({"lamm": 0.1})
