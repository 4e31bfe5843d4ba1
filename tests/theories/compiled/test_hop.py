"""The compiled hop against the array code: all groups, lattices, precisions and engines, whole and on one parity."""

import dataclasses

import numpy as np
import pytest

from haarflow.backends.compiled import vector
from haarflow.core.acceleration import accelerated
from haarflow.theories.compiled import hop_kernel
from haarflow.theories.fermions.hopping import Sites
from haarflow.theories.fermions.wilson import Wilson
from tests.support import dirac_twins

pytestmark = pytest.mark.skipif(not vector.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

OPERATORS = [
    Wilson((4, 6)),
    Wilson((3, 5)),
    Wilson((2, 8), n=2, antiperiodic=False),
    Wilson((2, 4), n=3),
    Wilson((2, 1, 2, 4), n=2),
    Wilson((4, 4, 2, 8), n=3),
]
TOLERANCE = {"complex128": 1e-14, "complex64": 6e-6}


def given(operator, dtype="complex128", batch=(2,)):
    """A gauge field, spinors and kappa for each row."""
    real = "float64" if dtype == "complex128" else "float32"
    field = dirac_twins.gauge_field(operator, batch=batch)
    kappa = np.linspace(0.1, 0.2, int(np.prod(batch))).reshape(batch)
    return (
        field.astype(real if operator.n == 1 else dtype),
        dirac_twins.spinor((*batch, *operator.spinor_shape)).astype(dtype),
        kappa.astype(real),
    )


def products(operator, field, psi, kappa):
    """Every product that a kernel takes part in."""
    links = operator.prepare(field)
    found = {"hop": operator.hop(links, psi), "D": operator.apply(links, kappa, psi)}
    found["D+"] = operator.adjoint(links, 0.2, psi)
    if all(extent % 2 == 0 for extent in operator.lattice):
        form = operator.even_odd
        halves, (even, odd) = form.prepare(field), form.split(psi)
        found |= {"eo": form.hop_eo(halves, odd), "oe": form.hop_oe(halves, even)}
        found |= {"schur": form.schur(halves, kappa, odd), "schur+": form.schur_adjoint(halves, 0.2, even)}
    return found


def agree(found, expected, backend, tolerance):
    for name, value in found.items():
        wanted = np.asarray(expected[name])
        assert np.allclose(backend.to_numpy(value), wanted, rtol=0, atol=tolerance * np.abs(wanted).max()), name


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: f"{operator.lattice}-{operator.n}")
def test_the_kernel_agrees_with_array_code(operator, dtype, host):
    arrays, fast = given(operator, dtype), accelerated(operator)
    assert not np.iscomplexobj(fast.prepare(arrays[0]))
    agree(products(fast, *arrays), products(operator, *arrays), host, TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_kernel_serves_other_engines(autodiff_backend, dtype):
    """In a JAX program it is called on XLA's buffers; the work must be large enough for such a call."""
    backend, operator = autodiff_backend, OPERATORS[-1]
    arrays = given(operator, dtype)
    mine = [backend.asarray(x, dtype=str(x.dtype)) for x in arrays]
    fast = accelerated(operator)
    found = backend.jit(lambda *x: (fast.prepare(x[0]), products(fast, *x)))(*mine)
    assert not np.iscomplexobj(backend.to_numpy(found[0]))
    agree(found[1], products(operator, *arrays), backend, TOLERANCE[dtype])


def test_derivatives_are_those_of_array_code(autodiff_backend):
    backend, operator = autodiff_backend, OPERATORS[-1]
    field, psi, _ = (backend.asarray(x) for x in given(operator, batch=()))

    def value(operator, psi):
        return backend.xp.sum(backend.xp.abs(operator.apply(operator.prepare(field), 0.2, psi)) ** 2)

    fast, plain = (
        backend.jit(backend.value_and_grad(lambda psi, one=one: value(one, psi)))(psi)
        for one in (accelerated(operator), operator)
    )
    for x, y in zip(fast, plain, strict=True):
        assert np.allclose(backend.to_numpy(x), backend.to_numpy(y), rtol=1e-12, atol=1e-11)


def test_vmap_adds_an_axis_in_front(autodiff_backend):
    backend, operator = autodiff_backend, OPERATORS[-1]
    field, psi, _ = given(operator, batch=(2,))
    fast = accelerated(operator)
    one = lambda field, psi: fast.hop(fast.prepare(field), psi)  # noqa: E731
    found = backend.to_numpy(backend.vmap(one)(backend.asarray(field), backend.asarray(psi)))
    assert np.allclose(found, operator.hop(operator.prepare(field), psi), rtol=0, atol=1e-13)


def test_batches_broadcast(host):
    operator = OPERATORS[3]
    fast = accelerated(operator)
    field, psi, kappa = given(operator, batch=(3,))
    for one, many in ((field[0], psi), (field, psi[0]), (field[:, None], psi[None])):
        expected = operator.hop(operator.prepare(one), many)
        assert np.allclose(fast.hop(fast.prepare(one), many), expected, rtol=0, atol=1e-14)
    expected = operator.apply(operator.prepare(field), kappa[:, None], psi[None])
    assert np.allclose(fast.apply(fast.prepare(field), kappa, psi), operator.apply(operator.prepare(field), kappa, psi))
    assert expected.shape == (3, 3, *operator.spinor_shape)


def test_precisions_that_differ_are_left_to_array_code():
    operator = OPERATORS[3]
    fast, (field, psi, _) = accelerated(operator), given(operator)
    found = fast.hop(fast.prepare(field), psi.astype("complex64"))
    assert found.dtype == np.complex128
    assert np.allclose(found, operator.hop(operator.prepare(field), psi.astype("complex64")), rtol=0, atol=1e-13)


def test_real_spinors_are_left_to_array_code():
    operator = OPERATORS[0]
    fast, field = accelerated(operator), given(operator)[0]
    psi = np.random.default_rng(1).normal(size=(2, *operator.spinor_shape))
    expected = operator.hop(operator.prepare(field), psi)
    assert np.allclose(fast.hop(fast.prepare(field), psi), expected, rtol=0, atol=1e-14)


def test_other_groups_have_no_kernel():
    assert accelerated(Wilson((4, 4), n=4)) == Wilson((4, 4), n=4)
    assert accelerated(Wilson((4, 4))) != Wilson((4, 4))
    plain, fast = Wilson((4, 4)), accelerated(Wilson((4, 4)))
    assert dataclasses.replace(fast, hopping=plain.hopping, elimination=plain.elimination) == plain


@pytest.mark.parametrize("parity", [None, 0, 1])
def test_addresses_of_neighbours(parity):
    """Every address is that of the neighbour in a buffer that holds the numbers of the sites."""
    sites = Sites((4, 2, 2, 6), parity=parity)
    table, (rows, extent) = sites.table, hop_kernel.row_shape(sites)
    numbers, line = hop_kernel.numbers_of(sites), extent * hop_kernel.numbers_of(sites)
    found = hop_kernel.places(sites, 1)
    for row in range(rows):
        for k in range(2 * sites.d):
            for site in range(extent):
                if k % sites.d == sites.d - 1:
                    there = row * extent + (found[row, k] - rows * line - 1 + site) % extent
                else:
                    assert found[row, k] % line == 0
                    there = found[row, k] // line * extent + site
                assert there == table[k, row * extent + site], (row, k, site, numbers)
