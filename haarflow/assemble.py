"""From a recipe's words to the library's objects: theory, flow, kernels, keys. Here a theory meets a flow.

Every random number of a run comes from its seed through `stream(seed, name)`, a key for each purpose by name, so that
leaving one sampler out of a recipe changes nothing in the others.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

from haarflow import backends, theories
from haarflow.architectures import constructor, options
from haarflow.core import random
from haarflow.core.heatbath import HeatBath
from haarflow.core.heatbath_sun import SubgroupHeatBath
from haarflow.core.hmc import HMC
from haarflow.core.integrators import SCHEMES
from haarflow.core.kernels import Cycle, Kernel
from haarflow.core.metropolis import IndependenceMetropolis, LocalMetropolis
from haarflow.flows.flow import Model
from haarflow.flows.priors import Gaussian
from haarflow.settings import DEFINITION, FAMILIES, Recipe

# recipe's name -> theory of a lattice and of the words that define it
THEORIES: dict[str, Any] = {
    "u1": theories.U1Gauge,
    "su2": partial(theories.Wilson, n=2),
    "su3": partial(theories.Wilson, n=3),
    "su4": partial(theories.Wilson, n=4),
    "sun": theories.Wilson,
    "phi4": theories.Phi4,
    "phi4-hopping": partial(theories.Phi4, parameterisation="hopping"),
}


def theory_of(recipe: Recipe) -> Any:
    """Return the theory on the recipe's lattice, with its compiled kernels where there are some.

    >>> from haarflow.recipes import load
    >>> theory_of(load("u1-tiny")).lattice
    (4, 4)
    """
    return theories.accelerated(THEORIES[recipe.theory.name](recipe.lattice, **definition_of(recipe)))


def definition_of(recipe: Recipe) -> dict[str, Any]:
    """Return the words of [theory] that are no couplings but say which theory it is, as far as they say something.

    >>> from haarflow.recipes import load
    >>> definition_of(load("su3-2d", ["theory.rectangle=-0.331"]))
    {'rectangle': -0.331}
    """
    return {name: value for name, value in dataclasses.asdict(recipe.theory).items() if name in DEFINITION and value}


def couplings_of(recipe: Recipe) -> dict[str, float]:
    """Return the recipe's couplings by name.

    >>> from haarflow.recipes import load
    >>> couplings_of(load("u1-tiny"))
    {'beta': 1.0}
    """
    table = dataclasses.asdict(recipe.theory)
    return {name: float(value) for name, value in table.items() if name not in ("name", *DEFINITION)}


def model_of(recipe: Recipe) -> Model:
    """Return the recipe's untrained model; raises ValueError where its words do not fit together.

    A flow of SU(N) links takes from the theory what it wants to know of it, N and beta, unless [flow] says otherwise.

    >>> from haarflow.recipes import load
    >>> model_of(load("su3-2d")).prior
    HaarLinks(lattice=(16, 16), n=3)
    """
    flow, family = dict(recipe.flow), FAMILIES[recipe.theory.name]
    kind = flow.pop("kind")
    words = {name: tuple(value) if isinstance(value, list) else value for name, value in flow.items()}
    if family == "sun":
        told = {"n": theory_of(recipe).n, **definition_of(recipe), **couplings_of(recipe)}
        words = {name: value for name, value in told.items() if name in options(family, kind)} | words
    return constructor(family, kind)(recipe.lattice, **words)


def card_of(recipe: Recipe, condition: Iterable[str] = ()) -> dict[str, Any]:
    """Return what a model's card says of its recipe: theory, flow, condition, seed.

    >>> from haarflow.recipes import load
    >>> card_of(load("su3-2d", ["theory.rectangle=-0.331"]))["theory"]["rectangle"]
    -0.331
    """
    theory = {"name": recipe.theory.name, **definition_of(recipe), "lattice": list(recipe.lattice)}
    return {
        "theory": {**theory, "couplings": couplings_of(recipe)},
        "flow": recipe.flow,
        "condition": list(condition),
        "recipe": recipe.name,
        "seed": recipe.seed,
    }


def try_model(recipe: Recipe, model: Model, params: Any = None, condition: dict[str, float] | None = None) -> None:
    """Draw and weigh one configuration on NumPy, so that what does not fit shows before anything is written.

    Raises what the model or the theory raises, and ValueError for a field or density of the wrong shape.
    """
    host, theory = backends.get("numpy"), theory_of(recipe)
    key = random.key(0, host)
    field, log_q = model.sample(model.init(key) if params is None else params, key, 1, condition)
    if tuple(field.shape) != (1, *theory.field_shape) or tuple(log_q.shape) != (1,):
        raise ValueError(
            f"the model does not fit the lattice {list(recipe.lattice)}: one draw has the shape {tuple(field.shape[1:])}, "
            f"wanted {tuple(theory.field_shape)}, and its log-density {tuple(log_q.shape)}, wanted (1,)"
        )
    theory.action(field, couplings_of(recipe))


def stream(seed: int, name: str, backend: backends.Backend) -> Any:
    """Return the key of one purpose of a run, such as "train" or a sampler's name.

    >>> stream(7, "hmc", backends.get("numpy")).tolist()
    [-1856662585, -894326561]
    """
    return random.fold_in(random.key(seed, backend), zlib.crc32(name.encode()) & 0x7FFFFFFF)


def hot_start(recipe: Recipe, key: Any, chains: int, dtype: str) -> Any:
    """Return disordered fields to start chains from, one for each chain.

    A scalar field is as wide as its quartic term lets it be, lam sigma^4 = 1/4 at most: from far out, where the force
    grows as phi^3, no step of HMC is ever accepted.
    """
    theory = theory_of(recipe)
    if theory.group.name != "Real":
        return theory.group.haar(key, (chains, *theory.field_shape), dtype)
    lam = couplings_of(recipe)["lam"]
    sigma = min(1.0, (4.0 * lam) ** -0.25) if lam > 0 else 1.0
    return Gaussian(recipe.lattice, sigma).sample(key, chains, dtype)


def kernel_of(recipe: Recipe, sampler: Any, flow: tuple[Any, Any, Any] | None) -> Kernel:
    """Return the Markov kernel of a sampler's settings; `flow` is (model, params, condition) for a mixture."""
    parts = sampler.kernels if sampler.kind == "cycle" else (sampler.kind,)
    kernels = tuple(_kernel(part, recipe, sampler, flow) for part in parts)
    return kernels[0] if len(kernels) == 1 else Cycle(kernels)


def _kernel(part: str, recipe: Recipe, sampler: Any, flow: tuple[Any, Any, Any] | None) -> Kernel:
    theory, couplings = theory_of(recipe), couplings_of(recipe)
    if part == "hmc":
        values = {"couplings": couplings, "step_size": sampler.step_size}
        return HMC(theory, SCHEMES[sampler.scheme], sampler.steps, values=values)
    if part == "heatbath":
        kind = HeatBath if theory.group.name == "U1" else SubgroupHeatBath
        return kind(theory, overrelaxation=getattr(sampler, "overrelaxation", 0), values={"couplings": couplings})
    if part == "metropolis":
        return LocalMetropolis(theory, values={"couplings": couplings, "width": sampler.width})
    if flow is None:
        raise ValueError("a flow's kernel needs a model, and this recipe has none")
    model, params, condition = flow
    values = {"params": params, "couplings": couplings} | ({} if condition is None else {"condition": condition})
    return IndependenceMetropolis(model, theory, values=values)


@lru_cache(maxsize=16)
def measure_of(theory: Any, couplings: tuple[tuple[str, float], ...], with_field: bool = False) -> Any:
    """Return the function that measures a field, the same object for the same theory, so that it compiles once.

    It returns the theory's observables, and with `with_field` the pair (observables, field).
    """

    def measure(field: Any) -> Any:
        found = theory.observables(field, dict(couplings))
        return (found, field) if with_field else found

    return measure


def block_draws(recipe: Recipe, sampler: Any, chains: int, total: int) -> int:
    """Return the draws of a block: the recipe's word, or as many as keep a block's memory small.

    >>> from haarflow.recipes import load
    >>> recipe = load("u1-tiny")
    >>> block_draws(recipe, recipe.samplers["hmc"], 16, 200)
    50
    """
    if sampler.block:
        return min(sampler.block, total)
    sites = math.prod(recipe.lattice)
    if sampler.kind.startswith("flow-"):
        return max(1, min(total, 2**18 // (sites * chains)))
    numbers = max(sites, math.prod(theory_of(recipe).field_shape) // 2)
    return max(1, min(-(-total // 10), 2**22 // (numbers * chains)))
