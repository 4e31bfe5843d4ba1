"""The laws of flows, models and priors as literal tables: one row per law says how its input is built from a `Given`.

A model is a flow and a prior, which determines the lattice and the group of the fields, so that the laws of a flow are
checked on a model. `FLOW_LAWS` concern only the flow, `MODEL_LAWS` are these and those of the density, `PRIOR_LAWS` are
those of a prior. The functions are in the other modules of flows/laws, and can be called with any arrays.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Prior
from haarflow.core.laws.law import Given, Law, Verdict, Whole, at_once, void
from haarflow.core.laws.memory import LATTICES, remembers_nothing
from haarflow.flows.coordinates import components, matrix_valued
from haarflow.flows.flow import Chain, Model, Repeat
from haarflow.flows.laws.cases import HALVINGS, case, check_size, condition_names, conditions, field, parameters
from haarflow.flows.laws.compiled_flow import bind, bind_model, compiles, repeated, unbound
from haarflow.flows.laws.density import (
    LARGEST,
    count_free,
    draws_have_the_density,
    draws_on_the_host,
    enough_draws,
    file_keeps_the_model,
    integrates_to_one,
    not_a_definition,
    prior_draws,
    prior_moments,
    sample_is_its_density,
)
from haarflow.flows.laws.integration import integration_order, reversal_order, step_order
from haarflow.flows.laws.jacobian import frozen_components, log_det_by_autodiff, log_det_by_differences
from haarflow.flows.laws.maps import (
    batch_is_its_members,
    equals_numpy,
    fresh_parameters,
    inputs_unchanged,
    log_dets_cancel,
    round_trip,
    support,
    traced_once,
)
from haarflow.flows.laws.repeating_fields import COLUMNS
from haarflow.flows.laws.shapes import shapes
from haarflow.flows.laws.spins import DISCRETE, not_enumerable, order_of_sites, sums_to_one
from haarflow.flows.laws.symmetry import equivariance, invariant_density, undeclared
from haarflow.flows.symmetries import declared, periods
from haarflow.flows.traits import parts_of, traits

__all__ = [
    "FLOW_LAWS",
    "MODEL_LAWS",
    "PRIOR_LAWS",
    "batch_is_its_members",
    "draws_have_the_density",
    "equals_numpy",
    "equivariance",
    "file_keeps_the_model",
    "fresh_parameters",
    "frozen_components",
    "inputs_unchanged",
    "integrates_to_one",
    "integration_order",
    "invariant_density",
    "log_det_by_autodiff",
    "log_det_by_differences",
    "log_dets_cancel",
    "order_of_sites",
    "prior_draws",
    "prior_moments",
    "remembers_nothing",
    "reversal_order",
    "round_trip",
    "sample_is_its_density",
    "shapes",
    "step_order",
    "sums_to_one",
    "support",
    "traced_once",
    "undeclared",
]

INTEGRATED = 1e-4  # the largest error at which an integral is informative
USEFUL = 0.5  # the least ESS at which the mean of the weights is informative
VARIABLES = 512  # up to which a few thousand draws determine the mean of a density's weights
COARSER = 3  # attempts to reach this by halving parameters; the error of a wrong divergence does not fall
SHORT = (
    1e-2  # a change of the field or log_det by twice the steps, above which that by more need not be a quarter of it
)
ASYMPTOTIC = 1e-3  # integration errors above this need not fall with the scheme's order yet
RESOLVED = 1e-6  # a larger tolerance of log |det J| means that the matrix is too ill-conditioned


def _on_arrays(law: Callable[..., Any]) -> Callable[[Any, Given], Verdict]:
    """The row of a law of (flow, params, x, condition, group)."""
    return lambda model, given: law(*case(model, given))


def _shares(model: Model) -> list[float]:
    """The successive factors of the parameters; those of a trained model are not changed."""
    return [0.5**halvings for halvings in range(1 if _is_untrained(model) else HALVINGS)]


def _resolved(law: Callable[..., Any]) -> Callable[[Any, Given], Verdict]:
    """The row of a law of the Jacobian: parameters are halved until it is well-conditioned enough for log |det J|."""

    def check(model: Model, given: Given) -> Verdict:
        for share in _shares(model):
            verdict = law(model, given, share)
            if verdict.tolerance <= max(RESOLVED, 1e7 * given.epsilon):
                break
        result: Verdict = verdict
        return result

    return check


def _by_differences(model: Model, given: Given, share: float) -> Verdict:
    return log_det_by_differences(*case(model, given, share=share))


def _by_autodiff(model: Model, given: Given, share: float) -> Verdict:
    example = case(model, given, share=share)
    if not given.backend.autodiff:  # differences at another field take its place
        return log_det_by_differences(*example, index=given.batch - 1)
    return log_det_by_autodiff(*example)


def _frozen(model: Any, given: Given, share: float) -> Verdict:
    flow, params, x, condition, group = case(model, given, share=share)
    return frozen_components(flow, params, x, model.flow.moves(model.prior.lattice), condition, group)


def _is_coupling(model: Model) -> str | None:
    return (
        None
        if traits(model.flow).moves is not None
        else "it does not declare which components it leaves fixed, so it is not a coupling"
    )


def _integrated(obj: Any) -> bool:
    return traits(obj.flow).integrated


def _is_bijection(obj: Any) -> str | None:
    """Why a flow has no Jacobian and no full inverse, None where it has."""
    if traits(obj.flow).onto is not None:
        return "it maps many fields of the prior onto one discrete field"
    return _is_exact(obj)


def _in_an_order(obj: Any) -> str | None:
    return None if hasattr(obj.flow, "local_fields") else "it does not fill discrete fields in an order"


def _order(model: Model, given: Given) -> Verdict:
    y = given.field(model.group, model.field_shape)
    return order_of_sites(model.flow, parameters(model, given), y[0, ...])


def _sum(model: Model, given: Given) -> Verdict:
    bound, params = bind_model(model, given.backend), parameters(model, given)

    def density(y: Array) -> Any:
        return bound.log_density(params, y, repeated(conditions(model, given), 0, y.shape[0]))

    return sums_to_one(density, model.group, model.field_shape, given.array(numpy.zeros(1)))


def _is_enumerable(model: Model) -> str | None:
    return not_enumerable(model.group, model.field_shape)


def _support(model: Model, given: Given) -> Verdict:
    flow, params, x, condition, group = case(model, given)
    if traits(model.flow).onto is None:
        return support(flow, params, x, condition, group)
    y = given.field(model.group, model.field_shape)
    return support(flow, params, y, condition, model.group, group)


def _is_exact(obj: Any) -> str | None:
    if not _integrated(obj):
        return None
    return "it integrates a flow equation: its log-determinant and inverse are those of continuous time, see integration_order"


def _has_exact_steps(obj: Any) -> str | None:
    if _integrated(obj) or traits(obj.flow).refined is None:
        return "its steps are not maps of their own, of which there may be more"
    return None


def _is_integrated(obj: Any) -> str | None:
    return None if _integrated(obj) else "its log-determinant is exact: it does not integrate a flow equation"


def _is_large(model: Model) -> bool:
    return components(model.prior.group, model.prior.field_shape) > COLUMNS


def _on_finer(law: Callable[..., Any]) -> Callable[[Any, Given], Verdict]:
    """The row of a law of (flow, finer, params, x, condition, group, most): parameters are halved until errors are small.

    For a trained flow the couplings on which it is conditioned are halved instead.
    """

    def check(model: Any, given: Given) -> Verdict:
        finer = model.flow.refined(2)
        bound, trained = bind(finer, given.backend, len(model.prior.field_shape)), _is_untrained(model) is not None
        shares = [0.5**halvings for halvings in range(COARSER)]
        for share in shares if condition_names(model.flow) or not trained else shares[:1]:
            flow, params, x, condition, group = case(model, given, share=share)
            if trained and condition:
                condition = {name: share * value for name, value in condition.items()}
            most = ASYMPTOTIC if share > shares[-1] else math.inf
            verdict = law(flow, bound, params, x, condition, group, most, tuple(model.prior.lattice))
            if verdict.example["errors"][0] <= ASYMPTOTIC:
                break
        result: Verdict = verdict
        return result

    return check


def _steps(model: Any, given: Given) -> Verdict:
    """Parameters are a quarter of those drawn, then halved, until steps are short enough; those of a trained model stay."""
    axes = len(model.prior.field_shape)
    finer, finest = (bind(model.flow.refined(factor), given.backend, axes) for factor in (2, 4))
    for share in _shares(model)[-3:]:
        flow, params, x, condition, group = case(model, given, share=share)
        verdict = step_order(flow, finer, finest, params, x, condition, group)
        if max(verdict.example["errors"]) <= SHORT:
            break
    return verdict


def _shapes(model: Model, given: Given) -> Verdict:
    """On NumPy, where nothing is compiled; `equals_numpy` compares the other backends with NumPy."""
    flow, params, x, condition, _ = case(model, dataclasses.replace(given, backend=backends.get("numpy")))
    return shapes(unbound(flow), params, x, condition)


def _unchanged(model: Model, given: Given) -> Verdict:
    return inputs_unchanged(*case(model, given)[:4])


def _traced(model: Model, given: Given) -> Verdict:
    flow, params, x, condition, _ = case(model, given)
    return traced_once(flow, params, x, field(model, given, salt=5), condition)


def _fresh(model: Model, given: Given) -> Verdict:
    """On a backend that compiles, where every draw is a program, only the parts of a chain are checked."""
    if compiles(given.backend) and isinstance(model.flow, Chain | Repeat):
        return void(fresh_parameters, "its parts draw their own parameters, and are checked separately")
    return fresh_parameters(case(model, given).flow, given.key(), given.dtype)


def _equivariant(model: Any, given: Given) -> Verdict:
    return equivariance(*case(model, given), seed=given.seed, lattice=tuple(model.prior.lattice))


def _has_other_lattices(model: Model) -> str | None:
    named = {field.name for field in dataclasses.fields(model.prior)}
    return None if "lattice" in named and not _holds_a_lattice(model.flow) else "the flow is made for one lattice"


def _holds_a_lattice(flow: Any) -> bool:
    inner = [part for part in parts_of(flow) if dataclasses.is_dataclass(part)]
    own = dataclasses.is_dataclass(flow) and "lattice" in {field.name for field in dataclasses.fields(flow)}
    return own or any(map(_holds_a_lattice, inner))


def _has_symmetries(obj: Any) -> str | None:
    return None if declared(obj) else "it declares no symmetries"


def _invariant(model: Model, given: Given) -> Verdict:
    bound, (_, params, y, condition, _) = bind_model(model, given.backend), case(model, given)
    group = model.group
    y = y if traits(model.flow).onto is None else given.field(group, model.field_shape)
    steps = periods(model.flow, len(model.prior.lattice))

    def density(y: Array) -> Any:
        return bound.log_density(params, y, condition)

    return invariant_density(density, y, group, declared(model), steps, given.seed, tuple(model.prior.lattice))


def _density_is_symmetric(model: Model) -> str | None:
    return None if declared(model) else "its prior and flow have no declared symmetry in common"


def _model_integral(model: Model, given: Given) -> Verdict:
    """For one value of the condition; parameters are halved until the integration rule is accurate enough."""
    for share in _shares(model):
        verdict = _integral(model, given, share)
        if verdict.example["error"] <= INTEGRATED:
            break
    return verdict


def _integral(model: Model, given: Given, share: float) -> Verdict:
    bound, params = bind_model(model, given.backend), parameters(model, given, share)
    start = draws_on_the_host(model.prior, given.seed, 256, given.dtype)

    def values(n: int) -> Any:
        return repeated(conditions(model, given), 0, n)

    draws, _ = bound.flow.forward(params, given.array(start), values(256))
    gauge = "gauge" in declared(model)
    return integrates_to_one(
        lambda y: bound.log_density(params, y, values(y.shape[0])),
        model.prior.field_shape,
        model.prior.group,
        draws,
        gauge,
        draws,
    )


def _model_is_small(model: Model) -> str | None:
    if traits(model.flow).onto is not None:
        return DISCRETE
    return _too_many(model.prior, "gauge" in declared(model))


def _prior_is_small(prior: Prior) -> str | None:
    return _too_many(prior, "gauge" in declared(prior))


def _too_many(prior: Prior, gauge: bool) -> str | None:
    if matrix_valued(prior.group):
        return "the lattice rule integrates over angles and real numbers, not over matrices"
    variables = count_free(prior.field_shape, prior.group, gauge, tuple(prior.lattice))
    if variables <= LARGEST:
        return None
    return f"its density has {variables} variables on {prior.lattice}, and the integral is over at most {LARGEST}"


def _memory(model: Model, given: Given) -> Verdict:
    """On lattices of one volume, on each of which the same flow needs tables of its own, and in the other precision."""

    def on(lattice: tuple[int, ...]) -> Model:
        return dataclasses.replace(model, prior=dataclasses.replace(model.prior, lattice=lattice))

    def compute(lattice: tuple[int, ...], dtype: str) -> list[Array]:
        one, here = on(lattice), dataclasses.replace(given, style="haar", dtype=dtype)
        x = field(one, here)
        return [*model.flow.forward(parameters(model, here), x, conditions(one, here)), one.prior.log_density(x)]

    lattices = LATTICES.get(len(model.prior.lattice), ())
    other = "float32" if given.dtype == "float64" else "float64"
    rows = [*((lattice, given.dtype) for lattice in lattices), (lattices[0], other)]
    return remembers_nothing([partial(compute, *row) for row in rows], (model,))


def _is_untrained(model: Model) -> str | None:
    if traits(model.flow).trained:
        return "it is trained, and this law would have to change its parameters"
    return None


def _is_saved(model: Model) -> str | None:
    return _is_untrained(model) or not_a_definition(model)


def _is_wide(model: Model) -> str | None:
    return _is_untrained(model) or _is_exact(model) or _has_many_variables(model.prior)


def _has_many_variables(prior: Prior) -> str | None:
    variables = components(prior.group, prior.field_shape)
    if variables <= VARIABLES:
        return None
    return f"the weights of a density of {variables} variables fluctuate too much for their mean to be informative"


def _model_draws(model: Model, given: Given) -> Verdict:
    """Parameters are halved until the weights fluctuate little enough for their mean to be informative."""
    for halvings in range(HALVINGS):
        verdict = _draws(model, given, 0.5**halvings)
        if verdict.example["ess"] >= USEFUL:
            break
    return verdict


def _draws(model: Model, given: Given, share: float) -> Verdict:
    bound, params, n = bind_model(model, given.backend), parameters(model, given, share), enough_draws(model.prior)
    samples = []
    for seed in (0, 1):
        start = given.array(draws_on_the_host(model.prior, 100 + seed, n, given.dtype))
        samples.append(bound.flow.forward(params, start, repeated(conditions(model, given), 0, n))[0])
    log_q = bound.log_density(params, samples[0], repeated(conditions(model, given), 0, n))
    return draws_have_the_density(samples[0], log_q, samples[1], model.group)


def _sample(model: Model, given: Given) -> Verdict:
    _, params, _, condition, _ = case(model, given)
    return sample_is_its_density(bind_model(model, given.backend), params, given.key(3), given.batch, condition)


def _file(model: Model, given: Given) -> Verdict:
    return file_keeps_the_model(model, parameters(model, given), given.backend)


def _density(prior: Prior, given: Given) -> Callable[..., Any]:
    result: Callable[..., Any] = Whole(prior, given.backend, ("log_density",)).log_density
    return result


def _prior_integral(prior: Prior, given: Given) -> Verdict:
    draws = given.array(draws_on_the_host(prior, given.seed, 256, given.dtype))
    shape, gauge = prior.field_shape, "gauge" in declared(prior)
    return integrates_to_one(_density(prior, given), shape, prior.group, draws, gauge, draws)


def _prior_invariant(prior: Prior, given: Given) -> Verdict:
    check_size(prior, given.batch)
    x = given.field(prior.group, prior.field_shape)
    steps, lattice = (1,) * len(prior.lattice), tuple(prior.lattice)
    return invariant_density(_density(prior, given), x, prior.group, declared(prior), steps, given.seed, lattice)


def _prior_draws(prior: Prior, given: Given) -> Verdict:
    check_size(prior, given.batch)
    return prior_draws(prior, given.key(3), given.batch, given.dtype)


def _prior_moments(prior: Prior, given: Given) -> Verdict:
    n = enough_draws(prior)
    return prior_moments(prior, at_once(lambda key: prior.sample(key, n, given.dtype), given.key(4)))


FLOW_LAWS: tuple[Law, ...] = (
    Law(shapes, _shapes, first=True),
    Law(log_det_by_differences, _resolved(_by_differences), _is_bijection),
    Law(log_det_by_autodiff, _resolved(_by_autodiff), _is_bijection, programs=True),
    Law(integration_order, _on_finer(integration_order), _is_integrated, programs=True, expensive=_is_large),
    Law(reversal_order, _on_finer(reversal_order), _is_integrated, programs=True),
    Law(step_order, _steps, _has_exact_steps, programs=True),
    Law(frozen_components, _resolved(_frozen), _is_coupling),
    Law(round_trip, _on_arrays(round_trip), _is_bijection),
    Law(log_dets_cancel, _on_arrays(log_dets_cancel), _is_exact),
    Law(support, _support, _is_exact),
    Law(batch_is_its_members, _on_arrays(batch_is_its_members), programs=True),
    Law(inputs_unchanged, _unchanged),
    Law(equals_numpy, _on_arrays(equals_numpy)),
    Law(traced_once, _traced),
    Law(fresh_parameters, _fresh),
    Law(equivariance, _equivariant, lambda model: _has_symmetries(model.flow)),
    Law(order_of_sites, _order, _in_an_order),
)

MODEL_LAWS: tuple[Law, ...] = (
    *FLOW_LAWS,
    Law(invariant_density, _invariant, _density_is_symmetric),
    Law(integrates_to_one, _model_integral, _model_is_small),
    Law(sums_to_one, _sum, _is_enumerable),
    Law(draws_have_the_density, _model_draws, _is_wide, sampled=True, shared_draws=True),
    Law(remembers_nothing, _memory, _has_other_lattices, programs=True),
    Law(sample_is_its_density, _sample, _is_exact),
    Law(file_keeps_the_model, _file, _is_saved),
)

PRIOR_LAWS: tuple[Law, ...] = (
    Law(prior_draws, _prior_draws),
    Law(prior_moments, _prior_moments, sampled=True, shared_draws=True),
    Law(integrates_to_one, _prior_integral, _prior_is_small),
    Law(invariant_density, _prior_invariant, _has_symmetries),
)
