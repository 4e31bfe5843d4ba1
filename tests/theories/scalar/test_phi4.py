"""phi^4: the action's definition, observables, and what is refused; the laws are held in tests/laws/test_theories.py."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haarflow.backends import MixedBackends
from haarflow.theories import Phi4
from haarflow.theories.exact import quadrature
from haarflow.theories.theory import Theory, check_finite

FORMS = {"m2": {"m2": -1.3, "lam": 0.7}, "hopping": {"kappa": 0.3, "lam": 0.4}}
lattices = st.integers(1, 3).flatmap(lambda d: st.tuples(*[st.integers(1, 5)] * d))
forms = st.sampled_from(sorted(FORMS))


def draw(lattice, seed=3, batch=(2,)):
    return np.random.default_rng(seed).normal(size=(*batch, *lattice))


def plain_action(phi, m2, lam):
    """The definition, bond by bond and site by site."""
    total = 0.0
    for x in np.ndindex(*phi.shape):
        for mu in range(phi.ndim):
            ahead = list(x)
            ahead[mu] = (ahead[mu] + 1) % phi.shape[mu]
            total += (phi[tuple(ahead)] - phi[x]) ** 2
        total += m2 * phi[x] ** 2 + lam * phi[x] ** 4
    return total


@given(lattice=lattices, m2=st.floats(-5, 5), lam=st.floats(0.01, 9), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_action_equals_its_definition(lattice, m2, lam, seed):
    phi = draw(lattice, seed, ())
    assert float(Phi4(lattice).action(phi, {"m2": m2, "lam": lam})) == pytest.approx(
        plain_action(phi, m2, lam), rel=1e-12, abs=1e-10
    )


@given(lattice=lattices, form=forms, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_observables_hang_together(lattice, form, seed):
    theory, phi = Phi4(lattice, form), draw(lattice, seed)
    found, sites = theory.observables(phi, FORMS[form]), math.prod(lattice)
    flat = (phi * theory.force(phi, FORMS[form])).reshape(2, -1)
    assert np.allclose(found["identity"], np.mean(flat, axis=-1), atol=1e-10)
    assert np.allclose(found["action"], theory.action(phi, FORMS[form]), atol=1e-9)
    assert np.allclose(found["chi2"], sites * np.mean(phi.reshape(2, -1), axis=-1) ** 2, atol=1e-12)
    whole = sum(found["correlator"][:, min(t, lattice[0] - t)] for t in range(lattice[0]))
    assert np.allclose(whole, found["chi2"], atol=1e-10)
    extent, modes = max(lattice), np.fft.fftn(phi, axes=range(1, phi.ndim)) / sites
    lowest = [
        sites * np.abs(modes[(slice(None), *(int(nu == mu) % lattice[nu] for nu in range(len(lattice))))]) ** 2
        for mu in range(len(lattice))
        if lattice[mu] == extent
    ]
    assert np.allclose(found["G_min"], np.mean(lowest, axis=0), atol=1e-10)


def test_observables_take_couplings_for_each_chain(backend):
    theory, phi = Phi4((3, 2)), draw((3, 2))
    both = theory.observables(backend.asarray(phi), {"m2": backend.asarray([-1.0, 0.5]), "lam": 2.0})["identity"]
    for row, m2 in enumerate((-1.0, 0.5)):
        alone = theory.observables(phi[row], {"m2": m2, "lam": 2.0})["identity"]
        assert abs(backend.to_numpy(both)[row] - alone) < 1e-12


def test_means_by_quadrature_are_offered_where_they_take_no_time(monkeypatch):
    """On lattices of two sites across; of three, `quadrature.observables` has them, in many seconds."""
    summed = []
    monkeypatch.setattr(
        quadrature, "observables", lambda lattice, m2, lam: summed.append(lattice) or {"ln_Z": m2 * lam}
    )
    found = {lattice: Phi4(lattice).exact({"m2": -1.0, "lam": 2.0}) for lattice in ((1, 2), (2, 2), (2, 5), (3, 3))}
    assert summed == [(1, 2), (2, 2), (2, 5)]
    assert found[3, 3] == {"identity": 1.0, "m": 0.0} and found[2, 5] == found[3, 3] | {"ln_Z": -2.0}


def test_derived_quantities_come_from_means():
    theory = Phi4((8, 8))
    assert set(theory.summary) <= set(theory.observables(draw((8, 8)))) | set(theory.derived)
    binder = theory.derived["binder"]
    assert binder.ingredients == ("chi2", "m_4") and binder.function(64 * 0.5, 0.75) == pytest.approx(0.0)
    assert theory.derived["xi_2"].function(2.0, 1.0) == pytest.approx(0.5 / math.sin(math.pi / 8))
    assert math.isnan(theory.derived["xi_2"].function(1.0, 2.0))
    assert "xi_2" not in Phi4((1, 1)).summary


@pytest.mark.parametrize(
    "bad, error, words",
    [
        (lambda t: Phi4((4, 0)), ValueError, "extents >= 1"),
        (lambda t: Phi4((4, 4), "kappa"), ValueError, "'m2' or 'hopping'"),
        (lambda t: t.action(np.zeros((4, 5))), ValueError, r"\(\*batch, 4, 4\), got \(4, 5\)"),
        (lambda t: t.action(np.zeros((4, 4), dtype=int)), TypeError, "float64 or float32"),
        (lambda t: t.action([[0.0]]), TypeError, "got list"),
        (lambda t: t.force(np.zeros((4, 4)), {"lamb": 1.0}), ValueError, "did you mean 'lam'"),
        (lambda t: t.force(np.zeros((4, 4)), {"lam": math.nan}), ValueError, "finite number for lam"),
        (lambda t: t.force(np.zeros((4, 4)), {"lam": "1"}), TypeError, "number or a batch-shaped array for lam"),
        (lambda t: t.force(np.zeros((4, 4)), {"lam": -1.0}), ValueError, "lam >= 0"),
        (lambda t: t.force(np.zeros((4, 4)), {"lam": 0.0, "m2": -1.0}), ValueError, "m2 > 0 where lam = 0"),
        (lambda t: t.force(np.zeros((4, 4)), 3.0), TypeError, "couplings as a dict"),
        (lambda t: t.force(np.zeros((2, 4, 4)), {"lam": np.ones(3)}), ValueError, r"batch's shape \(2,\)"),
        (lambda t: check_finite(t, np.full((4, 4), math.inf)), ValueError, "16 values of 16"),
        (lambda t: Phi4((4, 4), "hopping").check({"kappa": 0.3, "lam": 0.0}), ValueError, r"1/\(2d\)"),
    ],
)
def test_what_makes_no_sense_is_refused(bad, error, words):
    with pytest.raises(error, match=words):
        bad(Phi4((4, 4)))


def test_mixed_backends_are_refused(autodiff_backend):
    with pytest.raises(MixedBackends, match="one backend wanted"):
        Phi4((4, 4)).action(np.zeros((2, 4, 4)), {"lam": autodiff_backend.asarray([1.0, 2.0])})


def test_a_theory_is_hashable_and_pickles():
    import pickle

    theory = Phi4([4, 4])
    assert hash(theory) == hash(Phi4((4, 4))) and pickle.loads(pickle.dumps(theory)) == theory
    pickle.dumps(theory.derived)
    assert isinstance(theory, Theory)
