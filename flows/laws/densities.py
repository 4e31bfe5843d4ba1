"""Laws of densities that can be drawn from: mixtures, symmetrised models, models of one's own.

Such an object has `init`, `sample(params, key, n, condition) -> (y, log q)`, `log_density(params, y, condition)`, and
the `lattice`, `group` and `field_shape` of its fields. Its draws are those of `sample`, so that a density which is not
that of the draws is found whatever it is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Params
from haarflow.core.groups.signs import has_algebra, log_mass
from haarflow.core.laws.law import Given, Law, Verdict, Whole, at_once, host_field, in_double, judge, to_host
from haarflow.core.statistics import bennett
from haarflow.flows.coordinates import matrix_valued
from haarflow.flows.flow import Model
from haarflow.flows.laws.cases import HALVINGS, condition_names, parameters
from haarflow.flows.laws.compiled_flow import repeated
from haarflow.flows.laws.density import (
    LARGEST,
    PULLS,
    count_free,
    enough_draws,
    file_keeps_the_model,
    integrates_to_one,
    not_a_definition,
    sample_is_its_density,
)
from haarflow.flows.laws.spins import DISCRETE, not_enumerable, sums_to_one
from haarflow.flows.laws.symmetry import invariant_density
from haarflow.flows.mixtures import Mixture, components
from haarflow.flows.symmetries import declared
from haarflow.flows.traits import traits

FIRST = 256  # draws that give the range of an integral
INTEGRATED = 1e-4  # the largest error at which an integral is informative
SEED = 4078  # of the draws of the known density


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


def _sum(obj: Any, given: Given) -> Verdict:
    params = parameters(obj, given)
    return sums_to_one(_log_density(obj, given, params), obj.group, tuple(obj.field_shape), given.array(numpy.zeros(1)))


def _is_enumerable(obj: Any) -> str | None:
    return not_enumerable(obj.group, tuple(obj.field_shape))


def draws_follow_the_density(
    y: Array, log_q: Array, density: Callable[[Array], Array], others: Array, group: Any
) -> Verdict:
    """E_q[p/(p + q)] = E_p[q/(p + q)]: Bennett's bridge between the draws and a known p gives ln Z = 0.

    p is the Haar measure for links, and for real fields a normal density of the mean and the covariance of `others`,
    further draws. All terms are bounded, whatever tails q has. `y` `(n, *field_shape)` are draws and `log_q` `(n,)`
    their density as it is reported; `density` returns that of other fields.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.priors import Gaussian
    >>> prior, (a, b) = Gaussian((2,)), random.split(random.key(0, backend))
    >>> y = prior.sample(a, 1000)
    >>> draws_follow_the_density(y, prior.log_density(y), prior.log_density, prior.sample(b, 1000), prior.group).passed
    True
    """
    known = Normal.of(to_host(others).astype("float64")) if group.name == "Real" else Haar(group, tuple(y.shape[1:]))
    z = known.draws(int(y.shape[0]))
    there = density(backends.of(y).asarray(z, dtype=y.dtype))
    log_w = known.log_density(in_double(y)) - in_double(log_q)
    found = bennett(log_w, (known.log_density(z) - in_double(there))[None, :])
    pull = math.inf if found.value is None or not found.error else found.value / found.error
    return judge(draws_follow_the_density, pull, 5.0, PULLS, ln_z=found.value, note=found.note)


class Normal(NamedTuple):
    """A normal density of fields, by its mean and a root of its covariance."""

    mean: numpy.ndarray
    root: numpy.ndarray
    shape: tuple[int, ...]

    @classmethod
    def of(cls, draws: numpy.ndarray) -> Normal:
        """Return the density with the mean and the covariance of draws `(n, *shape)`."""
        rows = draws.reshape(len(draws), -1)
        covariance = numpy.atleast_2d(numpy.cov(rows.T)) + 1e-9 * numpy.eye(rows.shape[1])
        return cls(rows.mean(axis=0), numpy.linalg.cholesky(covariance), draws.shape[1:])

    def draws(self, n: int) -> numpy.ndarray:
        """Return n fields from a fixed seed."""
        noise = numpy.random.default_rng(SEED).standard_normal((n, len(self.mean)))
        return numpy.asarray(self.mean + noise @ self.root.T).reshape(n, *self.shape)

    def log_density(self, y: numpy.ndarray) -> numpy.ndarray:
        """Return log p of fields."""
        noise = numpy.linalg.solve(self.root, (y.reshape(len(y), -1) - self.mean).T)
        log_norm = float(numpy.sum(numpy.log(numpy.diag(self.root)))) + 0.5 * len(self.mean) * math.log(2 * math.pi)
        return numpy.asarray(-0.5 * numpy.sum(noise**2, axis=0) - log_norm)


class Haar(NamedTuple):
    """The Haar measure of fields of a group."""

    group: Any
    shape: tuple[int, ...]

    def draws(self, n: int) -> numpy.ndarray:
        """Return n fields from a fixed seed."""
        return host_field(self.group, (n, *self.shape), "haar", numpy.random.default_rng(SEED))

    def log_density(self, y: numpy.ndarray) -> numpy.ndarray:
        """Return log p, 0 in a normalised measure."""
        return numpy.full(len(y), -log_mass(self.group, math.prod(self.shape)))


def _draws(obj: Any, given: Given) -> Verdict:
    """Parameters are halved until the draws overlap with those of the known density."""
    for halvings in range(HALVINGS):
        params, n = parameters(obj, given, 0.5**halvings), enough_draws(obj)
        (y, log_q), (others, _) = (_drawn(obj, given, params, n, salt) for salt in (5, 6))
        verdict = draws_follow_the_density(y, log_q, _log_density(obj, given, params), others, obj.group)
        if not verdict.example["note"]:
            break
    return verdict


def _invariant(obj: Any, given: Given) -> Verdict:
    params, lattice = parameters(obj, given), tuple(obj.lattice)
    y = _drawn(obj, given, params, given.batch, 7)[0]
    density = _log_density(obj, given, params)
    return invariant_density(density, y, obj.group, declared(obj), (1,) * len(lattice), given.seed, lattice)


def _file(obj: Any, given: Given) -> Verdict:
    return file_keeps_the_model(obj, parameters(obj, given), given.backend)


def _is_small(obj: Any) -> str | None:
    if not has_algebra(obj.group):
        return DISCRETE
    if matrix_valued(obj.group):
        return "the lattice rule integrates over angles and real numbers, not over matrices"
    variables = count_free(tuple(obj.field_shape), obj.group, "gauge" in declared(obj), tuple(obj.lattice))
    if variables <= LARGEST:
        return None
    return f"its density has {variables} variables on {obj.lattice}, and the integral is over at most {LARGEST}"


def _has_symmetries(obj: Any) -> str | None:
    return None if declared(obj) else "it declares no symmetries"


def _is_saved(obj: Any) -> str | None:
    if not isinstance(obj, Model | Mixture):
        return "a model file holds models of a prior and a flow, and mixtures of them"
    if any(traits(part.flow).trained for part in components(obj)):
        return "it is trained, and this law would have to change its parameters"
    return next((why for part in components(obj) if (why := not_a_definition(part))), None)


DENSITY_LAWS: tuple[Law, ...] = (
    Law(sample_is_its_density, _sample),
    Law(integrates_to_one, _integral, _is_small),
    Law(sums_to_one, _sum, _is_enumerable),
    Law(draws_follow_the_density, _draws, sampled=True),
    Law(invariant_density, _invariant, _has_symmetries),
    Law(file_keeps_the_model, _file, _is_saved),
)
