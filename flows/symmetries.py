"""The symmetries that flows and priors declare, how they combine, and what they do to a field.

A flow f declares `symmetries`, words of SYMMETRIES for which

    f(g x) = g f(x),   log_det(g x) = log_det(x),

`periods`, the steps along each axis by which translations do so (1 where it says nothing), and `displacement`, by how
many sites the field ends up further along each axis: then the law holds for f with that displacement undone. What it
does not declare it need not have. A prior declares those of its density.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy

from haarflow.backends.types import Array
from haarflow.core import loops, symmetries
from haarflow.core.lattice import shift
from haarflow.core.law import host_field
from haarflow.core.matrix_fields import element_shape
from haarflow.core.symmetries import SYMMETRIES
from haarflow.flows.frames import link_group, matrix_valued
from haarflow.flows.traits import traits

Lattice = tuple[int, ...]
POINT_GROUP = ("reflection", "hypercubic")
# What has a meaning: real fields have no gauge transformation, links no sign.
OF_SITES = ("translation", "reflection", "hypercubic", "Z2")
OF_SITES_OF_A_GROUP = (*OF_SITES, "charge_conjugation")
OF_LINKS = ("translation", "reflection", "hypercubic", "gauge", "charge_conjugation")


class Image(NamedTuple):
    """One symmetry transformation: its name, and the function of host fields `(*batch, *field_shape)`."""

    name: str
    transform: Callable[[Array], Array]


def declared(obj: Any) -> tuple[str, ...]:
    """Return the symmetries an object declares, none where it says nothing. Raises ValueError for an unknown word.

    >>> from haarflow.flows.tails import QuarticTail
    >>> declared(QuarticTail(2))
    ('translation', 'reflection', 'hypercubic', 'Z2')
    """
    words = tuple(traits(obj).symmetries)
    for word in words:
        if word not in SYMMETRIES:
            raise ValueError(f"a symmetry is one of {', '.join(SYMMETRIES)}, got {word!r}")
    return words


def periods(flow: Any, d: int) -> tuple[int, ...]:
    """Return the steps along each axis under which a flow with translations commutes: 1 where it says nothing."""
    return tuple(traits(flow).periods) or (1,) * d


def displacement(flow: Any) -> tuple[int, ...]:
    """Return by how many sites a flow moves the field as a whole; () is not at all."""
    return tuple(traits(flow).displacement)


def common(parts: Iterable[Any]) -> tuple[str, ...]:
    """Return the words that all parts declare, without the point group where one of them moves the field.

    A reflection about a site is one about another site for what follows a displacement.
    """
    parts = tuple(parts)
    moved = any(any(displacement(part)) for part in parts)
    shared = [word for word in SYMMETRIES if all(word in declared(part) for part in parts)]
    return tuple(word for word in shared if not (moved and word in POINT_GROUP))


def common_periods(parts: Iterable[Any]) -> tuple[int, ...]:
    """Return the least common multiples of the periods along each axis; () where no part has one.

    >>> from haarflow.flows.flow import Translate
    >>> common_periods([Translate((1, 1))])
    (1, 1)
    """
    found = [tuple(traits(part).periods) for part in parts]
    return tuple(math.lcm(*steps) for steps in zip(*[steps for steps in found if steps], strict=True))


def total_displacement(parts: Iterable[Any]) -> tuple[int, ...]:
    """Return the sum of all displacements; () where nothing moves."""
    found = [steps for steps in map(displacement, parts) if steps]
    total = tuple(sum(steps) for steps in zip(*found, strict=True))
    return total if any(total) else ()


def images(
    words: Iterable[str],
    group: Any,
    lattice: tuple[int, ...],
    steps: tuple[int, ...],
    generator: Any,
    links: bool | None = None,
) -> list[Image]:
    """Return transformations for each of the words: translations by `steps` along every axis, all reflections and all
    exchanges of equal extents, one random gauge transformation, and so on. Words without meaning for the field give none.

    `links` says whether the field lives on links, by default that of a group; numbers live on sites.

    >>> from haarflow.core.groups import Real
    >>> [image.name for image in images(("translation", "Z2"), Real(), (4, 4), (2, 1), None)]
    ['translation by 2 along axis 0', 'translation by 1 along axis 1', 'phi -> -phi']
    """
    links = group.name != "Real" if links is None else links
    found: list[Image] = []
    for word in words:
        if word in meaning(group, links):
            found += MAKERS[word](group, lattice, steps, generator, links)
    return found


def meaning(group: Any, links: bool | None = None) -> tuple[str, ...]:
    """Return the words that mean something for fields of a group, on links (the default) or on sites.

    >>> from haarflow.core.groups import U1
    >>> "gauge" in meaning(U1()), "Z2" in meaning(U1()), "gauge" in meaning(U1(), links=False)
    (True, False, False)
    """
    if group.name == "Real":
        return OF_SITES
    return OF_LINKS if links or links is None else OF_SITES_OF_A_GROUP


def move(field: Array, steps: tuple[int, ...], d: int) -> Array:
    """Return the field moved by `steps` sites along the axes; () does nothing."""
    for axis, step in enumerate(steps):
        field = shift(field, axis, d, -step) if step else field
    return field


def _translations(group: Any, lattice: Lattice, steps: Lattice, generator: Any, links: bool) -> list[Image]:
    d = len(lattice)
    return [
        Image(f"translation by {step} along axis {axis}", partial(shift, mu=axis, d=d, steps=-step))
        for axis, step in enumerate(steps)
        if step % lattice[axis]
    ]


def _reflections(group: Any, lattice: Lattice, steps: Lattice, generator: Any, links: bool) -> list[Image]:
    d, turn = len(lattice), symmetries.reflect
    if links:
        turn = partial(symmetries.reflect_links, group=link_group(group))
    return [Image(f"reflection of axis {axis}", partial(turn, mu=axis, d=d)) for axis in range(d)]


def _exchanges(group: Any, lattice: Lattice, steps: Lattice, generator: Any, links: bool) -> list[Image]:
    d, turn = len(lattice), symmetries.exchange
    if links:
        turn = partial(symmetries.exchange_links, group=link_group(group))
    pairs = [pair for pair in itertools.combinations(range(d), 2) if lattice[pair[0]] == lattice[pair[1]]]
    return [Image(f"exchange of axes {a} and {b}", partial(turn, mu=a, nu=b, d=d)) for a, b in pairs]


def _gauge(group: Any, lattice: Lattice, steps: Lattice, generator: Any, links: bool) -> list[Image]:
    sites = host_field(group, element_shape(group, (), lattice), "haar", generator)

    def turned(links: Array) -> Array:
        return loops.gauge_transform(links, numpy.asarray(sites, dtype=links.dtype), len(lattice), link_group(group))

    return [Image("a gauge transformation", turned)]


def _sign(group: Any, lattice: Lattice, steps: Lattice, generator: Any, links: bool) -> list[Image]:
    return [Image("phi -> -phi", lambda x: -x)]


def _conjugation(group: Any, lattice: Lattice, steps: Lattice, generator: Any, links: bool) -> list[Image]:
    return [Image("U -> U^*", numpy.conj if matrix_valued(group) else lambda x: -x)]


MAKERS: dict[str, Callable[..., list[Image]]] = {
    "translation": _translations,
    "reflection": _reflections,
    "hypercubic": _exchanges,
    "Z2": _sign,
    "gauge": _gauge,
    "charge_conjugation": _conjugation,
}
