"""Laws of densities that can be drawn from: mixtures, symmetrised models, models of one's own.

Such an object has `init`, `sample(params, key, n, condition) -> (y, log q)`, `log_density(params, y, condition)`, and the
`lattice`, `group` and `field_shape` of its fields. Its draws are those of `sample`, so that a density which is not that of the
draws is found whatever it is made of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy

from haarflow.backends.types import Array, Params
from haarflow.core.laws.law import Given, Law, Verdict, Whole, at_once, to_host
from haarflow.flows.coordinates import matrix_valued
from haarflow.flows.flow import Model
from haarflow.flows.laws.cases import HALVINGS, condition_names, parameters
from haarflow.flows.laws.compiled_flow import repeated
from haarflow.flows.laws.density import (
    LARGEST,
    count_free,
    draws_have_the_density,
    enough_draws,
    file_keeps_the_model,
    integrates_to_one,
    sample_is_its_density,
)
from haarflow.flows.laws.symmetry import invariant_density
from haarflow.flows.mixtures import Mixture
from haarflow.flows.symmetries import declared

FIRST = 256  # draws that give the range of an integral
INTEGRATED, USEFUL = 1e-4, 0.5  # the largest error of an integral, and the least ESS of a mean of weights, that inform


def _values(obj: Any, given: Given, n: int) -> Any:
    names = condition_names(obj)
    return repeated({name: given.array(given.generator(8).uniform(0.5, 2.0, 1)) for name in names} or None, 0, n)


def _drawn(obj: Any, given: Given, params: Params, n: int, salt: int) -> tuple[Array, Array]:
    drawn: tuple[Array, Array] = at_once(
        lambda key: obj.sample(params, key, n, _values(obj, given, n)), given.key(salt)
    )
    return drawn


def _log_density(obj: Any, given: Given, params: Params) -> Callable[[Array], Array]:
    whole = Whole(obj, given.backend, ("log_density",))
    return lambda y: whole.log_density(params, y, _values(obj, given, y.shape[0]))


def _sample(obj: Any, given: Given) -> Verdict:
    params = parameters(obj, given)
    return sample_is_its_density(obj, params, given.key(3), given.batch, _values(obj, given, given.batch))


def _integral(obj: Any, given: Given) -> Verdict:
    """Parameters are halved until the integration rule is accurate enough."""
    for halvings in range(HALVINGS):
        params = parameters(obj, given, 0.5**halvings)
        draws = _drawn(obj, given, params, FIRST, 4)[0]
        gauge = "gauge" in declared(obj)
        density = _log_density(obj, given, params)
        verdict = integrates_to_one(density, tuple(obj.field_shape), obj.group, draws, gauge, draws)
        if verdict.example["error"] <= INTEGRATED:
            break
    return verdict


def _draws(obj: Any, given: Given) -> Verdict:
    """Parameters are halved until the weights fluctuate little enough for their mean to be informative; the comparison density of
    real fields is taken about zero and about a standard deviation of the mean over sites on either side of it.
    """
    for halvings in range(HALVINGS):
        params = parameters(obj, given, 0.5**halvings)
        y, others = (_drawn(obj, given, params, enough_draws(obj), salt)[0] for salt in (5, 6))
        log_q = _log_density(obj, given, params)(y)
        found = [draws_have_the_density(y - c, log_q, others - c, obj.group) for c in _centres(obj, y)]
        if found[0].example["ess"] >= USEFUL:
            break
    return max(found, key=lambda verdict: verdict.ratio)


def _centres(obj: Any, y: Array) -> tuple[float, ...]:
    if obj.group.name != "Real":
        return (0.0,)
    spread = float(numpy.std(to_host(y).reshape(y.shape[0], -1).mean(axis=1)))
    return 0.0, spread, -spread


def _invariant(obj: Any, given: Given) -> Verdict:
    params, lattice = parameters(obj, given), tuple(obj.lattice)
    y = _drawn(obj, given, params, given.batch, 7)[0]
    density = _log_density(obj, given, params)
    return invariant_density(density, y, obj.group, declared(obj), (1,) * len(lattice), given.seed, lattice)


def _file(obj: Any, given: Given) -> Verdict:
    return file_keeps_the_model(obj, parameters(obj, given), given.backend)


def _is_small(obj: Any) -> str | None:
    if matrix_valued(obj.group):
        return "the lattice rule integrates over angles and real numbers, not over matrices"
    variables = count_free(tuple(obj.field_shape), obj.group, "gauge" in declared(obj), tuple(obj.lattice))
    if variables <= LARGEST:
        return None
    return f"its density has {variables} variables on {obj.lattice}, and the integral is over at most {LARGEST}"


def _has_symmetries(obj: Any) -> str | None:
    return None if declared(obj) else "it declares no symmetries"


def _is_saved(obj: Any) -> str | None:
    if isinstance(obj, Model | Mixture) and dataclasses.is_dataclass(obj):
        return None
    return "a model file holds models of a prior and a flow, and mixtures of them"


DENSITY_LAWS: tuple[Law, ...] = (
    Law(sample_is_its_density, _sample),
    Law(integrates_to_one, _integral, _is_small),
    Law(draws_have_the_density, _draws, sampled=True),
    Law(invariant_density, _invariant, _has_symmetries),
    Law(file_keeps_the_model, _file, _is_saved),
)
