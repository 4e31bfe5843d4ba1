"""Laws of molecular dynamics: reversibility to rounding, the order of the scheme, the kinetic energy of the momenta."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Kernel, Theory, Tree
from haarflow.core.chains.integrators import Scheme
from haarflow.core.chains.involution import Image
from haarflow.core.laws.law import EPSILON, Verdict, judge, largest, precision_of, to_host


@runtime_checkable
class MolecularDynamics(Kernel, Hashable, Protocol):
    """A kernel whose proposal is a trajectory; `isinstance` asks for these members."""

    @property
    def theory(self) -> Theory:
        """The theory whose action gives the force."""
        ...

    @property
    def scheme(self) -> Scheme:
        """The drifts and kicks of one step."""
        ...

    @property
    def steps(self) -> int:
        """The number of steps."""
        ...

    def trajectory(self, field: Array, momentum: Array, /) -> tuple[Array, Array, Array]:
        """Return the field, the momentum and the change of the action at the end."""
        ...

    def energy_change(self, field: Tree, momentum: Tree, image: Image, /) -> Array:
        """Return the change of the kinetic energy."""
        ...


@lru_cache(maxsize=64)
def _moved(definition: MolecularDynamics, jit: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled (values, field, momentum) -> (field, momentum, dH) of a kernel with a trajectory."""

    def moved(values: Tree, field: Array, momentum: Array) -> Any:
        kernel = definition.with_values(values)
        new, final, change = kernel.trajectory(field, momentum)
        return new, final, change + kernel.energy_change(field, momentum, Image(new, -final))

    result: Callable[..., Any] = jit(moved)
    return result


def _trajectory(
    kernel: MolecularDynamics, field: Array, momentum: Array, step_size: float | None = None
) -> tuple[Any, ...]:
    values = kernel.values if step_size is None else {**kernel.values, "step_size": step_size}
    result: tuple[Any, ...] = _moved(kernel.with_values(None), backends.of(field).jit)(values, field, momentum)
    return result


def reversible(kernel: MolecularDynamics, field: Array, momentum: Array) -> Verdict:
    """A trajectory, a momentum flip and the same trajectory return to the start: (U', -w') -> (U, -w).

    The tolerance is the rounding of both trajectories times the measured growth of a small perturbation along them.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> hmc = HMC(Phi4((2, 2)), steps=3, values={"couplings": {"m2": 2.0, "lam": 0.5}, "step_size": 0.2})
    >>> reversible(hmc, numpy.ones((1, 2, 2)), numpy.ones((1, 2, 2))).passed
    True
    """
    new, final, _ = _trajectory(kernel, field, momentum)
    back, turned, _ = _trajectory(kernel, new, -final)
    residual = max(_distance(kernel, back, field), largest(to_host(turned) + to_host(momentum)))
    growth = _growth(kernel, field, momentum, new, final)
    size = max(1.0, *map(largest, (field, momentum, new, final)))
    operations = 2 * kernel.steps * (len(kernel.scheme.kicks) + len(kernel.scheme.drifts))
    tolerance = operations * EPSILON[precision_of(field)] * growth * size
    reason = f"{operations} drifts and kicks; a perturbation grows by {growth:.3g}"
    return judge(reversible, residual, tolerance, reason, field=field, momentum=momentum)


def _growth(kernel: MolecularDynamics, field: Array, momentum: Array, new: Array, final: Array) -> float:
    """The growth of a perturbation of size sqrt(epsilon) along the trajectory, at least 1."""
    small = math.sqrt(EPSILON[precision_of(field)])
    wave = numpy.where(numpy.arange(math.prod(momentum.shape)) % 3 == 1, -1.0, 1.0).reshape(momentum.shape)
    bump = backends.of(field).asarray(small * wave, dtype=precision_of(field))
    moved, turned, _ = _trajectory(kernel, kernel.theory.group.update(field, bump), momentum + bump)
    grown = max(_distance(kernel, moved, new), largest(to_host(turned) - to_host(final)))
    return max(1.0, grown / small)


def _distance(kernel: MolecularDynamics, a: Array, b: Array) -> float:
    """The largest entry of a b^{-1} - 1: angles on either side of the cut are close."""
    group = kernel.theory.group
    ratio = group.quotient(a, b)
    return largest(to_host(ratio) - to_host(group.identity(ratio)))


def energy_order(kernel: MolecularDynamics, field: Array, momentum: Array, divisions: tuple[int, ...]) -> Verdict:
    """The energy violation at a fixed trajectory length falls as h^order, fitted over step sizes.

    The kernel's step size is divided by each of at least three increasing `divisions` and its trajectory repeated as
    often, so that one compiled trajectory serves them all. The root mean square of dH over the batch is fitted on the
    log scale; corrections fall as h^2, and their size is estimated by the change of the slope between pairs of step sizes.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> hmc = HMC(Phi4((2, 2)), steps=3, values={"couplings": {"m2": 2.0, "lam": 0.5}, "step_size": 0.2})
    >>> x = numpy.random.default_rng(0).normal(size=(2, 16, 2, 2))
    >>> energy_order(hmc, x[0], x[1], (4, 8, 16)).passed
    True
    """
    sizes = [largest(kernel.values["step_size"]) / division for division in divisions]
    rms = [_violation(kernel, field, momentum, size, count) for size, count in zip(sizes, divisions, strict=True)]
    slopes = [math.log(rms[i] / rms[i + 1]) / math.log(sizes[i] / sizes[i + 1]) for i in range(len(sizes) - 1)]
    change = abs(slopes[-1] - slopes[-2])
    reason = f"slopes {', '.join(f'{slope:.2f}' for slope in slopes)}: 0.1 plus the change between the last two"
    if change > 0.4:
        return judge(energy_order, math.inf, 0.5, f"{reason}, which is not a power law", field=field, momentum=momentum)
    residual = abs(slopes[-1] - kernel.scheme.order)
    return judge(energy_order, residual, 0.1 + change, reason, field=field, momentum=momentum, divisions=divisions)


def _violation(kernel: MolecularDynamics, field: Array, momentum: Array, step_size: float, count: int) -> float:
    """The root mean square of dH over `count` consecutive trajectories."""
    total: Array = 0.0
    for _ in range(count):
        field, momentum, d_h = _trajectory(kernel, field, momentum, step_size)
        total = total + to_host(d_h).astype("float64")
    return max(math.sqrt(float(numpy.mean(total**2))), 1e-300)


def kinetic_energy(kernel: MolecularDynamics, field: Array, momentum: Array, final: Array) -> Verdict:
    """H(U, w') - H(U, w) = 1/2 sum_a (w'_a^2 - w_a^2), the -log density of momenta w_a ~ N(0, 1).

    <exp(-dH)> = 1 alone does not detect a kinetic term and momenta that are wrong in the same way.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> hmc = HMC(Phi4((2, 2)), values={"couplings": {"m2": 2.0, "lam": 0.5}})
    >>> kinetic_energy(hmc, numpy.ones((1, 2, 2)), numpy.ones((1, 2, 2)), numpy.zeros((1, 2, 2))).passed
    True
    """
    change = to_host(kernel.energy_change(field, momentum, Image(field, final))).astype("float64")
    before, after = (to_host(w).astype("float64").reshape(*change.shape, -1) for w in (momentum, final))
    expected = 0.5 * (after**2 - before**2).sum(axis=-1)
    size = float(numpy.max(0.5 * (after**2 + before**2).sum(axis=-1)))
    tolerance = (8 + before.shape[-1]) * EPSILON[precision_of(field)] * max(1.0, size)
    reason = f"rounding of {before.shape[-1]} squares"
    return judge(kinetic_energy, change - expected, tolerance, reason, momentum=momentum, final=final)
