"""Zolotarev's approximation: known cases, alternation, and a root of a matrix by shifted solves."""

import numpy
import pytest

from haarflow.core.solvers.lanczos import spectrum_ends
from haarflow.core.solvers.multishift import multishift
from haarflow.core.solvers.rational import zolotarev


def test_one_pole_is_the_best_of_its_kind():
    """By search: no scale, zero and pole do better than 1e-6 relative."""
    found, x = zolotarev(1, 0.2), numpy.geomspace(0.2, 1.0, 2001)
    errors = [
        numpy.abs(found.scale * s * (x + found.zeros[0] * z) / (x + found.poles[0] * p) * numpy.sqrt(x) - 1.0).max()
        for s in (0.999, 1.0, 1.001)
        for z in (0.99, 1.0, 1.01)
        for p in (0.99, 1.0, 1.01)
    ]
    assert min(errors) == pytest.approx(found.error, rel=1e-6)


@pytest.mark.parametrize(("n", "lowest"), [(1, 0.5), (4, 1e-2), (8, 1e-4), (12, 1e-6)])
def test_the_error_alternates(n, lowest):
    """2 n + 2 extrema of equal size and alternating sign: by Chebyshev's theorem nothing is better."""
    found, x = zolotarev(n, lowest), numpy.geomspace(lowest, 1.0, 20001)
    error = numpy.asarray([found(float(one)) for one in x]) * numpy.sqrt(x) - 1.0
    extrema = [0, *(numpy.flatnonzero(numpy.diff(numpy.sign(numpy.diff(error)))) + 1), len(x) - 1]
    assert len(extrema) == 2 * n + 2
    numpy.testing.assert_allclose(numpy.abs(error[extrema]), found.error, rtol=1e-3)
    assert (numpy.diff(numpy.sign(error[extrema])) != 0).all()


def test_an_interval_scales():
    unit, scaled = zolotarev(5, 0.01), zolotarev(5, 0.04, 4.0)
    assert scaled.error == pytest.approx(unit.error, rel=1e-12)
    assert scaled(0.8) == pytest.approx(unit(0.2) / 2.0, rel=1e-12) and scaled.interval == (0.04, 4.0)


def test_an_inverse_root_by_shifted_solves(backend, generator):
    """A^-1/2 b within the bound, on the interval that Lanczos has found."""
    z = generator.standard_normal((20, 20))
    a = z @ z.T / 20 + 0.1 * numpy.eye(20)
    ours, b = backend.asarray(a), backend.asarray(numpy.ones(20))
    ends = backend.jit(lambda a, b: spectrum_ends(lambda x: a @ x, b, 40))(ours, b)
    lowest, highest = float(ends.lowest), float(ends.highest)
    r = zolotarev(10, 0.99 * lowest, 1.01 * highest)
    assert r.holds(lowest, highest) and not r.holds(0.9 * lowest, highest)
    x = backend.to_numpy(backend.jit(lambda a, b: multishift(lambda x: a @ x, b, r.poles, 1e-12).x)(ours, b))
    root = r.scale * (1.0 + sum(residue * part for residue, part in zip(r.residues, x, strict=True)))
    values, vectors = numpy.linalg.eigh(a)
    exact = vectors @ (vectors.T @ numpy.ones(20) / numpy.sqrt(values))
    assert numpy.linalg.norm(root - exact) <= 1.1 * r.error * numpy.linalg.norm(exact) + 1e-10


@pytest.mark.parametrize("arguments", [(0, 0.1), (3, 0.0), (3, 1.0), (3, 2.0, 1.0), (3, 0.1, float("inf"))])
def test_wrong_intervals_are_refused(arguments):
    with pytest.raises(ValueError, match="n >= 1 poles on 0 < lowest < highest"):
        zolotarev(*arguments)


def test_lanczos_refuses_no_step(host):
    with pytest.raises(ValueError, match="at least one step"):
        spectrum_ends(lambda x: x, numpy.ones(3), 0)
