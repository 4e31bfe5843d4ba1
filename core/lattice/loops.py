"""Loops of gauge links in any dimension: plaquettes, rectangles, staples, Polyakov loops, clover leaves, any path.

U_mu(x) goes from x to x + mu; links are `(*batch, d, *lattice)` for angles, `(*batch, d, N, N, *lattice)` for matrices.
A plaquette is U_mu(x) U_nu(x+mu) U_mu(x+nu)^+ U_nu(x)^+, for angles theta_mu(x) + theta_nu(x+mu) - theta_mu(x+nu) - theta_nu(x).

Every function takes the `group` whose `compose` and `inverse` multiply the links. The default `COVER` adds angles
without wrapping them (the real line covers the circle), so that one wrap, sine or cosine at the end is enough.
`group.matrix_axes` is the number of axes between mu and the lattice. Extents 1 and 2 are allowed: a loop that closes on
itself counts the links as `roll` does.
"""

from __future__ import annotations

import itertools

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Group
from haarflow.core.groups.additive import Real
from haarflow.core.lattice.geometry import shift

COVER = Real()


def planes(d: int) -> tuple[tuple[int, int], ...]:
    """Return the planes (mu, nu), mu < nu, in the order used by all functions.

    >>> planes(3)
    ((0, 1), (0, 2), (1, 2))
    """
    return tuple(itertools.combinations(range(d), 2))


def direction(links: Array, mu: int, d: int, group: Group = COVER) -> Array:
    """Return the links U_mu of one direction, `(*batch, [N, N,] *lattice)`.

    >>> import numpy as np
    >>> direction(np.zeros((5, 2, 4, 4)), mu=0, d=2).shape
    (5, 4, 4)
    """
    return links[(..., mu) + (slice(None),) * (d + group.matrix_axes)]


def plaquette(links: Array, mu: int, nu: int, d: int, group: Group = COVER) -> Array:
    """Return U_mu(x) U_nu(x+mu) U_mu(x+nu)^+ U_nu(x)^+ of one plane, `(*batch, [N, N,] *lattice)`.

    >>> import numpy as np
    >>> plaquette(np.ones((2, 4, 4)), 0, 1, d=2).sum()
    np.float64(0.0)
    """
    return group.quotient(*sides(links, mu, nu, d, group))


def sides(links: Array, mu: int, nu: int, d: int, group: Group = COVER) -> tuple[Array, Array]:
    """Return A = U_mu(x) U_nu(x+mu) and B = U_nu(x) U_mu(x+nu), `(*batch, [N, N,] *lattice)`: the plaquette is A B^+.

    >>> import numpy as np
    >>> [side.sum() for side in sides(np.ones((2, 4, 4)), 0, 1, d=2)]
    [np.float64(32.0), np.float64(32.0)]
    """
    first, second = direction(links, mu, d, group), direction(links, nu, d, group)
    return group.compose(first, shift(second, mu, d)), group.compose(second, shift(first, nu, d))


def plaquettes(links: Array, d: int, group: Group = COVER) -> Array:
    """Return the plaquettes of all planes, `(*batch, plane, [N, N,] *lattice)`, in the order of `planes(d)`.

    >>> import numpy as np
    >>> plaquettes(np.zeros((3, 4, 4, 4)), d=3).shape
    (3, 4, 4, 4)
    """
    loops = [plaquette(links, mu, nu, d, group) for mu, nu in planes(d)]
    xp, axis = array_namespace(links), -1 - d - group.matrix_axes
    return xp.stack(loops, axis=axis) if len(loops) > 1 else xp.expand_dims(loops[0], axis=axis)


def line(link: Array, mu: int, d: int, steps: int, group: Group = COVER) -> Array:
    """Return the straight line U_mu(x) U_mu(x+mu) ... of `steps` links, from the links of its direction.

    >>> import numpy as np
    >>> line(np.asarray([1.0, 2.0, 3.0]), mu=0, d=1, steps=2)
    array([3., 5., 4.])
    """
    total = link
    for step in range(1, steps):
        total = group.compose(total, shift(link, mu, d, step))
    return total


def rectangle(links: Array, mu: int, nu: int, extent: tuple[int, int], d: int, group: Group = COVER) -> Array:
    """Return the R x T Wilson loops with corner x, R links along mu and T along nu, `(*batch, [N, N,] *lattice)`.

    Raises ValueError unless both extents are at least 1.

    >>> import numpy as np
    >>> rectangle(np.zeros((2, 4, 4)), 0, 1, (1, 2), d=2).shape
    (4, 4)
    """
    r, t = extent
    if r < 1 or t < 1 or mu == nu:
        raise ValueError(f"a rectangle has extents >= 1 in two different directions, got {extent} in ({mu}, {nu})")
    first = line(direction(links, mu, d, group), mu, d, r, group)
    second = line(direction(links, nu, d, group), nu, d, t, group)
    there = group.compose(first, shift(second, mu, d, r))
    back = group.compose(second, shift(first, nu, d, t))
    return group.compose(there, group.inverse(back))


def rectangles(links: Array, extent: tuple[int, int], d: int, group: Group = COVER) -> Array:
    """Return the R x T loops of all planes in both orientations, `(*batch, plane, [N, N,] *lattice)`.

    A square counts each plane once, any other rectangle twice: first R along mu, then R along nu.

    >>> import numpy as np
    >>> rectangles(np.zeros((2, 4, 4)), (1, 2), d=2).shape
    (2, 4, 4)
    """
    turned = () if extent[0] == extent[1] else (extent[::-1],)
    loops = [rectangle(links, mu, nu, shape, d, group) for shape in (extent, *turned) for mu, nu in planes(d)]
    return array_namespace(links).stack(loops, axis=-1 - d - group.matrix_axes)


def polyakov(links: Array, mu: int, lattice: tuple[int, ...], group: Group = COVER) -> Array:
    """Return the loops that wind around axis `mu`, `(*batch, [N, N,] *lattice)`, one starting at each site x.

    >>> import numpy as np
    >>> polyakov(np.ones((2, 3, 4)), mu=0, lattice=(3, 4))[0, 0]
    np.float64(3.0)
    """
    d = len(lattice)
    return line(direction(links, mu, d, group), mu, d, lattice[mu], group)


def staples(links: Array, mu: int, d: int, group: Group = COVER) -> Array:
    """Return the 2 (d-1) staples V of the links along mu, `(*batch, 2(d-1), [N, N,] *lattice)`.

    U_mu(x) V is a plaquette that contains the link: for each nu first the one ahead,
    V = U_nu(x+mu) U_mu(x+nu)^+ U_nu(x)^+, then the one behind, V = U_nu(x+mu-nu)^+ U_mu(x-nu)^+ U_nu(x-nu).

    >>> import numpy as np
    >>> staples(np.zeros((3, 4, 4, 4)), mu=1, d=3).shape
    (4, 4, 4, 4)
    """
    link, both = direction(links, mu, d, group), []
    for nu in range(d):
        if nu == mu:
            continue
        side = direction(links, nu, d, group)
        far = shift(side, mu, d)
        ahead = group.compose(far, group.inverse(group.compose(side, shift(link, nu, d))))
        behind = group.compose(group.inverse(group.compose(link, far)), side)
        both += [ahead, shift(behind, nu, d, -1)]
    return array_namespace(links).stack(both, axis=-1 - d - group.matrix_axes)


def path(links: Array, steps: tuple[int, ...], d: int, group: Group = COVER) -> Array:
    """Return the product of links along a path from each site x, `(*batch, [N, N,] *lattice)`.

    `steps` are signed directions starting at one: 1 goes along axis 0 (time), -2 backwards along axis 1, and so on, so that (1, 2, -1, -2) is the plaquette of the plane (0, 1). Raises ValueError for no steps, 0 and directions
    beyond d.

    >>> import numpy as np
    >>> path(np.asarray([[1.0, 2.0, 3.0]]), (1, 1), d=1), path(np.asarray([[1.0, 2.0, 3.0]]), (-1,), d=1)
    (array([3., 5., 4.]), array([-3., -1., -2.]))
    """
    if not steps or any(int(step) != step or not 1 <= abs(step) <= d for step in steps):
        raise ValueError(f"a path has steps +-1 ... +-{d}, signed directions starting at one, got {steps!r}")
    # from the end backwards: the product from x is U_mu(x) times the product from x + mu
    total = None
    for step in reversed(steps):
        mu, link = abs(step) - 1, direction(links, abs(step) - 1, d, group)
        if step > 0:
            total = link if total is None else group.compose(link, shift(total, mu, d))
        else:
            back = group.inverse(link)
            total = shift(back if total is None else group.compose(back, total), mu, d, -1)
    return total


def clover(
    links: Array, mu: int, nu: int, d: int, group: Group = COVER, size: int = 1
) -> tuple[Array, Array, Array, Array]:
    """Return the four squares of the plane (mu, nu) that start and end at x, all oriented from mu to nu.

    Their sides have `size` links; 1 makes them plaquettes.

    The leaves lie in the quadrants (+mu, +nu), (+nu, -mu), (-mu, -nu), (-nu, +mu), each `(*batch, [N, N,] *lattice)`.

    >>> import numpy as np
    >>> [leaf.shape for leaf in clover(np.zeros((2, 4, 4)), 0, 1, d=2)]
    [(4, 4), (4, 4), (4, 4), (4, 4)]
    """
    first, second = (line(direction(links, axis, d, group), axis, d, size, group) for axis in (mu, nu))
    far, high = shift(second, mu, d, size), shift(first, nu, d, size)
    there, back = group.compose(first, far), group.inverse(group.compose(second, high))
    # one square, cut open at each of its four corners
    leaves = (
        group.compose(there, back),
        group.compose(group.compose(far, back), first),
        group.compose(back, there),
        group.compose(group.compose(group.inverse(second), there), group.inverse(high)),
    )
    around = shift(leaves[2], mu, d, -size)
    return leaves[0], shift(leaves[1], mu, d, -size), shift(around, nu, d, -size), shift(leaves[3], nu, d, -size)


def gauge_transform(links: Array, sites: Array, d: int, group: Group = COVER) -> Array:
    """Return W(x) U_mu(x) W(x+mu)^+ for group elements W `(*batch, [N, N,] *lattice)` on the sites.

    >>> import numpy as np
    >>> gauge_transform(np.zeros((1, 3)), np.asarray([1.0, 3.0, 2.0]), d=1)
    array([[-2.,  1.,  1.]])
    """
    turned = [
        group.compose(group.compose(sites, direction(links, mu, d, group)), group.inverse(shift(sites, mu, d)))
        for mu in range(d)
    ]
    return array_namespace(links).stack(turned, axis=-1 - d - group.matrix_axes)
