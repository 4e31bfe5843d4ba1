"""The order in which compiled trajectories visit rows, by a walk that keeps count; extents on both sides of a tube's width."""

import numpy
import pytest

from haarflow.theories.compiled.row_order import ACROSS, order_of

LATTICES = [(4, 4), (1, 3), (3, 5, 2), (2, ACROSS, 2), (2, ACROSS + 1, 2), (3, 2 * ACROSS, 2), (2, 2 * ACROSS + 1, 2, 4), (2, 3, ACROSS + 2, 2)]  # fmt: skip


def walk(lattice):
    """Each visit: its corner, the rows with corners there, and the rows that are updated after it."""
    order, begin = order_of(lattice), 0
    for corner, end in zip(order.sweep, order.ready, strict=True):
        yield corner, {corner, *around(lattice, corner, 1)}, order.done[begin:end].tolist()
        begin = end


def around(lattice, row, step):
    """The rows one site on or back along every axis but the last."""
    shape = lattice[:-1]
    site = numpy.unravel_index(row, shape)
    for axis, extent in enumerate(shape):
        moved = [x + step * (other == axis) for other, x in enumerate(site)]
        moved[axis] %= extent
        yield int(numpy.ravel_multi_index(moved, shape))


@pytest.mark.parametrize("lattice", LATTICES)
def test_a_row_is_updated_once_and_after_all_of_its_plaquettes(lattice):
    rows, visited, updated = int(numpy.prod(lattice[:-1])), set(), []
    for corner, _, done in walk(lattice):
        visited.add(int(corner))
        assert all({row, *around(lattice, row, -1)} <= visited for row in done)
        updated += done
    assert sorted(updated) == list(range(rows)) and len(visited) == rows


@pytest.mark.parametrize("lattice", LATTICES)
def test_a_slot_belongs_to_one_row_until_that_row_is_updated(lattice):
    home, owner = order_of(lattice).home, {}
    for _, touched, done in walk(lattice):
        assert all(owner.setdefault(home[row], row) == row for row in touched)
        for row in done:
            assert owner.pop(home[row]) == row
    assert not owner
