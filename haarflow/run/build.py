"""A recipe becomes the objects of a run, once: backend, target, flow, kernels and plans, all checked before a byte is written.

Every random number of a run comes from its seed through `stream(seed, name)`, a key for each purpose by name, so that
leaving one sampler out of a recipe changes nothing in the others.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from haarflow import __version__, backends
from haarflow.backends import Backend, NoAutodiff
from haarflow.backends.tree import leaves, tree_map
from haarflow.backends.types import Array
from haarflow.core import random
from haarflow.core.chains.kernel import Kernel
from haarflow.core.parts import described
from haarflow.flows import catalogue as flows
from haarflow.flows.flow import Model
from haarflow.flows.modelfile import versions
from haarflow.run.models import opened_model
from haarflow.run.own import NOTHING, Own, check_force
from haarflow.run.samplers import Proposal, kernel, kernels_of, needs_flow, row_of
from haarflow.run.settings import Recipe
from haarflow.run.target import Target, target_of
from haarflow.theories.theory import checked, field_shape


@dataclass(frozen=True)
class Plan:
    """How one sampler's draws are cut: chains, draws dropped and kept, draws a block."""

    name: str
    settings: Any
    chains: int
    warmup: int
    draws: int
    block: int

    @property
    def total(self) -> int:
        """Draws of a chain, warm-up included."""
        return self.warmup + self.draws

    @property
    def blocks(self) -> int:
        """Blocks of a chain."""
        return -(-self.total // self.block)

    @property
    def from_flow(self) -> bool:
        """Whether the draws are a flow's, independent of each other, and not steps of a Markov chain."""
        return row_of(self.settings).draws != "chain"


@dataclass(frozen=True)
class Setup:
    """All that a recipe says, as objects; made by `build`, and by `trained` once the run's own flow is there.

    `model` is the untrained flow of [flow], None where there is none. `proposals` and `kernels` are by sampler; those that
    wait for the run's own flow are not in them yet.
    """

    target: Target
    backend: Backend
    own: Own
    model: Model | None
    plans: dict[str, Plan]
    proposals: dict[str, Proposal]
    kernels: dict[str, Kernel]

    @property
    def recipe(self) -> Recipe:
        """The recipe, its backend named."""
        return self.target.recipe

    def stream(self, name: str) -> Array:
        """Return the key of one purpose on the run's backend."""
        return stream(self.recipe.seed, name, self.backend)


def build(recipe: Recipe, own: Own = NOTHING) -> Setup:
    """Return the set-up of a run.

    Raises ValueError for couplings, lattice or masks that do not fit, NoAutodiff where this backend cannot train.

    >>> from haarflow.run.recipes import load
    >>> setup = build(load("u1-tiny", run__backend="numpy", flow=False, train=False, samplers={"hmc": {}}))
    >>> setup.target.theory, setup.target.couplings, sorted(setup.kernels)
    (Accelerated(plain=U1Gauge(lattice=(4, 4))), {'beta': 1.0}, ['hmc'])
    """
    target = target_of(resolved(recipe))
    backend = backends.get(target.recipe.run.backend, target.recipe.run.device or None, target.recipe.run.dtype)
    checked(target.theory, target.couplings)
    backend.asarray([0.0])
    plans = {name: plan(target, name) for name in recipe.samplers}
    proposals = _proposals(target, own)
    setup = Setup(target, backend, own, None, plans, proposals, {})
    setup = dataclasses.replace(setup, kernels=_kernels(setup))
    return dataclasses.replace(setup, model=_model(setup)) if recipe.flow else setup


def trained(setup: Setup, path: Path) -> Setup:
    """Return the set-up with the run's own flow, opened from its model file."""
    proposal = _opened(setup.target, setup.own, str(path), setup.model)
    waiting = {name for name, entry in setup.recipe.samplers.items() if needs_flow(entry)} - setup.proposals.keys()
    setup = dataclasses.replace(setup, proposals={**setup.proposals, **dict.fromkeys(waiting, proposal)})
    return dataclasses.replace(setup, kernels=_kernels(setup))


def resolved(recipe: Recipe) -> Recipe:
    """Return the recipe with its backend named and the versions that matter to its numbers.

    An empty backend means the first present of jax, torch, and numpy where neither is there.
    """
    name = recipe.run.backend or next((name for name in ("jax", "torch") if backends.is_present(name)), "numpy")
    found = versions()
    found |= {"haarflow": __version__, "h5py": metadata.version("h5py")}
    matter = ("haarflow", "python", "numpy", "numba", "array-api-compat", "h5py", name)
    there = {word: found[word] for word in matter if word in found}
    return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, backend=name), versions=there)


def stream(seed: int, name: str, backend: Backend) -> Any:
    """Return the key of one purpose of a run, such as "train" or a sampler's name.

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
    chains, warmup = getattr(settings, "chains", 1), getattr(settings, "warmup", 0)
    one = Plan(name, settings, chains, warmup, settings.draws, 1)
    return dataclasses.replace(one, block=_block_draws(target, one))


def _block_draws(target: Target, plan: Plan) -> int:
    """The draws of a block: the recipe's word, or as many as keep a block's memory small."""
    if plan.settings.block:
        return int(min(plan.settings.block, plan.total))
    sites = math.prod(target.recipe.lattice)
    if plan.from_flow:
        return max(1, min(plan.total, 2**18 // (sites * plan.chains)))
    numbers = max(sites, sum(math.prod(space.shape) for space in leaves(described(target.theory).spaces)) // 2)
    return max(1, min(-(-plan.total // 10), 2**22 // (numbers * plan.chains)))


def card_of(target: Target, condition: Iterable[str] = ()) -> dict[str, Any]:
    """Return what a model's card says of its recipe: theory, flow, condition, seed.

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


def model_of(target: Target, own: Own = NOTHING) -> Model:
    """Return the recipe's untrained model; raises ValueError where its words do not fit together.

    What the flow's row `takes` comes from the theory, unless [flow] says otherwise.

    >>> from haarflow.run.recipes import load
    >>> model_of(target_of(load("su3-2d"))).prior
    HaarLinks(lattice=(16, 16), n=3)
    """
    row = own.flows(target.row.family)[str(target.recipe.flow["kind"])]
    words = {name: tuple(value) if isinstance(value, list) else value for name, value in target.recipe.flow.items()}
    del words["kind"]
    if row.takes:
        told = {name: getattr(target.theory, name) for name in row.takes if hasattr(target.theory, name)}
        told = {name: value for name, value in (told | target.couplings).items() if name in row.takes}
        words = {name: value for name, value in told.items() if name in flows.options(row)} | words
    return flows.constructor(row)(target.recipe.lattice, **words)


def _model(setup: Setup) -> Model:
    recipe, backend = setup.recipe, setup.backend
    if recipe.train is not None and not backend.autodiff:
        raise NoAutodiff(
            f"training needs automatic differentiation, which {backend.name} does not have: choose --backend jax or "
            "torch (pip install 'haarflow[jax]'), leave the flow out (flow=false and its samplers), or open a trained "
            "model (flow=false model=FILE)"
        )
    model = model_of(setup.target, setup.own)
    words = recipe.train.between if recipe.train else recipe.flow.get("condition", ())
    try_model(setup.target, model, condition={name: setup.target.couplings[name] for name in words} or None)
    return model


def _proposals(target: Target, own: Own) -> dict[str, Proposal]:
    """The flows that a recipe opens, each file once, by sampler."""
    opened: dict[str, Proposal] = {}
    found = {}
    for name, settings in target.recipe.samplers.items():
        word = getattr(settings, "model", "") or target.recipe.model
        if needs_flow(settings) and word:
            opened[word] = opened.get(word) or _opened(target, own, word)
            found[name] = opened[word]
    return found


def _opened(target: Target, own: Own, name: str, model: Model | None = None) -> Proposal:
    """A model file's flow; one whose untrained form `model` has been tried is not tried again."""
    found = opened_model(name, target, own)
    condition = {word: target.couplings[word] for word in found.card.get("condition", ())} or None
    if model is None:
        try_model(target, found.model, found.params, condition)
    return Proposal(found.model, found.params, condition)


def _kernels(setup: Setup) -> dict[str, Kernel]:
    """The kernels of all chains whose flow is there, on the run's backend."""
    found = dict(setup.kernels)
    for name, entry in setup.plans.items():
        proposal = setup.proposals.get(name)
        if name in found or entry.from_flow or (needs_flow(entry.settings) and proposal is None):
            continue
        if "hmc" in kernels_of(entry.settings):
            check_force(name, setup.target.theory, setup.backend)
        if proposal is not None:
            proposal = proposal._replace(params=tree_map(setup.backend.asarray, proposal.params))
        found[name] = kernel(setup.target.theory, setup.target.couplings, entry.settings, proposal)
    return found


def try_model(target: Target, model: Model, params: Any = None, condition: dict[str, float] | None = None) -> None:
    """Draw and weigh one configuration on NumPy, so that what does not fit shows before anything is written.

    Raises what the model or the theory raises, and ValueError for a field or density of the wrong shape.
    """
    host, shape = backends.get("numpy"), field_shape(target.theory)
    key = random.key(0, host)
    field, log_q = model.sample(model.init(key) if params is None else params, key, 1, condition)
    if tuple(field.shape) != (1, *shape) or tuple(log_q.shape) != (1,):
        raise ValueError(
            f"the model does not fit the lattice {list(target.recipe.lattice)}: one draw has the shape "
            f"{tuple(field.shape[1:])}, wanted {shape}, and its log-density {tuple(log_q.shape)}, wanted (1,)"
        )
    target.theory.action(field, target.couplings)
