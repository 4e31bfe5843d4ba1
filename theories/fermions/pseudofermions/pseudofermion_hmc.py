"""HMC with pseudofermions: N_f flavours without a determinant.

A step draws momenta w and pseudofermions phi exactly, moves U and w at fixed phi by the forces of

    H = 1/2 sum w^2 + S_gauge(U) + sum over pairs of flavours and Hasenbusch factors, and over an odd flavour, of S_pf(U, phi),

and accepts with probability min(1, e^{-dH}) (Weingarten and Petcher, Phys. Lett. B99 (1981) 333; Gottlieb et al., Phys. Rev.
D35 (1987) 2531): an involution of (U, w, phi), in which the determinants of the action and of the density of phi cancel. An odd
flavour has the rational approximation of `one_flavour`, whose interval must hold the spectrum of every configuration of the chain.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Key
from haarflow.core import fields, random
from haarflow.core.acceleration import accelerated
from haarflow.core.axes import batch_shape
from haarflow.core.chains.accept import action_difference
from haarflow.core.chains.checks import check_own_scale
from haarflow.core.chains.hmc import kinetic_change
from haarflow.core.chains.integrators import OMELYAN, Map, Scheme, drift, kick
from haarflow.core.chains.involution import Image, accepted_step
from haarflow.core.chains.kernel import Cacheless, State
from haarflow.core.chains.nested import Level, nested
from haarflow.core.parts import check_theory, described, force_of
from haarflow.core.solvers.retry import Solves, no_solves, together
from haarflow.theories.composite import Sum
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.fermions.evenodd import EvenOdd
from haarflow.theories.fermions.pseudofermions import one_flavour, pseudofermion
from haarflow.theories.fermions.pseudofermions.hasenbusch import check_masses, factors
from haarflow.theories.fermions.pseudofermions.one_flavour import OneFlavour, Root, check_root, check_sign
from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy, Factor, background

ACTION, FORCE = Accuracy(1e-11, 2000), Accuracy(1e-9, 2000)  # the accuracies of S_pf and of its forces
ROOT = Root()  # the approximation of an odd flavour


class Auxiliary(NamedTuple):
    """Momenta, and a packed field of pseudofermions for each factor of each pair of flavours and for an odd one."""

    momenta: Array
    phi: tuple[Array, ...]


class Inner(NamedTuple):
    """The scheme of a force, and its number of steps within one drift of the slower one."""

    scheme: Scheme
    steps: int


@dataclass(frozen=True)
class PseudofermionHMC(Cacheless):
    """HMC for a theory whose `terms` are gauge actions and one `Fermions`; an `Involution`.

    `values = {"couplings": {...}, "step_size": h, "masses": (k_1, ...)}`, the last being Hasenbusch's hopping parameters,
    kappa > k_1 > ... (none by default). `scheme` and `steps` are those of the slowest force. `inner` lists the others, the
    slowest first: those of the heavier factors, then the gauge force, so one more than there are masses; without it all
    forces are kicked together. `for_action` and `for_force` are the accuracies of the solves. Info: `dH`, `accepted`, and of the solves
    `converged`, `residual`, the largest, and `solver_steps`, of the batch's shape. Where a solve has not converged dH is NaN,
    and `run` raises Unconverged: such a step is no draw. An odd flavour, kicked with the slowest force, is approximated by
    `root`, see `one_flavour`; the info then has `lowest`, the smallest eigenvalue before and after the step in units of the
    largest possible one, and `held`, whether it is within the approximation's interval: where it is not, `run` raises OutsideInterval.

    Raises ValueError for odd extents, an approximation that is too coarse, an odd flavour whose sign costs too much, and levels or masses that do not fit.

    >>> from haarflow.theories.models.schwinger import Schwinger
    >>> values = {"couplings": {"beta": 2.0, "kappa": 0.276}, "step_size": 0.2, "masses": (0.24,)}
    >>> PseudofermionHMC(Schwinger((8, 8)), steps=5, values=values).steps
    5
    """

    theory: Any
    scheme: Scheme = OMELYAN
    steps: int = 10
    values: Any = field(default_factory=lambda: {"step_size": 0.1}, compare=False)
    inner: tuple[Inner, ...] = ()
    for_action: Accuracy = ACTION
    for_force: Accuracy = FORCE
    root: Root = ROOT

    def __post_init__(self) -> None:
        check_theory(self.theory)
        form = EvenOdd(self.fermions.operator)
        if self.fermions.flavours % 2:
            check_root(self.root, math.prod(form.packed_shape))
            check_sign(self.fermions.operator)
        if int(self.steps) != self.steps or self.steps < 1:
            raise ValueError(f"HMC takes a whole number of steps >= 1, got {self.steps!r}")
        check_own_scale("step_size", self.values)
        if self.values is not None:
            self._check_values(self.values)

    @property
    def fermions(self) -> Fermions:
        """The term of the action that the pseudofermions replace."""
        found = [term for term in getattr(self.theory, "terms", ()) if isinstance(term, Fermions)]
        if len(found) != 1:
            raise ValueError(
                f"pseudofermions replace one term Fermions of a sum of actions, and {described(self.theory).name} has {len(found)}"
            )
        return found[0]

    @property
    def gauge(self) -> Any:
        """The other terms of the action."""
        others = tuple(term for term in self.theory.terms if not isinstance(term, Fermions))
        return others[0] if len(others) == 1 else Sum(others)

    def step(self, key: Key, state: State) -> tuple[State, dict[str, Any]]:
        """Return the state after one trajectory and accept step, and its info."""
        before = state.field
        v, drawn = self._drawn(random.fold_in(key, 0), before)
        image, moved = self._moved(before, v)
        solves = together(drawn, moved)
        image = image._replace(change=_undefined_unless(solves.converged, image.change))
        state, info = accepted_step(self.theory, self, key, state, v, image)
        record = {"converged": solves.converged, "residual": solves.residual, "solver_steps": solves.steps}
        return state, info | record | self._spectrum(random.fold_in(key, 2), before, state.field)

    def auxiliary(self, key: Key, x: Array) -> Auxiliary:
        """Return momenta w ~ N(0, 1) and pseudofermions of weight e^{-S_pf}."""
        return self._drawn(key, x)[0]

    def involution(self, x: Array, v: Auxiliary) -> Image:
        """Return the end of the trajectory with its momenta reversed and phi as it was, which preserves volume."""
        image, solves = self._moved(x, v)
        return image._replace(change=_undefined_unless(solves.converged, image.change))

    def energy_change(self, x: Array, v: Auxiliary, image: Image) -> Array:
        """Return the change of the kinetic energy; that of S_pf stands in `image.change` with that of the gauge action."""
        return kinetic_change(self.theory, image.auxiliary.momenta, v.momenta)

    def _trajectory(self, x: Array, v: Auxiliary) -> tuple[Array, Array, Solves]:
        """Return the field in standard form and the momenta at the end, and the record of the solves for the forces."""
        spaces = described(self.theory).spaces
        momenta, like = v.momenta, kinetic_change(self.theory, v.momenta, v.momenta)
        start = (x, momenta), no_solves(like)
        (new, final), solves = nested(self._levels(v.phi), _beside(drift(spaces)), start, self.values["step_size"])
        return fields.restore(spaces, new), final, solves

    def _moved(self, x: Array, v: Auxiliary) -> tuple[Image, Solves]:
        new, final, solves = self._trajectory(x, v)
        couplings = _own(self.gauge, self.values["couplings"])
        change = action_difference(accelerated(self.gauge), new, x, couplings)
        ends = [background(self.fermions.operator, end) for end in (new, x)]
        for factor, phi in zip(self._factors(), v.phi, strict=True):
            (after, first), (before, second) = (_of(factor).action(end, factor, phi, self.for_action) for end in ends)
            change, solves = change + (after - before), together(solves, together(first, second))
        return Image(new, Auxiliary(tree_map(operator.neg, final), v.phi), None, change), solves

    def _drawn(self, key: Key, x: Array) -> tuple[Auxiliary, Solves]:
        """Fresh momenta and pseudofermions, those of factor i by fold_in(key, i + 1)."""
        batch = batch_shape(self.theory, x)
        momenta = fields.normal(random.fold_in(key, 0), described(self.theory).spaces, batch, fields.precision(x))
        gauge, solves, drawn = background(self.fermions.operator, x), None, []
        for index, factor in enumerate(self._factors()):
            phi, one = _of(factor).drawn(gauge, factor, random.fold_in(key, index + 1), self.for_action)
            drawn.append(phi)
            solves = one if solves is None else together(solves, one)
        assert solves is not None
        return Auxiliary(momenta, tuple(drawn)), solves

    def _spectrum(self, key: Key, *ends: Array) -> dict[str, Any]:
        """The info of an odd flavour."""
        if self.fermions.flavours % 2 == 0:
            return {}
        kappa, operator = self.values["couplings"]["kappa"], self.fermions.operator
        found = [one_flavour.lowest(background(operator, x), kappa, key) for x in ends]
        least = array_namespace(found[0]).minimum(*found)
        return {"lowest": least, "held": least >= self.root.lowest}

    def _factors(self) -> tuple[Factor | OneFlavour, ...]:
        """The factors of all pairs of flavours, those of one pair after those of the other, and an odd flavour at the end."""
        kappa = self.values["couplings"]["kappa"]
        pairs = factors(kappa, self.values.get("masses", ())) * (self.fermions.flavours // 2)
        return (*pairs, OneFlavour(kappa, self.root)) if self.fermions.flavours % 2 else pairs

    def _levels(self, phi: tuple[Array, ...]) -> tuple[Level, ...]:
        """The forces by time scale: all together, or the factors from the lightest on and the gauge force last."""
        gauge = _beside(
            kick(partial(force_of(accelerated(self.gauge)), couplings=_own(self.gauge, self.values["couplings"])))
        )
        every, count = self._factors(), 1 + len(self.values.get("masses", ()))
        if not self.inner:
            return (Level(_after(self._kick(every, phi), gauge), self.scheme, self.steps),)
        kicks = [self._kick(every[index::count], phi[index::count]) for index in range(count)]
        schemes = (Inner(self.scheme, self.steps), *self.inner)
        return tuple(Level(one, *scheme) for one, scheme in zip([*kicks, gauge], schemes, strict=True))

    def _kick(self, factors: tuple[Factor | OneFlavour, ...], phi: tuple[Array, ...]) -> Map:
        """The kick of some factors' forces, with their record."""

        def kicked(state: tuple[Any, Solves], time: Any) -> tuple[Any, Solves]:
            (x, momenta), solves = state
            gauge = background(self.fermions.operator, x)
            for factor, one in zip(factors, phi, strict=True):
                force, record = _of(factor).force(gauge, factor, one, self.for_force)
                momenta, solves = fields.axpy(-time, force, momenta), together(solves, record)
            return (x, momenta), solves

        return kicked

    def _check_values(self, values: Any) -> None:
        masses = values.get("masses", ())
        check_masses(values.get("couplings", {}).get("kappa"), masses)
        if masses and self.fermions.flavours == 1:
            raise ValueError("Hasenbusch masses divide pairs of flavours, and one flavour has none: remove the masses")
        if self.inner and len(self.inner) != len(masses) + 1:
            raise ValueError(
                f"inner lists the forces that are faster than the first, here {len(masses) + 1} (the heavier factors and the "
                f"gauge force), got {len(self.inner)}"
            )


def _of(factor: Factor | OneFlavour) -> Any:
    """The functions `drawn`, `action` and `force` of a factor."""
    return one_flavour if isinstance(factor, OneFlavour) else pseudofermion


def _beside(move: Map) -> Map:
    """A map of (U, w) as one of ((U, w), record)."""
    return lambda state, time: (move(state[0], time), state[1])


def _after(first: Map, second: Map) -> Map:
    return lambda state, time: second(first(state, time), time)


def _own(theory: Any, couplings: Any) -> dict[str, Any]:
    return {name: couplings[name] for name in described(theory).couplings or {} if name in couplings}


def _undefined_unless(converged: Array, change: Any) -> Array:
    xp = array_namespace(change)
    return xp.where(converged, change, float("nan") * xp.ones_like(change))
