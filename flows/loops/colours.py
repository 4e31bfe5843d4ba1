"""Masks for flows along loops: links of one direction that share no image of a product, found by search.

The links of a mask are a coset of a sublattice, the kernel of x -> (a.x mod p, b.x mod q), q a divisor of p, such that none of
the displacements in conflict lies in it. Both are functions on the torus if a_k L_k = 0 mod p and b_k L_k = 0 mod q. The
sublattice of least index p q is taken: as many links as possible at once. If there is none, masks of one link each serve.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy

from haarflow.flows.loops.algebra import Site

PAIRS = 10**7  # of a and b, above which pairs are not tried


def colours(lattice: tuple[int, ...], conflicts: Iterable[Site]) -> numpy.ndarray:
    """Return the mask to which each site's link belongs, `lattice`; all masks are of equal size.

    >>> colours((4, 4), [(0, 1), (0, 3)])[0].tolist()
    [0, 1, 0, 1]
    """
    apart = numpy.asarray(sorted(conflicts), dtype="int64").reshape(-1, len(lattice))
    volume = math.prod(lattice)
    for index in (n for n in range(1, volume + 1) if volume % n == 0):
        for p, q in _factors(index):
            found = _kernel(lattice, apart, p, q)
            if found is not None:
                return found
    return numpy.arange(volume).reshape(lattice)


def _factors(index: int) -> Iterator[tuple[int, int]]:
    """(p, q) with p q = index and q a divisor of p."""
    yield from ((index // q, q) for q in range(1, math.isqrt(index) + 1) if index % q == 0 and index // q % q == 0)


def _kernel(lattice: tuple[int, ...], apart: numpy.ndarray, p: int, q: int) -> numpy.ndarray | None:
    """The cosets of the first sublattice of index p q that holds no displacement in conflict."""
    (a, zero_a), (b, zero_b) = (_homomorphisms(lattice, apart, n) for n in (p, q))
    if len(a) * len(b) > PAIRS:
        return None
    sites = numpy.indices(lattice).reshape(len(lattice), -1)
    for k, l in numpy.argwhere(zero_a.astype("float32") @ zero_b.T.astype("float32") == 0):
        cosets = (a[k] @ sites % p) * q + b[l] @ sites % q
        if len(numpy.unique(cosets)) == p * q:
            return numpy.asarray(cosets.reshape(lattice))
    return None


def _homomorphisms(lattice: tuple[int, ...], apart: numpy.ndarray, p: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """All a with a_k L_k = 0 mod p, and which displacements have a.x = 0 mod p."""
    each = [range(0, p, p // math.gcd(p, extent)) for extent in lattice]
    a = numpy.asarray(list(itertools.product(*each)), dtype="int64")
    return a, a @ apart.T % p == 0
