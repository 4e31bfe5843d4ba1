"""Gamma matrices and half spinors."""

import numpy as np
import pytest

from haarflow.core.lattice import spinors
from tests.support import dirac_twins


@pytest.mark.parametrize("d", [2, 4])
def test_gamma_matrices(d):
    *found, fifth = spinors.gamma(d)
    for mu, twin in enumerate(dirac_twins.gammas(d)):
        assert np.array_equal(found[mu], twin)
        for nu in range(d):
            assert np.array_equal(found[mu] @ found[nu] + found[nu] @ found[mu], 2 * (mu == nu) * np.eye(len(fifth)))
        assert np.array_equal(fifth @ found[mu], -found[mu] @ fifth)


@pytest.mark.parametrize("d, axis", [(2, -1), (2, -2), (4, -1), (4, -3)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_half_spinors(backend, generator, d, axis, sign):
    psi = dirac_twins.spinor((3, 2 ** (d // 2), *(2, 3)[: -1 - axis]))
    x = backend.asarray(psi)
    for mu, gamma in enumerate(spinors.gamma(d)[:d]):
        wanted = psi + sign * np.moveaxis(np.tensordot(gamma, psi, axes=(1, axis)), 0, axis)
        half = spinors.project(x, mu, sign, axis)
        assert np.allclose(backend.to_numpy(spinors.rebuild(half, mu, sign, axis)), wanted, rtol=0, atol=1e-14)


def test_gamma5(backend):
    psi = dirac_twins.spinor((5, 4, 3))
    wanted = np.einsum("ij,bjx->bix", spinors.gamma(4)[4], psi)
    assert np.array_equal(backend.to_numpy(spinors.gamma5(backend.asarray(psi), axis=-2)), wanted)


def test_other_dimensions_are_refused():
    with pytest.raises(ValueError, match="gamma matrices in 2 and 4 dimensions, got d = 3"):
        spinors.gamma(3)
