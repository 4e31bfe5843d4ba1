"""Laws of the symmetries that flows, models and priors declare (flows/symmetries.py), and the search for undeclared ones.

    f(g x) = g f(x) and log_det(g x) = log_det(x),      r(g x) = r(x),

for random gauge transformations, translations by the flow's periods, all reflections and exchanges of axes, signs and
charge conjugation: exactly those that are declared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Condition, Group, Params
from haarflow.core.lattice.symmetries import SYMMETRIES
from haarflow.core.laws.law import Given, Verdict, judge, to_host, void
from haarflow.flows.coordinates import apart, lattice_of, on_links
from haarflow.flows.flow import Model
from haarflow.flows.laws.cases import ROUNDING, case, reach, worst
from haarflow.flows.laws.compiled_flow import unbound
from haarflow.flows.symmetries import declared, displacement, images, meaning, move, periods

REASON = f"1 in units of {ROUNDING}"


def equivariance(
    flow: Any,
    params: Params,
    x: Array,
    condition: Condition = None,
    group: Any = None,
    words: Iterable[str] | None = None,
    seed: int = 0,
    lattice: tuple[int, ...] | None = None,
) -> Verdict:
    """f(g x) = g f(x) and log_det(g x) = log_det(x) for every symmetry g that the flow declares.

    `x` is `(batch, *field_shape)`: links `(batch, d, [N, N,] *lattice)`, or elements on the sites of `lattice`, which is
    needed if the shape is ambiguous. `words` replaces the flow's declaration. The displacement of a flow that displaces
    fields is undone before the comparison.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.groups.additive import Real
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> params, x = {"log_c": backend.asarray(0.5)}, backend.asarray([[0.3, -20.0]])
    >>> equivariance(QuarticTail(1), params, x, group=Real()).passed
    True
    """
    plain, shape = unbound(flow), tuple(x.shape[1:])
    links, lattice = on_links(group, shape, lattice), lattice or lattice_of(group, shape)
    back = tuple(-step for step in displacement(plain))
    symmetries = images(
        declared(plain) if words is None else words,
        group,
        lattice,
        periods(plain, len(lattice)),
        numpy.random.default_rng(seed),
        links,
    )
    transformed = [image.transform(to_host(x)) for image in symmetries]
    expected = flow.forward(params, x, condition)
    if not transformed:
        return void(equivariance, "no symmetry acts on this lattice")
    allowed = reach(lambda x: flow.forward(params, x, condition), x, group, expected)
    # a symmetry permutes components: each is allowed the largest bound of its field
    field = numpy.max(allowed.field, axis=tuple(range(1, x.ndim)), keepdims=True)
    straight = move(to_host(expected[0]), back, len(lattice))
    ratios = {}
    for image, rows in zip(symmetries, transformed, strict=True):
        y, log_det = flow.forward(params, backends.of(x).asarray(rows, dtype=x.dtype), condition)
        difference = apart(group, move(to_host(y), back, len(lattice)), image.transform(straight))
        change = to_host(log_det) - to_host(expected[1])
        ratios[image.name] = max(worst(difference, field).ratio, worst(change, allowed.log_det).ratio)
    name = max(ratios, key=ratios.__getitem__)
    return judge(equivariance, ratios[name], 1.0, REASON, x=x, params=params, image=name)


def undeclared(model: Model, given: Given) -> tuple[str, ...]:
    """Return the symmetries that a model's flow has on one example without declaring them.

    >>> from haarflow.core.laws.law import Given
    >>> from haarflow.flows.flow import Model
    >>> from haarflow.flows.priors import Gaussian
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> undeclared(Model(Gaussian((4,)), QuarticTail(1)), Given((4,)))
    ()
    """
    flow, params, x, condition, group = case(model, given)
    lattice = tuple(model.prior.lattice)
    known = meaning(group, on_links(group, tuple(model.prior.field_shape), lattice))
    words = [word for word in SYMMETRIES if word in known and word not in declared(model.flow)]
    verdicts = {word: equivariance(flow, params, x, condition, group, (word,), lattice=lattice) for word in words}
    return tuple(word for word, verdict in verdicts.items() if verdict.passed and verdict.reason == REASON)


def invariant_density(
    density: Callable[[Array], Array],
    x: Array,
    group: Group,
    words: Iterable[str],
    steps: tuple[int, ...],
    seed: int = 0,
    lattice: tuple[int, ...] | None = None,
) -> Verdict:
    """log r(g x) = log r(x) for every declared symmetry g of a density.

    `density` is a function of fields `(batch, *field_shape)`; translations are by `steps` along each axis; `lattice` as for
    `equivariance`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.priors import Gaussian
    >>> prior = Gaussian((2,))
    >>> words, steps = prior.symmetries, (1,)
    >>> invariant_density(prior.log_density, backend.asarray([[0.3, -2.0]]), prior.group, words, steps).passed
    True
    """
    shape = tuple(x.shape[1:])
    links, lattice = on_links(group, shape, lattice), lattice or lattice_of(group, shape)
    symmetries = images(words, group, lattice, steps, numpy.random.default_rng(seed), links)
    if not symmetries:
        return void(invariant_density, "no declared symmetry acts on this lattice")
    expected = density(x)
    allowed = reach(lambda x: (x, density(x)), x, group, (x, expected)).log_det
    ratios = {"": 0.0}
    for image in symmetries:
        value = density(backends.of(x).asarray(image.transform(to_host(x)), dtype=x.dtype))
        ratios[image.name] = worst(to_host(value) - to_host(expected), allowed).ratio
    name = max(ratios, key=ratios.__getitem__)
    return judge(invariant_density, ratios[name], 1.0, REASON, x=x, image=name)
