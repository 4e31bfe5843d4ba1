"""Theories with compiled kernels beside their array code: a record of both, and the function that makes it.

What a theory means is said by array code alone. `accelerated(theory)` is the same theory with kernels for the host's
memory, where somebody has written some, and the theory itself elsewhere. The kernels agree with the array code to rounding,
and answer None for arrays that they do not serve (other precisions, accelerators, traced derivatives).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial, singledispatch
from typing import Any

from haarflow.backends.types import Array, Couplings

Kernel = Callable[..., Any]


def no_kernel(*given: Any) -> None:
    """Return None: there is no kernel."""


@dataclass(frozen=True)
class Kernels:
    """Functions that take the plain theory first and return None for arrays that they do not serve.

    action, force, observables: (theory, field, couplings); plaquettes: (theory, field);
    evolve: (theory, field, momentum, scheme, step_size, steps, couplings) -> (field, momentum, change of the action);
    sweep: (theory, key, links, coupling, tries, overrelaxation, by_arrays) -> (links, failed), a heat bath's sweeps.
    """

    action: Kernel = no_kernel
    force: Kernel = no_kernel
    observables: Kernel = no_kernel
    plaquettes: Kernel = no_kernel
    evolve: Kernel = no_kernel
    sweep: Kernel = no_kernel


NO_KERNELS = Kernels()


@dataclass(frozen=True)
class Accelerated:
    """A theory with kernels; all else is that of `plain`, by which it is compared.

    >>> from haarflow.theories import U1Gauge
    >>> theory = Accelerated(U1Gauge((4, 4)), Kernels())
    >>> theory.d, theory == Accelerated(U1Gauge((4, 4)), Kernels()), theory == U1Gauge((4, 4))
    (2, True, False)
    """

    plain: Any
    kernels: Kernels = field(compare=False, repr=False)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the plain theory."""
        if name.startswith("_") or name in ("plain", "kernels"):  # while a copy is made there is no plain theory yet
            raise AttributeError(name)
        return getattr(self.plain, name)

    @property
    def name(self) -> str:
        """The plain theory's name."""
        return type(self.plain).__name__

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S of the batch's shape."""
        found = self.kernels.action(self.plain, field, couplings)
        return self.plain.action(field, couplings) if found is None else found

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return F = dS along the group."""
        found = self.kernels.force(self.plain, field, couplings)
        return self.plain.force(field, couplings) if found is None else found

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the per-configuration values by name."""
        measured: dict[str, Array] | None = self.kernels.observables(self.plain, field, couplings)
        if measured is None:
            measured = self.plain.observables(field, couplings)
        return measured

    def plaquettes(self, field: Array) -> Array:
        """Return the plaquettes of links."""
        found = self.kernels.plaquettes(self.plain, field)
        return self.plain.plaquettes(field) if found is None else found


@singledispatch
def accelerated(theory: Any) -> Any:
    """Return the theory with its compiled kernels, or itself where there are none.

    >>> from haarflow.theories import U1Gauge
    >>> accelerated(U1Gauge((4, 4))).lattice
    (4, 4)
    """
    return theory


def kernels_of(theory: Any) -> Kernels:
    """Return the kernels of a theory with those filled in that it lacks, each ready to be called without the theory.

    >>> kernels_of(None).sweep("any", "arguments") is None
    True
    """
    made = accelerated(theory)
    return _bound(made.plain, made.kernels) if isinstance(made, Accelerated) else NO_KERNELS


@lru_cache(maxsize=256)
def _bound(theory: Any, kernels: Kernels) -> Kernels:
    """The kernels with the theory put in: samplers ask for them at every step."""
    return Kernels(**{name: partial(kernel, theory) for name, kernel in vars(kernels).items()})
