"""The compiled surroundings of links against array code: groups, lattices, orders, batches, precisions and backends."""

import numpy as np
import pytest

from haarflow import backends
from haarflow.backends.compiled import vector
from haarflow.core import random
from haarflow.core.groups.sun import SU
from haarflow.flows.links import layout
from haarflow.flows.loops import algebra, link_kernel, link_potential, masked

pytestmark = pytest.mark.skipif(not vector.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

# N, dimension, order, lattice, batch: links passed once, twice and (order 3, or an extent of 2) more often
CASES = [
    (3, 4, 2, (4, 4, 4, 4), 1),
    (2, 2, 3, (4, 4), 5),
    (3, 2, 2, (3, 5), 4),
    (2, 2, 2, (2, 2), 3),
]
TOLERANCE = {"complex128": 3e-15, "complex64": 2e-6}


def given(n, d, order, lattice, batch, dtype="complex128", each=True):
    """The first mask, links as rows, and coefficients for each configuration, or the same for all."""
    products = algebra.tower(n, d, order)
    part = masked.masks(products, lattice)[0]
    links = SU(n, d).haar(random.key(1, backends.get("numpy")), (batch, d, n, n, *lattice))
    numbers = np.random.default_rng(2).normal(size=(len(products), batch if each else 1))
    return (
        part,
        layout.rows(links, d).astype(dtype),
        numbers.astype("float64" if dtype == "complex128" else "float32"),
    )


def leaves(around):
    """All arrays of surroundings; None stays None."""
    return [around.single, around.pieces, *around.fixed, *(part for row in around.weights for part in row)]


def agree(found, wanted, tolerance):
    for x, y in zip(leaves(found), leaves(wanted), strict=True):
        assert (x is None) == (y is None)
        if y is not None:
            assert tuple(x.shape) == y.shape
            assert np.allclose(np.asarray(x), y, rtol=0, atol=tolerance * np.abs(y).max(initial=1.0))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_kernel_is_the_array_code(case, dtype):
    for each in (True, False):
        part, rows, numbers = given(*case, dtype, each)
        made = link_kernel.program(part.plan, case[0])
        found = link_kernel.surroundings(made, part.plan, rows, part.reads[-1], numbers)
        wanted = link_potential.surroundings(part.plan, link_kernel.gathered(rows, part.reads[-1]), numbers)
        agree(found, wanted, TOLERANCE[dtype])


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_on_other_backends_with_the_derivatives_of_array_code(name):
    """The sum of all squares and its derivative by the coefficients, from the kernel and from array code: plaquettes that pass
    each link twice."""
    part, rows, numbers = given(2, 2, 1, (4, 1), 3)
    backend = backends.get(name)
    rows, reads, numbers = (backend.asarray(x) for x in (rows, part.reads[0], numbers))

    def size(numbers, made):
        around = link_kernel.surroundings(made, part.plan, rows, reads, numbers)
        return sum((abs(x) ** 2).sum() for x in leaves(around) if x is not None)

    found, wanted = (
        backend.jit(backend.value_and_grad(lambda c, made=made: size(c, made)))(numbers)
        for made in (link_kernel.program(part.plan, 2), None)
    )
    for x, y in zip(found, wanted, strict=True):
        assert np.allclose(backend.to_numpy(x), backend.to_numpy(y), rtol=1e-13)


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_under_vmap_each_member_has_its_own_links(name):
    part, rows, numbers = given(2, 2, 1, (4, 1), 4)
    backend = backends.get(name)
    made, reads = link_kernel.program(part.plan, 2), backend.asarray(part.reads[0])

    def form(rows, numbers):
        return link_kernel.surroundings(made, part.plan, rows, reads, numbers).fixed[1]

    parts = [x.reshape(*x.shape[:-1], 2, 2).transpose(x.ndim - 1, *range(x.ndim - 1), x.ndim) for x in (rows, numbers)]
    found = backend.to_numpy(backend.jit(backend.vmap(form))(*map(backend.asarray, parts)))
    wanted = [backend.to_numpy(form(*(backend.asarray(x[one].copy()) for x in parts))) for one in (0, 1)]
    assert np.allclose(found, wanted, rtol=1e-13)


def test_without_a_compiler_or_for_large_groups_there_is_no_program(monkeypatch):
    part, *_ = given(2, 2, 1, (4, 4), 1)
    assert link_kernel.program(part.plan, link_kernel.LARGEST + 1) is None
    monkeypatch.setattr(vector, "is_present", lambda: False)
    assert link_kernel.program(part.plan, 2) is None


def test_an_empty_batch_has_empty_surroundings():
    part, rows, numbers = given(2, 2, 2, (4, 4), 2, each=False)
    made = link_kernel.program(part.plan, 2)
    around = link_kernel.surroundings(made, part.plan, rows[..., :0], part.reads[0], numbers)
    assert around.single.shape == (2, 2, part.reads.shape[2], 0)
