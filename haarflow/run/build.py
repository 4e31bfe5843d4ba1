"""The set-up of a run, made once from its recipe: backend, target, flow, kernels and plans, all checked before a file is
written.

Every random number of a run comes from its seed through `stream(seed, name)`, a key for each purpose by name, so that
removing one sampler from a recipe changes nothing in the others.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends import Backend, NoAutodiff
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.chains.kernel import Kernel
from haarflow.core.parts import described
from haarflow.core.spaces import batch_shape
from haarflow.flows import catalogue as flows
from haarflow.flows.flow import Model, precision
from haarflow.flows.laws.shapes import misshapen
from haarflow.flows.mixtures import AnyModel, bare, components, mixed, parameters, symmetrised
from haarflow.flows.sampling.integrated import IntegrationError, measured
from haarflow.flows.training.gradients import ESTIMATORS, refuse_discrete
from haarflow.flows.traits import traits
from haarflow.run.advice import annealed, refuse_hopeless
from haarflow.run.executors.identity import installed
from haarflow.run.kernels import Proposal
from haarflow.run.models import opened_model, refuse_extrapolation, refuse_other_couplings, refuse_other_factors
from haarflow.run.own import NOTHING, Own, check_force
from haarflow.run.samplers import averages, kernel, kernels_of, needs_flow, row_of, rungs_of, target_acceptance
from haarflow.run.settings import Recipe
from haarflow.run.target import Target, observables_of, target_of
from haarflow.theories.theory import checked

CHECKED = 8  # draws on which the error of integration of a flow in continuous time is measured


@dataclass(frozen=True)
class Plan:
    """How one sampler's draws are divided: chains, draws dropped and kept, draws per block.

    `tuning` is the number of steps that tune HMC before the first block; they take the place of the warm-up.
    """

    name: str
    settings: Any
    chains: int
    warmup: int
    draws: int
    block: int
    tuning: int = 0

    @property
    def total(self) -> int:
        """Draws per chain, warm-up included."""
        return self.warmup + self.draws

    @property
    def blocks(self) -> int:
        """Blocks per chain."""
        return -(-self.total // self.block)

    @property
    def from_flow(self) -> bool:
        """Whether the draws are a flow's independent proposals rather than steps of a Markov chain."""
        return row_of(self.settings).draws != "chain"


@dataclass(frozen=True)
class Setup:
    """The objects of a run, made by `build` and completed by `trained` once the run's flow is trained.

    `model` is the untrained flow of [flow], None where there is none. `proposals` and `kernels` are listed by sampler;
    those that need the run's own flow are added by `trained`.
    """

    target: Target
    backend: Backend
    own: Own
    model: AnyModel | None
    plans: dict[str, Plan]
    proposals: dict[str, Proposal]
    kernels: dict[str, Kernel]

    @property
    def recipe(self) -> Recipe:
        """The recipe, with its backend resolved."""
        return self.target.recipe

    @property
    def waiting(self) -> str:
        """What a stage waits for until its first result: JAX compiles."""
        return "compiling" if self.backend.name == "jax" else ""

    def stream(self, name: str) -> Array:
        """Return the random key for one purpose on the run's backend."""
        return stream(self.recipe.seed, name, self.backend)


def build(recipe: Recipe, own: Own = NOTHING) -> Setup:
    """Return the set-up of a run.

    Raises ValueError for couplings, a lattice or masks that do not fit, for a flow that its definition makes fail and for a custom theory of the wrong shapes,
    NoAutodiff where this backend cannot train.

    >>> from haarflow.run.recipes import load
    >>> setup = build(load("u1-tiny", run__backend="numpy", flow=False, train=False, samplers={"hmc": {}}))
    >>> setup.target.theory.lattice, setup.target.couplings, sorted(setup.kernels)
    ((4, 4), {'beta': 1.0}, ['hmc'])
    """
    target = annealed(target_of(resolved(recipe)))
    backend = backends.get(target.recipe.run.backend, target.recipe.run.device or None, target.recipe.run.dtype)
    checked(target.theory, target.couplings)
    refuse_hopeless(target)
    backend.asarray([0.0])
    if own.theory:
        try_theory(target, backend)
    plans = {name: plan(target, name) for name in recipe.samplers}
    proposals = _proposals(target, own)
    setup = Setup(target, backend, own, None, plans, proposals, {})
    _check_integration(setup)
    setup = dataclasses.replace(setup, kernels=_kernels(setup))
    return dataclasses.replace(setup, model=_model(setup)) if recipe.flow else setup


def trained(setup: Setup, path: Path) -> Setup:
    """Return the set-up with the run's trained flow, opened from its model file."""
    proposal = _opened(setup.target, setup.own, str(path), setup.model)
    waiting = {name for name, entry in setup.recipe.samplers.items() if needs_flow(entry)} - setup.proposals.keys()
    proposals = _as_settings_say(setup.recipe, dict.fromkeys(waiting, proposal))
    setup = dataclasses.replace(setup, proposals={**setup.proposals, **proposals})
    _check_integration(setup)
    return dataclasses.replace(setup, kernels=_kernels(setup))


def resolved(recipe: Recipe) -> Recipe:
    """Return the recipe with its backend resolved and the package versions on which its numbers depend.

    An empty backend means the first installed of jax and torch, or numpy where neither is installed.
    """
    name = recipe.run.backend or next((name for name in ("jax", "torch") if backends.is_present(name)), "numpy")
    here = installed()
    relevant = ("haarflow", "python", "numpy", "numba", "array-api-compat", "h5py", name)
    recorded = {package: here[package] for package in relevant if package in here}
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, backend=name), versions=recorded)


def stream(seed: int, name: str, backend: Backend) -> Any:
    """Return the random key for one purpose of a run, such as "train" or a sampler's name.

    >>> stream(7, "hmc", backends.get("numpy")).tolist()
    [-1856662585, -894326561]
    """
    return random.fold_in(random.key(seed, backend), zlib.crc32(name.encode()) & 0x7FFFFFFF)


def plan(target: Target, name: str) -> Plan:
    """Return the plan of one sampler of a recipe.

    >>> from haarflow.run.recipes import load
    >>> plan(target_of(load("u1-tiny")), "hmc").blocks
    4
    """
    settings = target.recipe.samplers[name]
    independent = row_of(settings).draws == "weighted"
    chains, warmup = (getattr(settings, "population", 1), 0) if independent else (settings.chains, settings.warmup)
    tuning = warmup * settings.thin if target_acceptance(settings) else 0
    one = Plan(name, settings, chains, 0 if tuning else warmup, settings.draws, 1, tuning)
    return dataclasses.replace(one, block=_block_draws(target, one))


def _block_draws(target: Target, plan: Plan) -> int:
    """The draws per block: as the recipe says, or as many as keep a block's memory small."""
    if plan.settings.block:
        return int(min(plan.settings.block, plan.total))
    sites = math.prod(target.recipe.lattice)
    if plan.from_flow:
        return max(1, min(plan.total, 2**18 // (sites * plan.chains)))
    numbers = max(sites, sum(math.prod(space.shape) for space in leaves(described(target.theory).spaces)) // 2)
    return max(1, min(-(-plan.total // 10), 2**22 // (numbers * plan.chains * max(rungs_of(plan.settings), 1))))


def card_of(target: Target, condition: Iterable[str] = ()) -> dict[str, Any]:
    """Return what a model card records of its recipe: theory, flow, condition, seed.

    >>> from haarflow.run.recipes import load
    >>> card_of(target_of(load("su3-2d", ["theory.rectangle=-0.331"])))["theory"]["rectangle"]
    -0.331
    """
    recipe = target.recipe
    theory = {"name": target.name, **target.definition, "lattice": list(recipe.lattice), "couplings": target.couplings}
    return {
        "theory": theory,
        "flow": recipe.flow,
        "condition": list(condition),
        "recipe": recipe.name,
        "seed": recipe.seed,
    }


def model_of(target: Target, own: Own = NOTHING) -> AnyModel:
    """Return the recipe's untrained model; raises ValueError where the options of [flow] do not fit together.

    Options of every kind are `mixture`, the number of such models that are mixed, and `symmetrised`, the internal
    symmetries over which the density is averaged.

    The options that the flow's row `takes` come from the theory unless [flow] sets them. Raises TypeError if a custom
    function does not return a model.

    >>> from haarflow.run.recipes import load
    >>> model_of(target_of(load("su3-2d"))).prior
    HaarLinks(lattice=(16, 16), n=3)
    """
    row = own.flows(target.row.family)[str(target.recipe.flow["kind"])]
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in target.recipe.flow.items()}
    kind = str(given.pop("kind"))
    shared: dict[str, Any] = {
        name: given.pop(name) for name in flows.SHARED if name in given and name not in flows.options(row)
    }
    if row.takes:
        known = {name: described(target.theory).part(name) for name in row.takes} | target.couplings
        known = {name: known[name] for name in row.takes if known[name] is not None}
        given = {name: value for name, value in known.items() if name in flows.options(row)} | given

    def one() -> Model:
        return checked_model(kind, flows.constructor(row)(target.recipe.lattice, **given))

    model = mixed(one, int(shared.get("mixture", 1)))
    return symmetrised(model, shared["symmetrised"]) if shared.get("symmetrised") else model


def checked_model(kind: str, model: Any) -> Model:
    """Return what the function of a kind of flow made, or raise TypeError if it is not a `Model`."""
    if not isinstance(model, Model):
        raise TypeError(
            f"{kind} returned {model!r:.60}: a flow is a function of the lattice that returns Model(prior, flow) of "
            "haarflow.flows.flow"
        )
    return model


def _model(setup: Setup) -> AnyModel:
    recipe, backend = setup.recipe, setup.backend
    if recipe.train is not None and not backend.autodiff:
        raise NoAutodiff(
            f"the {backend.name} backend does not support automatic differentiation, which training needs: choose "
            "--backend jax or torch (pip install 'haarflow[jax]'), omit the flow (flow=false and its samplers =false), or "
            "open a trained model (flow=false model=FILE)"
        )
    model = model_of(setup.target, setup.own)
    if recipe.train is not None:
        refuse_discrete(model, ESTIMATORS[recipe.train.estimator])
    names = recipe.train.between if recipe.train else recipe.flow.get("condition", ())
    try_model(setup.target, model, condition={name: setup.target.couplings[name] for name in names} or None)
    return model


def _proposals(target: Target, own: Own) -> dict[str, Proposal]:
    """The trained flows that a recipe opens, by sampler; each file is opened once."""
    opened = {name: _opened(target, own, name) for name in models_of(target.recipe)}
    named = {
        name: model
        for name, settings in target.recipe.samplers.items()
        if (model := _model_named(target.recipe, settings))
    }
    proposals = {name: opened[model] for name, model in named.items()}
    return _as_settings_say(target.recipe, proposals)


def models_of(recipe: Recipe) -> list[str]:
    """Return the names of the models that a recipe's samplers open, each once."""
    found = (_model_named(recipe, settings) for settings in recipe.samplers.values())
    return list(dict.fromkeys(name for name in found if name))


def _model_named(recipe: Recipe, settings: Any) -> str:
    return str(settings.model or recipe.model) if needs_flow(settings) else ""


def _as_settings_say(recipe: Recipe, proposals: dict[str, Proposal]) -> dict[str, Proposal]:
    """The proposals of samplers, those of `symmetrised = false` without the average over images; one object for each model."""
    made: dict[int, Proposal] = {}
    for name, proposal in proposals.items():
        if not averages(recipe.samplers[name]):
            model = bare(proposal.model)
            made.setdefault(id(proposal), proposal if model is proposal.model else proposal._replace(model=model))
    return {
        name: proposal if averages(recipe.samplers[name]) else made[id(proposal)]
        for name, proposal in proposals.items()
    }


def _opened(target: Target, own: Own, name: str, model: AnyModel | None = None) -> Proposal:
    """The flow of a model file; if its untrained form `model` has been tried it is not tried again."""
    opened = opened_model(name, target, own)
    names = opened.card.get("condition") or ()
    if not isinstance(names, list | tuple) or not set(map(str, names)) <= target.couplings.keys():
        raise ValueError(
            f"{name} is conditioned on {names!r:.60}, which are not couplings of {target.name}: open another"
        )
    if not target.recipe.extrapolate:
        refuse_extrapolation(name, opened.card, target.couplings)
        if model is None:
            for part in components(opened.model):
                refuse_other_couplings(name, part.flow, target.couplings)
    condition = {coupling: target.couplings[coupling] for coupling in names} or None
    if model is None:
        try_model(target, opened.model, opened.params, condition)
    return Proposal(opened.model, opened.params, condition)


def _check_integration(setup: Setup) -> None:
    """Refuse Metropolis steps with a flow whose log-determinant is not exact enough for the number of draws."""
    found: dict[int, IntegrationError] = {}
    for name, proposal in setup.proposals.items():
        entry, (model, params, condition) = setup.plans[name], proposal
        if (
            row_of(entry.settings).draws == "weighted"
            or not isinstance(model, Model)
            or not traits(model.flow).integrated
        ):
            continue  # the flows of a mixture have exact log-determinants
        if id(proposal) not in found:
            x = model.prior.sample(random.key(0, backends.get("numpy")), CHECKED, precision(params))
            found[id(proposal)] = measured(model, params, setup.target.theory, x, setup.target.couplings, condition)
        off, draws = found[id(proposal)], entry.chains * entry.draws
        if not off.allowed(draws):
            exact = "flow.scheme = 'masked', which is exact, " if hasattr(model.flow, "scheme") else ""  # that of loops
            raise ValueError(
                f"samplers.{name}: log w of this flow in continuous time is off by {off.spread:.2g} from draw to draw, and "
                f"Metropolis with {draws} draws wants less than a tenth of their statistical error: take {exact}"
                f"flow.steps {off.factor(draws)} times as large, or flow-reweighting, which corrects for it"
            )


def _kernels(setup: Setup) -> dict[str, Kernel]:
    """The kernels of all chains that need no flow or whose flow is trained, on the run's backend."""
    kernels = dict(setup.kernels)
    for name, entry in setup.plans.items():
        proposal = setup.proposals.get(name)
        if name in kernels or entry.from_flow or (needs_flow(entry.settings) and proposal is None):
            continue
        if "hmc" in kernels_of(entry.settings):
            check_force(name, described(setup.target.theory).part("marginal") or setup.target.theory, setup.backend)
        if proposal is not None:
            proposal = proposal._replace(params=tree_map(setup.backend.asarray, proposal.params))
        kernels[name] = kernel(setup.target.theory, setup.target.couplings, entry.settings, proposal)
    return kernels


def try_theory(target: Target, backend: Backend) -> None:
    """Compute the action and the observables of two fields, so that mistakes in a custom theory show before the run.

    Raises what the theory raises, and ValueError for values of the wrong shape and for a complex action.
    """
    fields = target.hot_start(random.key(0, backend), 2, backend.dtype)
    name = described(target.theory).name
    actions = target.theory.action(fields, target.couplings)
    if _shape(actions) != (2,):
        raise ValueError(
            f"{name}.action returned {_named_shape(actions)} for two fields: sum over all axes of the field except the "
            "batch, so that each field has one number"
        )
    if numpy.iscomplexobj(backend.to_numpy(actions)):
        raise ValueError(
            f"{name}.action is complex, and a run needs real weights: draw from Python with haarflow.flows.sampling.draws.draw, "
            "whose draws have a phase"
        )
    for observable, values in observables_of(target.theory)(fields, target.couplings).items():
        if _shape(values)[:1] != (2,):
            raise ValueError(
                f"the observable {observable!r} of {name} is {_named_shape(values)} for two fields: wanted (2,) or (2, n)"
            )


def _shape(values: Any) -> tuple[int, ...]:
    return tuple(numpy.shape(values))


def _named_shape(values: Any) -> str:
    return f"an array of shape {_shape(values)}" if _shape(values) else f"the single number {float(values):.6g}"


def try_model(target: Target, model: AnyModel, params: Any = None, condition: dict[str, float] | None = None) -> None:
    """Draw one configuration and its weight on NumPy, so that a model that does not fit shows before the run.

    Raises what the model or the theory raises, and ValueError for a field or log density of the wrong shape.
    """
    key = random.key(0, backends.get("numpy"))
    params = model.init(key) if params is None else params
    for part, own in zip(components(model), parameters(model, params), strict=True):
        _try_component(target, part, own, condition)


def _try_component(target: Target, model: Model, params: Any, condition: dict[str, float] | None) -> None:
    key, offered = random.key(0, backends.get("numpy")), described(target.theory)
    if model.images is not None:
        model.images.check(model.group, tuple(target.recipe.lattice))
    refuse_other_factors(model.flow, offered.part("hasenbusch") or ())
    x = model.prior.sample(key, 1, precision(params))
    mapped = model.flow.forward(params, x, condition)
    if wrong := misshapen("forward", mapped, x):
        raise ValueError(
            f"the flow {type(model.flow).__name__} does not fit the lattice {list(target.recipe.lattice)}: {wrong}"
        )
    field, log_q = mapped[0], model.prior.log_density(x) - mapped[1]
    try:
        batch = batch_shape(offered.spaces, field, offered.name)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the flow does not fit the lattice {list(target.recipe.lattice)}: {error}") from None
    if batch != (1,) or tuple(log_q.shape) != (1,):
        raise ValueError(
            f"the flow does not fit {offered.name} on the lattice {list(target.recipe.lattice)}: one draw has the batch {batch}, "
            f"and its log density the shape {tuple(log_q.shape)}, wanted (1,) of both"
        )
    target.theory.action(field, target.couplings)
