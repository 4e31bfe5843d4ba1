"""Where paths start: from a density that is drawn from exactly, or from a Markov chain in equilibrium at other couplings.

A start is a frozen dataclass with `init(key, dtype) -> params` and `draw(params, key, n, population, theory, couplings)
-> (x, log_w)`: n fields of which each `population` in turn may depend on one another, and their log weights under
e^{-S} at the couplings where the path starts. The mean weight is Z there for a density, and 1 for a chain: ln Z of a
path from a chain is ln Z_1/Z_0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Couplings, Key, Params, Theory, Tree
from haarflow.core import random
from haarflow.core.acceleration import accelerated
from haarflow.core.chains.kernel import Kernel
from haarflow.core.groups.matrices import precision
from haarflow.core.parts import described
from haarflow.flows.proposals import Density, log_weight
from haarflow.flows.stochastic.values import at_couplings, on_backend


class Start(Protocol):
    """What a path needs of its start."""

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the numbers of the start on the key's backend."""
        ...

    def draw(
        self, params: Params, key: Key, n: int, population: int, theory: Theory, couplings: Couplings
    ) -> tuple[Tree, Array]:
        """Return n fields and their log weights `(n,)`."""
        ...

    def weigh(self, params: Params, x: Tree, theory: Theory, couplings: Couplings) -> Array:
        """Return the log weights `(n,)` of given fields."""
        ...


@dataclass(frozen=True)
class FromPrior:
    """Independent fields of a prior, log_w = -S(x) - log r(x): uniform or Haar links, a free field.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.priors import UniformLinks
    >>> from haarflow.theories import U1Gauge
    >>> start = FromPrior(UniformLinks((4, 4)))
    >>> key = random.key(0, backend)
    >>> bool((start.draw(start.init(key), key, 3, 1, U1Gauge((4, 4)), {"beta": 0.0})[1] == 0.0).all())
    True
    """

    prior: Any

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return a zero that carries the precision."""
        return {"numbers": on_backend(0.0, key, dtype)}

    def draw(
        self, params: Params, key: Key, n: int, population: int, theory: Theory, couplings: Couplings
    ) -> tuple[Tree, Array]:
        """Return n independent fields."""
        x = self.prior.sample(key, n, precision(params["numbers"]))
        return x, self.weigh(params, x, theory, couplings)

    def weigh(self, params: Params, x: Tree, theory: Theory, couplings: Couplings) -> Array:
        """Return the log weights of given fields."""
        return log_weight(accelerated(theory).action(x, couplings), self.prior.log_density(x))


@dataclass(frozen=True)
class FromModel:
    """Independent draws of a model, such as a trained flow, with its parameters: log_w = -S(x) - log q(x)."""

    model: Density
    params: Params = field(default=None, compare=False)
    condition: Any = field(default=None, compare=False)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the model's parameters and what it is conditioned on."""
        return {"model": on_backend(self.params, key, dtype), "condition": on_backend(self.condition, key, dtype)}

    def draw(
        self, params: Params, key: Key, n: int, population: int, theory: Theory, couplings: Couplings
    ) -> tuple[Tree, Array]:
        """Return n independent draws."""
        x, log_q = self.model.sample(params["model"], key, n, params["condition"])
        return x, log_weight(accelerated(theory).action(x, couplings), log_q)

    def weigh(self, params: Params, x: Tree, theory: Theory, couplings: Couplings) -> Array:
        """Return the log weights of given fields, by one inverse pass."""
        log_q = self.model.log_density(params["model"], x, params["condition"])
        return log_weight(accelerated(theory).action(x, couplings), log_q)


@dataclass(frozen=True)
class FromChain:
    """Configurations of Markov chains at the couplings of the start, one chain for each population, all of weight 1.

    A chain begins with links of Haar's measure or normal scalars, makes `warmup` steps, and then gives a configuration
    after each `between` steps. Configurations of a chain are correlated: a population is one draw of the error bars.
    Raises ValueError for warmup or between < 1.
    """

    kernel: Kernel
    warmup: int = 100
    between: int = 1

    def __post_init__(self) -> None:
        if min(self.warmup, self.between) < 1:
            raise ValueError(
                f"a chain from which paths start has warmup >= 1 and between >= 1, got {self.warmup} and {self.between}"
            )

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the kernel's numbers."""
        return {"numbers": on_backend(0.0, key, dtype), "values": on_backend(self.kernel.values, key, dtype)}

    def draw(
        self, params: Params, key: Key, n: int, population: int, theory: Theory, couplings: Couplings
    ) -> tuple[Tree, Array]:
        """Return `population` configurations of each of n / population chains, one chain after the other."""
        backend = backends.of(key)
        kernel = self.kernel.with_values(at_couplings(params["values"], couplings))
        space = described(theory).spaces
        dtype = precision(params["numbers"])
        shape = (n // population, *space.shape)
        draw = space.group.algebra_normal if space.group.name in ("Real", "Complex") else space.group.haar
        begun = draw(random.fold_in(key, 0), shape, dtype)
        steps = random.fold_in(key, 1)

        def several(x: Tree, first: Array, count: int) -> Tree:
            def one(x: Tree, number: Array) -> tuple[Tree, None]:
                return kernel.step(random.fold_in(steps, first + number), kernel.init(x))[0].field, None

            return backend.scan(one, x, random.indices(key, count))[0]

        def kept(x: Tree, number: Array) -> tuple[Tree, Tree]:
            x = several(x, self.warmup + number * self.between, self.between)
            return x, x

        warm = several(begun, 0 * random.indices(key, 1)[0], self.warmup)
        _, rows = backend.scan(kept, warm, random.indices(key, population))
        x = tree_map(_chain_after_chain, rows)
        return x, self.weigh(params, x, theory, couplings)

    def weigh(self, params: Params, x: Tree, theory: Theory, couplings: Couplings) -> Array:
        """Return zeros: ln Z counts from the couplings of the start."""
        return 0.0 * accelerated(theory).action(x, couplings)


def _chain_after_chain(rows: Array) -> Array:
    """Rows `(draw, chain, ...)` as `(chain draw, ...)`."""
    xp = array_namespace(rows)
    return xp.reshape(xp.moveaxis(rows, 0, 1), (-1, *rows.shape[2:]))
