"""Masks: strided access against slices, frozen loops against moved links, refusals."""

import itertools

import numpy
import pytest

from haarflow.core.lattice import loops
from haarflow.flows import masks
from haarflow.flows.masks import LinkMask

STRIPES = LinkMask("stripes", 0, 1, 4, 1)
CELLS = LinkMask("cells", 1, 0, (2, 4), (1, 2))


@pytest.mark.parametrize("mask", [STRIPES, CELLS])
def test_active_sites_are_a_strided_slice_and_spread_undoes_it(backend, mask):
    x = numpy.arange(2 * 8 * 8, dtype=float).reshape(2, 8, 8)
    step, place = masks.periods(mask, 2), masks.offsets(mask, 2)
    strided = x[:, place[0] :: step[0], place[1] :: step[1]]
    found = masks.active_sites(backend.asarray(x), mask, 2)
    assert numpy.array_equal(backend.to_numpy(found), strided)
    expected = numpy.zeros_like(x)
    expected[:, place[0] :: step[0], place[1] :: step[1]] = strided
    assert numpy.array_equal(backend.to_numpy(masks.spread(found, step, place)), expected)


@pytest.mark.parametrize("place", [(0, 0), (-1, 5), (3, -7), (9, 2)])
def test_extract_takes_any_displacement(place):
    x = numpy.arange(64.0).reshape(8, 8)
    rolled = numpy.roll(x, (-place[0], -place[1]), axis=(0, 1))
    assert numpy.array_equal(masks.extract(x, (2, 4), place), rolled[::2, ::4])
    assert numpy.array_equal(masks.extract(x, (1, 4), place), rolled[:, ::4])


def test_move_links_touches_the_active_links_alone(backend):
    links = numpy.random.default_rng(1).uniform(-3, 3, (2, 2, 8, 8))
    change = numpy.ones((2, 4, 2))  # one active link in each cell of 4 x 2 sites
    moved = backend.to_numpy(masks.move_links(backend.asarray(links), backend.asarray(change[:, :2, :]), CELLS_42, 2))
    expected = links.copy()
    expected[:, 1, 2::4, 1::4] += 1.0
    assert numpy.allclose(moved, expected, atol=1e-15)


CELLS_42 = LinkMask("cells", 1, 0, (4, 4), (1, 2))


@pytest.mark.parametrize(
    ("mask", "d"),
    [(STRIPES, 2), (CELLS, 2), (LinkMask("stripes", 2, 0, 2, 1), 3), (LinkMask("cells", 0, 2, (2, 2), (0, 1)), 3)],
)
def test_frozen_means_that_moving_active_links_leaves_the_loop(mask, d):
    lattice, rng = (8, 8) if d == 2 else (4, 4, 4), numpy.random.default_rng(3)
    links = rng.uniform(-3, 3, (d, *lattice))
    step, place = masks.periods(mask, d), masks.offsets(mask, d)
    coarse = tuple(extent // p for extent, p in zip(lattice, step, strict=True))
    moved = masks.move_links(links, rng.uniform(0.5, 1.0, coarse), mask, d)
    for plane, shape in itertools.product(loops.planes(d), [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)]):
        before, after = (loops.rectangle(x, *plane, shape, d) for x in (links, moved))
        for corner in itertools.product(*[range(p) for p in step]):
            at = tuple(o + c for o, c in zip(place, corner, strict=True))
            same = numpy.allclose(masks.extract(before, step, at), masks.extract(after, step, at), atol=1e-12)
            assert same is not masks.contains_active((plane, shape, corner), mask, d)


def test_frozen_loops_of_the_published_mask_are_two_stripes_of_four():
    found = masks.frozen_loops(("stripes", 0, 1, 4, 0), 2, [(1, 1)])
    assert [loop[2] for loop in found] == [(0, 1), (0, 2)]


def test_frozen_loops_include_the_rectangle_around_the_active_link():
    found = masks.frozen_loops(("stripes", 0, 1, 4, 0), 2, [(1, 2)])
    assert ((0, 1), (1, 2), (0, -1)) in found


@pytest.mark.parametrize(
    ("mask", "word"),
    [
        (("rows", 0, 1, 4, 0), "kind"),
        (("stripes", 0, 1, 4), "kind"),
        (("stripes", 0, 0, 4, 0), "different axes"),
        (("stripes", 0, 2, 4, 0), "different axes"),
        (("stripes", 0, 1, (2, 4), 0), "one integer"),
        (("cells", 0, 1, 4, 0), "two integers"),
        (("stripes", 0, 1, 1, 0), "period >= 2"),
    ],
)
def test_a_mask_that_makes_no_sense_is_refused(mask, word):
    with pytest.raises(ValueError, match=word):
        masks.check_mask(mask, 2)


def test_extents_that_the_period_does_not_divide_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"period 4 along axis 1.*extent 6"):
        masks.check_extents(STRIPES, (8, 6))
