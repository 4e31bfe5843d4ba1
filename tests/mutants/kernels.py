"""Wrong Markov kernels of scalars and angles, with the laws that must catch them; those of matrices stand in matrices.py."""

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.core import random
from haarflow.core.axes import batch_shape, per_chain, spread, total
from haarflow.core.chains.heatbath_u1 import U1HeatBath, von_mises
from haarflow.core.chains.hmc import HMC, action_difference
from haarflow.core.chains.integrators import FOREST_RUTH, LEAPFROG, OMELYAN, Scheme, integrate
from haarflow.core.chains.involution import Image, Involutive
from haarflow.core.chains.kernel import Cycle, Repeat, State
from haarflow.core.chains.metropolis import IndependenceMetropolis, LocalMetropolis, independence_chain
from haarflow.core.chains.nested import Nested
from haarflow.core.chains.tempering import ReplicaExchange, Swap, joined, replicas_of
from haarflow.core.groups.additive import U1
from haarflow.core.parts import described
from haarflow.theories.gauge.flux_hit import FluxHit
from haarflow.verification.core_objects import (
    BETA,
    LINKS,
    PHI4,
    SCALARS,
    exchange,
    flux_hit,
    heat_bath,
    hmc_of_links,
    hmc_of_scalars,
    hmc_on_time_scales,
    independent,
    links,
    local,
    scalars,
    stretched_swap,
)
from tests.mutants import Mutant, kept
from tests.mutants.groups import WideMomenta


@dataclass(frozen=True)
class LastHalfUnreversed(HMC):
    """The last half drift moves with the momentum from before the last kick."""

    def trajectory(self, old, momentum):
        h, start = spread(self.values["step_size"], momentum.ndim - len(batch_shape(self.theory, old))), old
        for _ in range(self.steps):
            old, before = old + 0.5 * h * momentum, momentum
            momentum = momentum - h * self.theory.force(old, self.values.get("couplings"))
            old = old + 0.5 * h * before
        return old, momentum, action_difference(self.theory, old, start, self.values.get("couplings"))


@dataclass(frozen=True)
class AcceptsTheWrongWay(HMC):
    """Accepts with min(1, e^{+dH})."""

    def step(self, key, state):
        old, group = state.field, self.theory.group
        xp, batch = array_namespace(old), batch_shape(self.theory, old)
        momentum = group.algebra_normal(random.fold_in(key, 0), per_chain(key, tuple(old.shape)), old.dtype)
        new, final, change = self.trajectory(old, momentum)
        d_h = change + self.energy_change(old, momentum, Image(new, -final))
        accepted = xp.log(random.uniform(random.fold_in(key, 1), per_chain(key, batch), old.dtype)) < d_h
        chosen = xp.where(spread(accepted, old.ndim - len(batch)), new, old)
        return State(chosen), {"dH": d_h, "accepted": accepted}


@dataclass(frozen=True)
class MovesWhatItRejects(HMC):
    """A rejected chain is put on the proposal's standard form plus a little."""

    def step(self, key, state):
        after, info = HMC.step(self, key, state)
        xp, rank = array_namespace(after.field), after.field.ndim - info["dH"].ndim
        return State(xp.where(spread(info["accepted"], rank), after.field, 1.01 * after.field)), info


class NarrowU1(U1):
    def algebra_normal(self, key, shape, dtype="float64"):
        return math.sqrt(0.5) * random.normal(key, shape, dtype)


@dataclass(frozen=True)
class KineticDoubled(HMC):
    """K = w^2 with momenta of variance 1/2: exact, so that <exp(-dH)> = 1 holds, but no Hamiltonian flow."""

    def energy_change(self, x, v, image):
        change = HMC.energy_change(self, x, v, image)
        return change + total(0.5 * (image.auxiliary - v) * (image.auxiliary + v), change.ndim)


@dataclass(frozen=True)
class ForceHalved(HMC):
    """The force of half the action in the trajectory."""

    def trajectory(self, old, momentum):
        h = self.values["step_size"]
        force = lambda field: 0.5 * self.theory.force(field, self.values.get("couplings"))  # noqa: E731
        new, final = integrate(force, old, momentum, self.scheme, h, self.steps, described(self.theory).spaces)
        return new, final, action_difference(self.theory, new, old, self.values.get("couplings"))


@dataclass(frozen=True)
class Friction(HMC):
    """The momentum loses a tenth at the end of a trajectory: volume shrinks and no way leads back."""

    def involution(self, x, v):
        image = HMC.involution(self, x, v)
        return image._replace(auxiliary=0.9 * image.auxiliary)


@dataclass(frozen=True)
class Drifting(HMC):
    """HMC, then the loop in time is turned on: stationary, but not balanced in detail."""

    def step(self, key, state):
        after, info = HMC.step(self, key, state)
        shift = backends.of(key).asarray([[[0.5]], [[0.0]]], dtype=after.field.dtype)
        return State(self.theory.group.project(after.field + shift)), info


@dataclass(frozen=True)
class WeightTurned(IndependenceMetropolis):
    def _log_weight(self, field, log_q):
        return -IndependenceMetropolis._log_weight(self, field, log_q)


@dataclass(frozen=True)
class ForgetsTheProposal(IndependenceMetropolis):
    def _log_weight(self, field, log_q):
        return -self.theory.action(field, self.values.get("couplings")) - 0.0 * log_q


@dataclass(frozen=True)
class KeepsItsOldWeight(IndependenceMetropolis):
    """The cache is not renewed with the field."""

    def step(self, key, state):
        after, info = IndependenceMetropolis.step(self, key, state)
        return State(after.field, state.cache), info


@dataclass(frozen=True)
class TakesTheFirst(IndependenceMetropolis):
    """The pass takes the first proposal as it is, whatever the start."""

    def chain(self, log_w, uniforms, start=None):
        index, accepted = independence_chain(log_w, uniforms)
        return index, accepted


@dataclass(frozen=True)
class ForgetsTheCoin(IndependenceMetropolis):
    """The pass accepts what is heavier and nothing else."""

    def chain(self, log_w, uniforms, start=None):
        return independence_chain(log_w, 0.0 * uniforms + 1.0, start)


@dataclass(frozen=True)
class LocalTurned(LocalMetropolis):
    def _local_difference(self, old, new):
        return -LocalMetropolis._local_difference(self, old, new)


@dataclass(frozen=True)
class LocalWithoutNeighbours(LocalMetropolis):
    """Counts the term of the moved site alone."""

    def _local_difference(self, old, new):
        couplings = self.values.get("couplings")
        change = self.local.density(new, couplings) - self.local.density(old, couplings)
        return array_namespace(change).sum(change, axis=-len(self.theory.lattice) - 1)


@dataclass(frozen=True)
class KeepsTheLastProposal(U1HeatBath):
    """When all tries fail the link takes the last proposal."""

    def _von_mises_update(self, key, links):
        xp = array_namespace(links)
        batch, lattice = batch_shape(self.theory, links), tuple(self.theory.lattice)
        shape = (self.tries, *per_chain(key, (*batch, *lattice)))
        places = random.uniform(random.fold_in(key, 0), shape, links.dtype)
        logs = xp.log(random.uniform(random.fold_in(key, 1), shape, links.dtype))
        sine, cosine = backends.of(links).sincos(math.pi * (places - 0.5))
        tangents = sine / cosine

        def update(theta, k, phi):
            angle, found = von_mises(tangents, logs, k)
            last, _ = von_mises(tangents[-1:, ...], 0.0 * logs[-1:, ...] - 1e9, k)
            return xp.where(found, phi + angle, phi + last), found

        return update


@dataclass(frozen=True)
class ReflectsAboutAWrongAngle(U1HeatBath):
    def step(self, key, state):
        after, info = U1HeatBath(self.theory, self.tries, values=self.values).step(key, state)
        links = after.field
        for mu in range(len(self.theory.lattice)):
            links, _ = self._sweep(links, mu, lambda theta, k, phi: (2.0 * (phi + 0.3) - theta, theta == theta))
        return State(self.theory.group.project(links)), info


@dataclass(frozen=True)
class StaleCycle(Cycle):
    """Keeps each kernel's cache from one turn to the next."""

    def init(self, field):
        return State(field, tuple(kernel.init(field).cache for kernel in self.kernels))

    def step(self, key, state):
        field, caches, info = state.field, [], {}
        for number, (kernel, cache) in enumerate(zip(self.kernels, state.cache, strict=True)):
            after, info[str(number)] = kernel.step(random.fold_in(key, number), State(field, cache))
            field = after.field
            caches.append(after.cache)
        return State(field, tuple(caches)), info

    def with_values(self, values):
        return StaleCycle(Cycle.with_values(self, values).kernels)


@dataclass(frozen=True)
class OneKeyForAll(Repeat):
    """All repeats draw the same numbers."""

    def step(self, key, state):
        for _ in range(self.n):
            state, info = self.kernel.step(key, state)
        return state, info


@dataclass(frozen=True)
class Ageing(LocalMetropolis):
    """The width shrinks with every call of Python."""

    def step(self, key, state):
        CALLS.append(1)
        width = 0.7 / (1 + len(CALLS))
        return LocalMetropolis.step(LocalMetropolis(self.theory, {**self.values, "width": width}), key, state)


CALLS: list[int] = []


@dataclass(frozen=True, eq=False)
class EachItsOwn(LocalMetropolis):
    """Kernels that differ in their values are different programs."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


@dataclass(frozen=True)
class KicksTheInnerTermTwice(Nested):
    """The outer force is that of the whole action: the inner term acts in both levels."""

    def __call__(self, theory, *args):
        return Nested(theory, self.inner)(theory, *args)


SKEW = Scheme((0.6, 0.4), (1.0,), 2)


@dataclass(frozen=True)
class HitsUpwards(FluxHit):
    """The charge is only ever raised."""

    def auxiliary(self, key, x):
        return array_namespace(x).abs(FluxHit.auxiliary(self, key, x))


@dataclass(frozen=True)
class HitsTwice(FluxHit):
    """The sign is kept, so that a second hit adds to the first."""

    def involution(self, x, v):
        return FluxHit.involution(self, x, v)._replace(auxiliary=v)


@dataclass(frozen=True)
class SwapsTheWrongWay(ReplicaExchange):
    """The couplings of a pair are interchanged in the accept step: dbeta has the wrong sign."""

    def swap(self, pair):
        swap = ReplicaExchange.swap(self, pair)
        turned = {name: value[::-1] for name, value in swap.values["couplings"].items()}
        return swap.with_values({**swap.values, "couplings": turned})


@dataclass(frozen=True)
class SwapWithoutVolume(Swap):
    """The volume that the flow stretches is forgotten."""

    def involution(self, x, v):
        return Swap.involution(self, x, v)._replace(log_det=None)


@dataclass(frozen=True)
class SwapBothUp(Swap):
    """The flow is applied to both replicas, and inverted for neither."""

    def involution(self, x, v):
        a, b = replicas_of(self.theory, x)
        (down, first), (up, second) = (self.flow.forward(self.values["params"], one) for one in (b, a))
        return Image(joined(self.theory, [down, up]), None, first + second)


def kernel(name, make, *laws, **given):
    return Mutant(name, "kernel", lambda lattice: make(), laws, given)


def scheme(drifts, kicks, order):
    return lambda: scalars(HMC(SCALARS, Scheme(drifts, kicks, order), 2, {"couplings": PHI4, "step_size": 0.2}))


CROOKED = tuple(kick + shift for kick, shift in zip(FOREST_RUTH.kicks, (0.05, -0.1, 0.05), strict=True))


def of_links(theory, kind=HMC):
    return lambda: links(kind(theory, LEAPFROG, 3, {"couplings": BETA, "step_size": 0.5}), reversible=True)


KERNELS = (
    kernel("leapfrog with its halves swapped", scheme((0.0, 1.0), (1.0,), 2), "energy_order", "reversible"),
    kernel("leapfrog of unequal halves", scheme((0.6, 0.4), (1.0,), 2), "energy_order", "reversible"),
    kernel("Forest and Ruth with wrong kicks", scheme(FOREST_RUTH.drifts, CROOKED, 4), "energy_order"),
    kernel("Omelyan's second order called fourth", scheme(OMELYAN.drifts, OMELYAN.kicks, 4), "energy_order"),
    kernel("last half drift unreversed", lambda: scalars(hmc_of_scalars(LastHalfUnreversed)), "reversible", "energy_order"),
    kernel("accept with the sign wrong", lambda: scalars(hmc_of_scalars(AcceptsTheWrongWay)), "accept_rule", "stationary"),
    kernel("moves what it rejects", lambda: scalars(hmc_of_scalars(MovesWhatItRejects, step_size=0.3)), "accept_rule"),
    kernel("kinetic term and momenta off by two", of_links(kept(LINKS, group=NarrowU1()), KineticDoubled), "kinetic_energy", "energy_order"),
    kernel("momenta too wide", of_links(kept(LINKS, group=WideMomenta())), "exp_minus_dh", "stationary"),
    kernel("force off by two", lambda: scalars(hmc_of_scalars(ForceHalved)), "energy_order"),
    kernel("an involution with friction", lambda: Involutive(SCALARS, hmc_of_scalars(Friction)), "applied_twice", "involution_volume"),
    kernel("a term on two time scales at once", lambda: links(hmc_on_time_scales(KicksTheInnerTermTwice)), "energy_order"),
    kernel("an inner level that is no palindrome", lambda: links(hmc_on_time_scales(inner=SKEW)), "reversible"),
    kernel("a flux hit that only raises", lambda: links(Cycle((hmc_of_links(), flux_hit(HitsUpwards)))), "stationary"),
    kernel("a flux hit that keeps its sign", lambda: flux_hit(HitsTwice), "applied_twice"),
    kernel("replicas exchanged with dbeta of the wrong sign", lambda: exchange(SwapsTheWrongWay), "stationary"),
    kernel("a swap that forgets its volume", lambda: stretched_swap(SwapWithoutVolume), "involution_volume"),
    kernel("a swap that inverts the flow for neither", lambda: stretched_swap(SwapBothUp), "applied_twice"),
    kernel("stationary, not balanced", lambda: links(hmc_of_links(Drifting), reversible=True), "time_reversal"),
    kernel("Metropolis with the ratio turned", lambda: scalars(independent(WeightTurned)), "detailed_balance", "stationary", "equilibrium"),
    kernel("Metropolis forgets the proposal", lambda: scalars(independent(ForgetsTheProposal)), "detailed_balance", "stationary"),
    kernel("Metropolis keeps its old weight", lambda: scalars(independent(KeepsItsOldWeight, tries=1)), "fresh_cache"),
    kernel("the pass takes its first proposal", lambda: scalars(independent(TakesTheFirst)), "independence_loop"),
    kernel("the pass forgets the coin", lambda: scalars(independent(ForgetsTheCoin)), "independence_loop"),
    kernel("local moves with the sign turned", lambda: scalars(local(kind=LocalTurned)), "detailed_balance", "stationary"),
    kernel("local moves without neighbours", lambda: scalars(local(kind=LocalWithoutNeighbours)), "stationary"),
    kernel("heat bath at a wrong beta", lambda: links(U1HeatBath(LINKS, values={"couplings": {"beta": 1.25}})), "stationary"),
    kernel("bounded rejection keeps its last proposal", lambda: links(heat_bath(KeepsTheLastProposal, tries=1)), "stationary"),
    kernel("over-relaxation about a wrong angle", lambda: links(heat_bath(ReflectsAboutAWrongAngle, overrelaxation=1)), "stationary"),
    kernel("a cycle with stale caches", lambda: scalars(StaleCycle((local(), independent(tries=1)))), "fresh_cache", "in_turn"),
    kernel("repeats with one key", lambda: scalars(OneKeyForAll(local(), 2)), "in_turn"),
    kernel("a width that ages", lambda: scalars(local(kind=Ageing)), "blocks"),
    kernel("a program for each value", lambda: scalars(local(kind=EachItsOwn)), "values_compile_nothing"),
)  # fmt: skip
