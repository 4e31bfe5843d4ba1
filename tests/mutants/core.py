"""Wrong backends, generators, groups and kernels, each with the laws that must catch it."""

import math
from dataclasses import dataclass, replace
from types import ModuleType

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
from haarflow.core.groups.additive import U1, wrap
from haarflow.core.parts import described
from haarflow.theories.gauge.flux_hit import FluxHit
from haarflow.verification.core_objects import (
    BETA,
    LINKS,
    PHI4,
    SCALARS,
    flux_hit,
    heat_bath,
    hmc_of_links,
    hmc_of_scalars,
    hmc_on_time_scales,
    independent,
    links,
    local,
    scalars,
)
from tests.mutants import Mutant, hidden, kept, matrices

# --- backends: functions that spoil a record


def spoiled(**functions):
    """A mutant's `make`: the record with some functions made from its own."""
    return lambda lattice: lambda record: replace(record, **{name: f(record) for name, f in functions.items()})


def conv_shifted(record):
    return lambda x, w: record.xp.roll(record.conv(x, w), 1, axis=-1)


def conv_turned(record):
    return lambda x, w: record.conv(x, record.xp.flip(w, axis=tuple(range(2, w.ndim))))


def conv_that_writes(record):
    def conv(x, w):
        x *= 1.5
        return record.conv(x, w)

    return conv


def net_without_the_last_bias(record):
    return lambda x, w, b, f: record.conv_net(x, w, [*b[:-1], None], f)


def matmul_in_the_other_order(record):
    return lambda a, b, d: record.matmul(b, a, d)


def sincos_reduced_once(record):
    return lambda x: record.sincos(x - 2 * math.pi * record.xp.floor(x / (2 * math.pi)))


def sincos_by_a_short_series(record):
    def sincos(x):
        sine, cosine = record.sincos(0.5 * x)
        return 2.0 * sine * cosine * (1.0 - 1e-6 * sine * sine), cosine * cosine - sine * sine

    return sincos


def scan_backwards(record):
    def scan(f, init, xs=None, length=None):
        carry, ys = record.scan(f, init, xs, length)
        return carry, backends.tree.tree_map(lambda y: record.xp.flip(y, axis=0), ys)

    return scan


def other_branch(record):
    """The branch that the predicate does not name."""
    return lambda predicate, then, otherwise: record.cond(predicate, otherwise, then)


def while_once_more(record):
    return lambda cond, body, init: body(record.while_loop(cond, body, init))


def vmap_of_the_first(record):
    return lambda f: lambda *args: record.vmap(f)(*(record.xp.stack([a[0, ...]] * a.shape[0], axis=0) for a in args))


def asarray_that_writes(record):
    def asarray(x, dtype=None):
        array = record.asarray(x, dtype)
        if getattr(x, "size", 0) > 1 and type(x).__module__ == "numpy":
            x *= 2
        return array

    return asarray


def asarray_in_single(record):
    return lambda x, dtype=None: record.asarray(record.asarray(x, "float32"), dtype or record.dtype)


def gradient_doubled(record):
    def value_and_grad(f, has_aux=False):
        def both(*args):
            value, grad = record.value_and_grad(f, has_aux=has_aux)(*args)
            return value, backends.tree.tree_map(lambda g: 2.0 * g, grad)

        return both

    return value_and_grad


def jit_that_retraces(record):
    return lambda f: lambda *args: record.jit(lambda *again: f(*again))(*args)


def jit_in_single(record):
    def jit(f):
        cast = lambda x: record.xp.astype(record.xp.astype(x, record.xp.float32), x.dtype)  # noqa: E731
        return record.jit(lambda *args: f(*(cast(x) for x in args)))

    return jit


BACKENDS = (
    Mutant("conv shifted by one", "backend", spoiled(conv=conv_shifted), ("convolution",)),
    Mutant("conv with the kernel turned", "backend", spoiled(conv=conv_turned), ("convolution",)),
    Mutant("conv that writes into its argument", "backend", spoiled(conv=conv_that_writes), ("inputs_unchanged",)),
    Mutant("net without its last bias", "backend", spoiled(conv_net=net_without_the_last_bias), ("convolution_net",)),
    Mutant("matmul b a", "backend", spoiled(matmul=matmul_in_the_other_order), ("small_matrices",)),
    Mutant("sincos reduced by one 2 pi", "backend", spoiled(sincos=sincos_reduced_once), ("sine_and_cosine",)),
    Mutant("sincos of six digits", "backend", spoiled(sincos=sincos_by_a_short_series), ("sine_and_cosine",)),
    Mutant("scan stacks backwards", "backend", spoiled(scan=scan_backwards), ("scanning",)),
    Mutant("while once more", "backend", spoiled(while_loop=while_once_more), ("looping",)),
    Mutant("the other branch", "backend", spoiled(cond=other_branch), ("branching",)),
    Mutant("vmap of the first row", "backend", spoiled(vmap=vmap_of_the_first), ("mapping",)),
    Mutant("asarray changes the host", "backend", spoiled(asarray=asarray_that_writes), ("border",)),
    Mutant("asarray by way of float32", "backend", spoiled(asarray=asarray_in_single), ("border",)),
    Mutant("gradient doubled", "backend", spoiled(value_and_grad=gradient_doubled), ("derivatives",)),
    Mutant("jit retraces", "backend", spoiled(jit=jit_that_retraces), ("traced_once",)),
    Mutant("jit in single precision", "backend", spoiled(jit=jit_in_single), ("compiled_as_eager",)),
)

# --- random numbers


def generator_with(**functions):
    """The module `random` with some functions replaced, and those that rest on them."""

    def make(lattice):
        module = ModuleType("spoiled")
        module.__dict__.update({name: thing for name, thing in vars(random).items() if not name.startswith("__")})
        module.__dict__.update(functions)
        return module

    return make


def split_as_uniform(key, n=2):
    xp = array_namespace(key)
    numbers = xp.reshape(random.indices(key, n), (n,) + (1,) * key.ndim)
    return xp.concat(random._encipher(key[None, ...], numbers, random.UNIFORM), axis=-1)


def fold_in_as_words(key, number):
    xp = array_namespace(key)
    if isinstance(number, int):
        number = xp.zeros_like(key[..., 0]) + number
    numbers = number[..., None] + xp.zeros_like(key[..., :1])
    return xp.concat(random._encipher(key, numbers - 1, random.WORDS), axis=-1)


def uniform_from_zero(key, shape=(), dtype="float64"):
    u = random.uniform(key, shape, dtype)
    return u - (0.5 * 2.0**-52 if "64" in str(u.dtype) else 0.5 * 2.0**-23)


def threefry_of_19_rounds(key0, key1, x0, x1):
    schedule = (key0, key1, key0 ^ key1 ^ random.PARITY)
    x0, x1 = x0 + key0, x1 + key1
    for group in range(5):
        for rotation in random.ROTATIONS[group % 2][: 3 if group == 4 else 4]:
            x0 = x0 + x1
            x1 = random._rotate_left(x1, rotation) ^ x0
        x0, x1 = x0 + schedule[(group + 1) % 3], x1 + schedule[(group + 2) % 3] + (group + 1)
    return x0, x1


def wide_normal(key, shape=(), dtype="float64"):
    return 1.03 * random.normal(key, shape, dtype)


def normal_of_one_branch(key, shape=(), dtype="float64"):
    xp, count = array_namespace(key), math.prod(shape)
    half = random.normal(key, (2 * ((count + 1) // 2),), dtype)[..., : (count + 1) // 2]
    return xp.reshape(xp.concat([half, half], axis=-1)[..., :count], key.shape[:-1] + tuple(shape))


def fold_in_nothing(key, number):
    return key + 0 * random.fold_in(key, number)


def words_of_the_first_key(key, shape):
    first = key if key.ndim == 1 else key[:1, :]
    return random.words(first + 0 * key, shape)


class Stateful:
    """A draw that remembers how often it was called."""

    def __init__(self):
        self.calls = 0

    def __call__(self, key, shape=(), dtype="float64"):
        self.calls += 1
        return random.uniform(random.fold_in(key, self.calls), shape, dtype)


def uniform_squeezed(key, shape=(), dtype="float64"):
    return 0.98 * random.uniform(key, shape, dtype) + 0.01


def uniform_of_a_thousand(key, shape=(), dtype="float64"):
    """A long draw repeats its first 1000 numbers."""
    xp, count = array_namespace(key), math.prod(shape)
    if count <= 1000:
        return random.uniform(key, shape, dtype)
    first = random.uniform(key, (1000,), dtype)
    return xp.reshape(xp.concat([first] * (count // 1000 + 1), axis=-1)[..., :count], key.shape[:-1] + tuple(shape))


def normal_without_its_rest(key, shape=(), dtype="float64"):
    """Normals beyond whole chunks of 512 stay zero."""
    xp, drawn = array_namespace(key), random.normal(key, shape, dtype)
    rest = math.prod(shape) % 512 if len(shape) == 1 and math.prod(shape) > 512 else 0
    return (
        xp.concat([drawn[..., : drawn.shape[-1] - rest], 0.0 * drawn[..., drawn.shape[-1] - rest :]], axis=-1)
        if rest
        else drawn
    )


def words_beyond_a_limit(key, shape):
    """Beyond 128 words another key is used."""
    return random.words(key if math.prod(shape) <= 128 else random.fold_in(key, 1), shape)


SHAPES = {}


def uniform_of_the_first_shape(key, shape=(), dtype="float64"):
    """A draw has the shape in which so many numbers were first drawn."""
    first = SHAPES.setdefault(math.prod(shape), tuple(shape))
    return random.uniform(key, first, dtype)


RANDOM = (
    Mutant("a thousand numbers, again and again", "random", generator_with(uniform=uniform_of_a_thousand), ("any_length",)),
    Mutant("normals without the rest of a chunk", "random", generator_with(normal=normal_without_its_rest), ("any_length",)),
    Mutant("another key beyond 128 words", "random", generator_with(words=words_beyond_a_limit), ("any_length",)),
    Mutant("shapes by their size alone", "random", generator_with(uniform=uniform_of_the_first_shape), ("remembers_nothing",)),
    Mutant("split shares words with uniform", "random", generator_with(split=split_as_uniform), ("disjoint_streams", "same_bits")),
    Mutant("fold_in shares words with words", "random", generator_with(fold_in=fold_in_as_words), ("disjoint_streams", "same_bits")),
    Mutant("fold_in ignores its number", "random", generator_with(fold_in=fold_in_nothing), ("disjoint_streams", "uniform_moments")),
    Mutant("uniform closed at zero", "random", generator_with(uniform=uniform_from_zero), ("open_interval", "same_bits")),
    Mutant("uniform inside (0.01, 0.99)", "random", generator_with(uniform=uniform_squeezed), ("uniform_moments", "open_interval")),
    Mutant("threefry of 19 rounds", "random", generator_with(threefry=threefry_of_19_rounds), ("published_vectors",)),
    Mutant("normals 3% too wide", "random", generator_with(normal=wide_normal), ("normal_moments", "box_muller")),
    Mutant("one branch of Box and Muller twice", "random", generator_with(normal=normal_of_one_branch), ("normal_moments", "box_muller")),
    Mutant("all chains draw the first key's words", "random", generator_with(words=words_of_the_first_key), ("one_key_or_many", "same_bits")),
    Mutant("a draw with hidden state", "random", lambda lattice: generator_with(uniform=Stateful())(lattice), ("same_bits_compiled", "same_bits")),
)  # fmt: skip

# --- groups


class NeverAtRest(U1):
    def project(self, a):
        return wrap(a + 0.5)


class ExpDoubled(U1):
    def exp(self, w):
        return self.project(2.0 * w)

    def log(self, a):
        return 0.5 * self.project(a)

    def update(self, a, w):
        return a + 2.0 * w


class ExpBent(U1):
    def exp(self, w):
        return self.project(w + 0.01 * w * w)


class LogOffByATurn(U1):
    def log(self, a):
        return self.project(a) + 2 * math.pi


class UpdateBackwards(U1):
    def update(self, a, w):
        return a - w


class Quotient(U1):
    def compose(self, a, b):
        return self.project(a - b)


class NoInverse(U1):
    def inverse(self, a):
        return self.project(a)


class Unwrapped(U1):
    def compose(self, a, b):
        return a + b


class HaarSkewed(U1):
    def haar(self, key, shape, dtype="float64"):
        return 2 * math.pi * (random.uniform(key, shape, dtype) ** 1.1 - 0.5)


class HaarOfAHalf(U1):
    def haar(self, key, shape, dtype="float64"):
        return math.pi * (random.uniform(key, shape, dtype) - 0.5)


class HaarOfFourRoots(U1):
    def haar(self, key, shape, dtype="float64"):
        u = random.uniform(key, shape, dtype)
        return 0.5 * math.pi * array_namespace(u).floor(4.0 * u) - math.pi


class WideMomenta(U1):
    def algebra_normal(self, key, shape, dtype="float64"):
        return 1.3 * random.normal(key, shape, dtype)


class InnerHalved(U1):
    def inner(self, v, w):
        return 0.5 * v * w


def group(kind, *laws, name=None, **given):
    return Mutant(f"group {kind.__name__}", "group", lambda lattice: kind(), laws, given)


GROUPS = (
    group(NeverAtRest, "projection"),
    group(ExpDoubled, "exponential"),
    group(ExpBent, "one_parameter", "exponential", "update_by_exponential"),
    group(LogOffByATurn, "logarithm"),
    group(UpdateBackwards, "update_by_exponential"),
    group(Quotient, "associativity", "inverses"),
    group(NoInverse, "inverses"),
    group(Unwrapped, "closure", lattice=(4, 4)),
    group(HaarSkewed, "haar_moments", "left_invariance", "right_invariance"),
    group(HaarOfAHalf, "haar_moments", "left_invariance", "right_invariance"),
    group(HaarOfFourRoots, "haar_moments", "left_invariance", "right_invariance"),
    group(WideMomenta, "momenta"),
    group(InnerHalved, "inner_product", "momenta"),
)

# --- kernels


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

MUTANTS: tuple[Mutant, ...] = (
    *BACKENDS,
    *RANDOM,
    *GROUPS,
    *matrices.GROUPS,
    *KERNELS,
    *matrices.KERNELS,
    *hidden.KERNELS,
)
