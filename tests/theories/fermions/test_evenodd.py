"""The even-odd form against the full operator."""

import numpy as np
import pytest

from haarflow.core.laws.law import at_once
from haarflow.theories.fermions.evenodd import EvenOdd
from haarflow.theories.fermions.wilson import Wilson
from tests.support import dirac_twins

FORMS = {"U1_2d": Wilson((4, 6)).even_odd, "SU3_4d": Wilson((2, 2, 2, 4), n=3).even_odd}


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def solved(form, field, odd):
    """Dhat and Dhat^+ on odd sites, and what D makes of (kappa H_eo psi_o, psi_o)."""
    links, kappa = form.prepare(field), 0.17
    whole = form.merge(kappa * form.hop_eo(links, odd), odd)
    applied = form.split(form.operator.apply(form.operator.prepare(field), kappa, whole))
    return form.schur(links, kappa, odd), form.schur_adjoint(links, kappa, odd), *applied


def test_schur_form_is_the_odd_part_of_the_operator(backend, form):
    """D (kappa H_eo psi, psi) = (0, Dhat psi), and <x, Dhat psi> = <Dhat^+ x, psi>."""
    field, odd = dirac_twins.gauge_field(form.operator, batch=(2,)), dirac_twins.spinor((2, *form.packed_shape))
    found = at_once(lambda *x: solved(form, *x), backend.asarray(field), backend.asarray(odd))
    schur, adjoint, even_part, odd_part = map(backend.to_numpy, found)
    assert np.allclose(even_part, 0, atol=1e-13) and np.allclose(odd_part, schur, rtol=0, atol=1e-13)
    assert np.abs(schur - odd).max() > 0.1
    assert np.vdot(odd[::-1], schur[::-1]) == pytest.approx(np.vdot(adjoint, odd))


def test_split_and_merge(backend, form):
    psi = backend.asarray(dirac_twins.spinor((2, *form.operator.spinor_shape)))
    even, odd = form.split(psi)
    assert even.shape == odd.shape == (2, *form.packed_shape)
    assert np.array_equal(backend.to_numpy(form.merge(even, odd)), backend.to_numpy(psi))


def test_determinants_agree(form):
    field = dirac_twins.gauge_field(form.operator)
    links, size = form.prepare(field), int(np.prod(form.packed_shape))
    units = np.eye(size, dtype=complex).reshape(size, *form.packed_shape)
    half = form.schur(type(links)(*(part[None] for part in links)), 0.2, units).reshape(size, size)
    whole = form.operator.matrix(form.operator.prepare(field), 0.2)
    assert np.allclose(np.linalg.slogdet(half), np.linalg.slogdet(whole), rtol=0, atol=1e-10)


def test_odd_extents_are_refused():
    with pytest.raises(ValueError, match=r"lattices with even extents, got \(4, 3\)"):
        EvenOdd(Wilson((4, 3)))
