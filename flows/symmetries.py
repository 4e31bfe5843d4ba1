"""The symmetries that flows and priors declare, how they combine, and how they act on a field.

A flow f declares `symmetries`, names from SYMMETRIES for which

    f(g x) = g f(x),   log_det(g x) = log_det(x),

`periods`, the translations along each axis with which f commutes (1 by default), and `displacement`, the number of
sites by which f translates the field along each axis: the law then holds for f followed by the opposite translation.
All three are optional, and a flow need not have a symmetry that it does not declare. A prior declares the symmetries of
its density.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy

from haarflow.backends.types import Array, Group
from haarflow.core.lattice import loops, symmetries
from haarflow.core.lattice.geometry import shift
from haarflow.core.lattice.symmetries import SYMMETRIES
from haarflow.core.laws.fields import element_shape
from haarflow.core.laws.law import host_field
from haarflow.flows.coordinates import link_group, matrix_valued
from haarflow.flows.traits import traits

Lattice = tuple[int, ...]
POINT_GROUP = ("reflection", "hypercubic")
# Real fields have no gauge transformations, links no Z2.
OF_SITES = ("translation", "reflection", "hypercubic", "Z2")
OF_SITES_OF_A_GROUP = (*OF_SITES, "charge_conjugation")
OF_LINKS = ("translation", "reflection", "hypercubic", "gauge", "charge_conjugation")


class Image(NamedTuple):
    """One symmetry transformation: its name, and the function of host fields `(*batch, *field_shape)`."""

    name: str
    transform: Callable[[Array], Array]


def declared(part: object) -> tuple[str, ...]:
    """Return the symmetries that an object declares. Raises ValueError for an unknown name.

    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> declared(QuarticTail(2))
    ('translation', 'reflection', 'hypercubic', 'Z2')
    """
    names = tuple(traits(part).symmetries)
    for name in names:
        if name not in SYMMETRIES:
            raise ValueError(f"a symmetry is one of {', '.join(SYMMETRIES)}, got {name!r}")
    return names


def periods(flow: object, d: int) -> tuple[int, ...]:
    """Return the translations along each axis with which a flow commutes: 1 where it declares none."""
    return tuple(traits(flow).periods) or (1,) * d


def displacement(flow: object) -> tuple[int, ...]:
    """Return the number of sites by which a flow translates the field along each axis; () for none."""
    return tuple(traits(flow).displacement)


def common(parts: Iterable[object]) -> tuple[str, ...]:
    """Return the symmetries that all parts declare, without the point group if one of the parts translates the field.

    The centre of a reflection is displaced together with the field, so the parts' reflections do not combine.
    """
    parts = tuple(parts)
    moved = any(any(displacement(part)) for part in parts)
    shared = [name for name in SYMMETRIES if all(name in declared(part) for part in parts)]
    return tuple(name for name in shared if not (moved and name in POINT_GROUP))


def common_periods(parts: Iterable[object]) -> tuple[int, ...]:
    """Return the least common multiple of the periods along each axis; () if no part declares any.

    >>> from haarflow.flows.flow import Translate
    >>> common_periods([Translate((1, 1))])
    (1, 1)
    """
    known = [steps for steps in (tuple(traits(part).periods) for part in parts) if steps]
    return tuple(math.lcm(*steps) for steps in zip(*known, strict=True))


def total_displacement(parts: Iterable[object]) -> tuple[int, ...]:
    """Return the sum of all displacements; () if it vanishes."""
    known = [steps for steps in map(displacement, parts) if steps]
    total = tuple(sum(steps) for steps in zip(*known, strict=True))
    return total if any(total) else ()


def images(
    names: Iterable[str],
    group: Group,
    lattice: tuple[int, ...],
    steps: tuple[int, ...],
    generator: numpy.random.Generator,
    links: bool | None = None,
) -> list[Image]:
    """Return the transformations of each symmetry: translations by `steps` along every axis, all reflections, all
    exchanges of axes of equal extent, one random gauge transformation, and so on. Names that do not apply to fields of the
    group are skipped. `links` says whether the field lives on links, as fields of a group do unless told otherwise; numbers
    live on sites.

    >>> from haarflow.core.groups.additive import Real
    >>> rng = numpy.random.default_rng(0)
    >>> [image.name for image in images(("translation", "Z2"), Real(), (4, 4), (2, 1), rng)]
    ['translation by 2 along axis 0', 'translation by 1 along axis 1', 'phi -> -phi']
    """
    links = group.name not in ("Real", "Signs") if links is None else links
    applicable = meaning(group, links)
    return [
        image for name in names if name in applicable for image in MAKERS[name](group, lattice, steps, generator, links)
    ]


def meaning(group: Group, links: bool | None = None) -> tuple[str, ...]:
    """Return the symmetries that apply to fields of a group, on links (the default) or on sites.

    >>> from haarflow.core.groups.additive import U1
    >>> "gauge" in meaning(U1()), "Z2" in meaning(U1()), "gauge" in meaning(U1(), links=False)
    (True, False, False)
    """
    if group.name in ("Real", "Signs"):
        return OF_SITES
    return OF_LINKS if links or links is None else OF_SITES_OF_A_GROUP


def move(field: Array, steps: tuple[int, ...], d: int) -> Array:
    """Return the field translated by `steps` sites along each axis; () leaves it as it is."""
    for axis, step in enumerate(steps):
        field = shift(field, axis, d, -step) if step else field
    return field


def _translations(
    group: Group, lattice: Lattice, steps: Lattice, generator: numpy.random.Generator, links: bool
) -> list[Image]:
    d = len(lattice)
    return [
        Image(f"translation by {step} along axis {axis}", partial(shift, mu=axis, d=d, steps=-step))
        for axis, step in enumerate(steps)
        if step % lattice[axis]
    ]


def _reflections(
    group: Group, lattice: Lattice, steps: Lattice, generator: numpy.random.Generator, links: bool
) -> list[Image]:
    d, turn = len(lattice), symmetries.reflect
    if links:
        turn = partial(symmetries.reflect_links, group=link_group(group))
    return [Image(f"reflection of axis {axis}", partial(turn, mu=axis, d=d)) for axis in range(d)]


def _exchanges(
    group: Group, lattice: Lattice, steps: Lattice, generator: numpy.random.Generator, links: bool
) -> list[Image]:
    d, turn = len(lattice), symmetries.exchange
    if links:
        turn = partial(symmetries.exchange_links, group=link_group(group))
    pairs = [pair for pair in itertools.combinations(range(d), 2) if lattice[pair[0]] == lattice[pair[1]]]
    return [Image(f"exchange of axes {a} and {b}", partial(turn, mu=a, nu=b, d=d)) for a, b in pairs]


def _gauge(
    group: Group, lattice: Lattice, steps: Lattice, generator: numpy.random.Generator, links: bool
) -> list[Image]:
    sites = host_field(group, element_shape(group, (), lattice), "haar", generator)

    def transformed(links: Array) -> Array:
        return loops.gauge_transform(links, numpy.asarray(sites, dtype=links.dtype), len(lattice), link_group(group))

    return [Image("a gauge transformation", transformed)]


def _sign(
    group: Group, lattice: Lattice, steps: Lattice, generator: numpy.random.Generator, links: bool
) -> list[Image]:
    return [Image("phi -> -phi", lambda x: -x)]


def _conjugation(
    group: Group, lattice: Lattice, steps: Lattice, generator: numpy.random.Generator, links: bool
) -> list[Image]:
    return [Image("U -> U^*", numpy.conj if matrix_valued(group) else lambda x: -x)]


MAKERS: dict[str, Callable[..., list[Image]]] = {
    "translation": _translations,
    "reflection": _reflections,
    "hypercubic": _exchanges,
    "Z2": _sign,
    "gauge": _gauge,
    "charge_conjugation": _conjugation,
}
