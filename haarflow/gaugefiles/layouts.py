"""Conversion to and from other codes' layouts of links in memory, named by their axes, such as "mu,t,z,y,x,a,b".

The layout here is "mu,a,b,t,x,y,z" with directions t, x, y, z. A name lists mu, the matrix axes a and b and the lattice axes
once each; lattices of fewer dimensions omit y or z. Most codes order the directions x, y, z, t.
"""

from __future__ import annotations

from array_api_compat import array_namespace

from haarflow.backends.types import Array

SITES = ("t", "x", "y", "z")


def to_layout(links: Array, layout: str, directions: str = "xyzt") -> Array:
    """Return links `(*batch, mu, N, N, *lattice)` in another layout, batch axes first, on any backend.

    `layout`: its axes, such as "mu,t,z,y,x,a,b". `directions`: the directions of its mu = 0, 1, ... Raises ValueError for a
    layout that is not an order of these axes.

    >>> import numpy
    >>> to_layout(numpy.zeros((4, 3, 3, 8, 4, 5, 6)), "mu,t,z,y,x,a,b").shape
    (4, 8, 6, 5, 4, 3, 3)
    """
    theirs, ours, batch = _orders(links, layout)
    order = [batch + ours.index(axis) for axis in theirs]
    turned = _directions(links, batch, [_sites(ours).index(word) for word in _checked(directions, ours)])
    return array_namespace(links).permute_dims(turned, (*range(batch), *order))


def from_layout(links: Array, layout: str, directions: str = "xyzt") -> Array:
    """Return links in another layout as `(*batch, mu, N, N, *lattice)`: the inverse of `to_layout`.

    >>> import numpy
    >>> from_layout(numpy.zeros((8, 6, 5, 4, 4, 3, 3)), "t,z,y,x,mu,a,b").shape
    (4, 3, 3, 8, 4, 5, 6)
    """
    theirs, ours, batch = _orders(links, layout)
    order = [batch + theirs.index(axis) for axis in ours]
    turned = array_namespace(links).permute_dims(links, (*range(batch), *order))
    return _directions(turned, batch, [_checked(directions, ours).index(word) for word in _sites(ours)])


def _axes(layout: str) -> list[str]:
    found = [word.strip() for word in layout.strip("[] ").split(",")]
    sites = [word for word in found if word in SITES]
    if sorted(found) != sorted(["mu", "a", "b", *sites]) or set(sites) != set(SITES[: len(sites)]) or len(sites) < 2:
        raise ValueError(
            f"a layout is an order of mu, a, b and the lattice axes t, x, y, z, such as mu,t,z,y,x,a,b; got {layout!r}"
        )
    return found


def _ours(layout: str) -> list[str]:
    return ["mu", "a", "b", *sorted(word for word in _axes(layout) if word in SITES)]


def _sites(axes: list[str]) -> list[str]:
    return [word for word in axes if word in SITES]


def _checked(directions: str, axes: list[str]) -> list[str]:
    """The directions of a layout as a list, without those that a smaller lattice does not have."""
    found = [word for word in directions if word in axes]
    if sorted(directions) != sorted(set(directions)) or sorted(found) != _sites(axes):
        raise ValueError(f"directions are an order of {''.join(_sites(axes))}, got {directions!r}")
    return found


def _orders(links: Array, layout: str) -> tuple[list[str], list[str], int]:
    """The axes of a layout, those of this library, and the number of batch axes before them."""
    theirs, ours = _axes(layout), _ours(layout)
    if links.ndim < len(ours):
        raise ValueError(f"the layout {layout!r} has {len(theirs)} axes, the array has {links.ndim}")
    return theirs, ours, links.ndim - len(ours)


def _directions(links: Array, batch: int, order: list[int]) -> Array:
    """The links with their directions (axis `batch`) in another order."""
    if order == sorted(order):
        return links
    lead = (slice(None),) * batch
    xp = array_namespace(links)
    return xp.stack([links[(*lead, mu, ...)] for mu in order], axis=batch)
