"""Laws of Markov kernels: detailed balance, stationarity, convergence; and the table of all laws of kernels.

A kernel is compared with the distribution that it must leave invariant: `Chained` adds to it exact draws from that
distribution and the observables to compare. Laws that need no exact draws take the kernel itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.standard import identity
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Kernel
from haarflow.core import random
from haarflow.core.axes import field_shape
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import Cycle, Repeat, run
from haarflow.core.chains.metropolis import IndependenceMetropolis, LocalMetropolis, independence_chain
from haarflow.core.laws.deviations import LIMIT, LUCK, largest_pull, named_columns
from haarflow.core.laws.dynamics import MolecularDynamics, energy_order, kinetic_energy, reversible
from haarflow.core.laws.fields import algebra_shape
from haarflow.core.laws.finite_states import LevelProposal, Levels
from haarflow.core.laws.involution import applied_twice, involution_volume
from haarflow.core.laws.law import EPSILON, Given, Law, Verdict, fits, in_double, judge, largest, precision_of, to_host
from haarflow.core.laws.run import (
    blocks,
    fresh_cache,
    in_turn,
    independence_loop,
    reflections_keep_action,
    values_compile_nothing,
)
from haarflow.core.laws.sizes import PROPOSALS
from haarflow.core.laws.stationary import DRAWS, Chained, block_of_steps, counting, started

NUMBER, COPIES = 16, 16  # bytes of a complex number; copies of the fields that a kernel makes
CHAINS = 2000  # independent chains of a sampled law
FEW = 64  # chains of a law that compares bit by bit


def exp_minus_dh(kernel: Kernel, fields: Array, key: Array) -> Verdict:
    """<exp(-dH)> = 1 in equilibrium (Creutz 1988), over chains started from exact draws.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.laws.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory, couplings = Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}
    >>> hmc = HMC(theory, steps=3, values={"couplings": couplings, "step_size": 0.3})
    >>> fields = ExactScalars(theory, couplings, mass=2.0)(random.key(0, backend), 500)
    >>> exp_minus_dh(hmc, fields, random.key(1, backend)).passed
    True
    """
    _, info = block_of_steps(kernel, fields, key)
    rows = numpy.exp(-to_host(info["dH"]).astype("float64"))[0]
    return judge(exp_minus_dh, largest_pull(rows, 1.0), LIMIT, LUCK, key=key)


def accept_rule(kernel: Kernel, fields: Array, key: Array) -> Verdict:
    """<accepted> = <min(1, exp(-dH))> from any start, and a rejected proposal leaves the field unchanged.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.laws.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> hmc = HMC(Phi4((2, 2)), steps=3, values={"couplings": {"m2": 2.0, "lam": 0.5}, "step_size": 0.5})
    >>> accept_rule(hmc, random.normal(random.key(0, backend), (500, 2, 2)), random.key(1, backend)).passed
    True
    """
    state, info = block_of_steps(kernel, fields, key)
    accepted, d_h = (to_host(info[name]).astype("float64") for name in ("accepted", "dH"))
    rows = (accepted - numpy.minimum(1.0, numpy.exp(-d_h)))[0]
    still = ~accepted.astype(bool).any(axis=0)
    stayed = numpy.array_equal(to_host(state.field)[still], to_host(fields)[still])
    return judge(accept_rule, largest_pull(rows) if stayed else math.inf, LIMIT, LUCK, key=key)


def stationary(kernel: Kernel, fields: Array, key: Array, observables: Callable[..., Any]) -> Verdict:
    """Steps from exact draws leave every mean unchanged: <f(U')> = <f(U)>, paired by chain.

    `fields (n, *field_shape)` are independent draws from the kernel's distribution; `observables` takes them on the host.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.chains.metropolis import LocalMetropolis
    >>> from haarflow.core.laws.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory, couplings = Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}
    >>> fields = ExactScalars(theory, couplings, mass=2.0)(random.key(0, backend), 500)
    >>> kernel = LocalMetropolis(theory, {"couplings": couplings, "width": 0.5})
    >>> stationary(kernel, fields, random.key(1, backend), theory.observables).passed
    True
    """
    state, _ = block_of_steps(kernel, fields, key)
    name, residual = _worst(_host_fields(fields), _host_fields(state.field), observables, precision_of(fields))
    return judge(stationary, residual, LIMIT, f"{LUCK}; worst: {name}", key=key)


def _worst(
    before: numpy.ndarray, after: numpy.ndarray, observables: Callable[..., Any], dtype: str
) -> tuple[str, float]:
    """The observable with the largest paired pull."""
    rows = zip(named_columns(observables(before)), named_columns(observables(after)), strict=True)
    pulls = {
        name: largest_pull(new - old, scale=8 * EPSILON[dtype] * max(1.0, largest(old)))
        for (name, old), (_, new) in rows
    }
    worst = max(pulls, key=lambda name: pulls[name])
    return worst, pulls[worst]


def time_reversal(kernel: Kernel, fields: Array, key: Array, observables: Callable[..., Any]) -> Verdict:
    """Detailed balance in equilibrium: <f(U) g(U')> = <g(U) f(U')> for all pairs of observables.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.laws.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory, couplings = Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}
    >>> hmc = HMC(theory, steps=3, values={"couplings": couplings, "step_size": 0.3})
    >>> fields = ExactScalars(theory, couplings, mass=2.0)(random.key(0, backend), 500)
    >>> time_reversal(hmc, fields, random.key(1, backend), theory.observables).passed
    True
    """
    state, _ = block_of_steps(kernel, fields, key)
    before, after = (
        numpy.stack([column for _, column in named_columns(observables(_host_fields(x)))])
        for x in (fields, state.field)
    )
    centre, width = before.mean(axis=1, keepdims=True), before.std(axis=1, keepdims=True)
    first, second = ((x - centre) / numpy.where(width > 1e-9, width, 1.0) for x in (before, after))
    currents = numpy.stack(
        [f * second[j] - g * second[i] for i, f in enumerate(first) for j, g in enumerate(first) if i < j]
    )
    residual = largest_pull(currents.T, scale=1e-6)
    return judge(time_reversal, residual, LIMIT, LUCK, key=key)


def equilibrium(
    kernel: Kernel, start: Array, fields: Array, key: Array, observables: Callable[..., Any], steps: int
) -> Verdict:
    """From a start out of equilibrium the means converge to those of exact draws.

    `start` and `fields` have the same shape `(n, *field_shape)`; `steps` must suffice for equilibrium.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core.laws.stationary import ExactScalars
    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory, couplings = Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}
    >>> hmc = HMC(theory, steps=5, values={"couplings": couplings, "step_size": 0.2})
    >>> fields = ExactScalars(theory, couplings, mass=2.0)(random.key(0, backend), 500)
    >>> equilibrium(hmc, 0.0 * fields, fields, random.key(1, backend), theory.observables, steps=20).passed
    True
    """
    state = started(kernel, start)
    for block in range(-(-steps // DRAWS)):
        state, _ = run(counting(kernel, fields), key, state, DRAWS, start=block * DRAWS)
    # the two samples are independent, so any pairing is as good as another
    name, residual = _worst(_host_fields(fields), _host_fields(state.field), observables, precision_of(fields))
    return judge(equilibrium, residual, LIMIT, f"{LUCK}; worst: {name}", key=key)


def detailed_balance(kernel: Kernel, levels: Levels, key: Array, dtype: str = "float64", n: int = 20_000) -> Verdict:
    """p_i P(i -> j) = p_j P(j -> i) for all pairs of states of a finite state space, p_i = e^{-E_i} / Z.

    `n` chains take one step from each state; the currents of every pair are compared in units of their binomial errors.

    >>> from haarflow.backends import numpy as backend
    >>> levels = Levels((0.0, 1.0, 0.3))
    >>> kernel = IndependenceMetropolis(LevelProposal((0.5, 0.3, 0.2)), levels, values={"params": {}})
    >>> detailed_balance(kernel, levels, random.key(0, backend), n=1000).passed
    True
    """
    count = len(levels.energies)
    start = numpy.repeat(numpy.arange(count), n)[:, None]
    fields = backends.of(key).asarray(start.astype("float64"), dtype=dtype)
    state, _ = run(kernel, key, started(kernel, fields), 1)
    ends = numpy.rint(to_host(state.field).reshape(count, n)).astype(int)
    chances = numpy.stack([(ends == j).mean(axis=1) for j in range(count)], axis=1)
    p = numpy.exp(-numpy.asarray(levels.energies))
    flow, noise = p[:, None] * chances, p[:, None] ** 2 * numpy.maximum(chances * (1 - chances), 1 / n) / n
    pulls = numpy.abs(flow - flow.T) / numpy.sqrt(noise + noise.T)
    off = pulls[~numpy.eye(count, dtype=bool)]
    lost = not numpy.isclose(chances.sum(axis=1), 1).all()
    return judge(detailed_balance, math.inf if lost else off, LIMIT, LUCK, levels=levels, key=key)


def _host_fields(fields: Array) -> numpy.ndarray:
    return in_double(fields)


def kernel_of(obj: Any) -> Any:
    """Return the kernel of a `Chained`, or the object itself, which is one."""
    return obj.kernel if isinstance(obj, Chained) else obj


def theory_of(kernel: Kernel) -> Any:
    """Return the theory of a kernel, or of its first component; None if it has none.

    >>> from haarflow.core.chains.hmc import HMC
    >>> from haarflow.theories import Phi4
    >>> theory_of(Repeat(HMC(Phi4((4, 4))), 2)).lattice
    (4, 4)
    """
    if isinstance(kernel, Cycle):
        return theory_of(kernel.kernels[0])
    # a kernel of the user's own may hold another one, or no theory at all
    return theory_of(kernel.kernel) if hasattr(kernel, "kernel") else getattr(kernel, "theory", None)


def exact_fields(obj: Chained, given: Given, count: int = CHAINS) -> Array:
    """Return the exact draws from which the sampled laws start."""
    _check_size(obj, count)
    return given.array(obj.exact(random.key(given.seed, backends.get("numpy")), count))


def _check_size(obj: Any, count: int) -> None:
    """Raise TooLarge if so many fields, and the copies that a kernel makes of them, exceed a law's memory."""
    theory = theory_of(obj)
    if theory is not None:
        shape = tuple(field_shape(theory))
        fits(count * COPIES * NUMBER * math.prod(shape), f"{count} chains of fields {shape}")


def _fields(obj: Any, given: Given) -> Array:
    """Exact draws if there are any, on a compiling backend as many as the sampled laws take, so that one program serves
    all laws; otherwise fields of the theory's group."""
    if isinstance(obj, Chained):
        return exact_fields(obj, given, FEW if given.backend.jit is identity else CHAINS)
    theory = theory_of(obj)
    _check_size(obj, given.batch)
    return replace(given, style="haar").field(theory.group, field_shape(theory))


def _phase_space(obj: Any, given: Given, count: int = 1) -> tuple[Array, ...]:
    """Sixteen generic fields and `count` momenta for each."""
    _check_size(obj, 16)
    theory = theory_of(obj)
    shape = field_shape(theory)
    fields = replace(given, style="haar", batch=16).field(theory.group, shape)
    momenta = algebra_shape(theory.group, (16, *shape))
    return fields, *(given.normal(momenta, 11 + index) for index in range(count))


def _from_exact(law: Callable[..., Any]) -> Callable[[Any, Given], Verdict]:
    return lambda obj, given: law(kernel_of(obj), exact_fields(obj, given), given.key(1))


def _from_exact_with(law: Callable[..., Any]) -> Callable[[Any, Given], Verdict]:
    return lambda obj, given: law(kernel_of(obj), exact_fields(obj, given), given.key(1), obj.observables)


def _from_fields(law: Callable[..., Any]) -> Callable[[Any, Given], Verdict]:
    return lambda obj, given: law(kernel_of(obj), _fields(obj, given), given.key(1))


def _dynamics(law: Callable[..., Any], count: int = 1) -> Callable[[Any, Given], Verdict]:
    return lambda obj, given: law(kernel_of(obj), *_phase_space(obj, given, count))


def _by_involution(law: Callable[..., Any], batch: int) -> Callable[[Any, Given], Verdict]:
    """A law of generic fields and their auxiliary variables, of single ones where `batch` is 0."""

    def check(obj: Any, given: Given) -> Verdict:
        kernel, theory = kernel_of(obj), theory_of(obj)
        x = replace(given, style="haar", batch=max(batch, 1)).field(theory.group, field_shape(theory))
        v = kernel.involution.auxiliary(given.key(11), x)
        if not batch:
            x, v = (tree_map(lambda part: part[0, ...], tree) for tree in (x, v))
        verdict: Verdict = law(kernel, x, v)
        return verdict

    return check


# factors that divide a kernel's step size to measure its order, where rounding does not matter yet
DIVISIONS = {"float64": (4, 8, 16), "float32": (3, 4, 6)}


def _order(obj: Any, given: Given) -> Verdict:
    fields, momenta = _phase_space(obj, given)
    return energy_order(kernel_of(obj), fields, momenta, DIVISIONS[given.dtype])


def _equilibrium(obj: Chained, given: Given) -> Verdict:
    """Half of the chains start cold, half hot: Haar-distributed, or white noise of the variance of the exact draws."""
    fields, theory = exact_fields(obj, given), theory_of(obj)
    noise, cold = (
        to_host(replace(given, style=style, batch=CHAINS // 2).field(theory.group, field_shape(theory)))
        for style in ("haar", "cold")
    )
    hot = noise * (float(to_host(fields).std()) if theory.group.name == "Real" else 1.0)
    start = given.array(numpy.concatenate([cold, hot]))
    return equilibrium(obj.kernel, start, fields, given.key(2), obj.observables, obj.burn_in)


ENERGIES, CHANCES = (0.0, 1.0, 0.3, 2.0), (0.4, 0.1, 0.3, 0.2)


def _balance(obj: Any, given: Given) -> Verdict:
    """The verdict on the kernel with levels in place of its theory and of its proposal."""
    kernel, levels = kernel_of(obj), Levels(ENERGIES)
    if isinstance(kernel, IndependenceMetropolis):
        values = {"params": {"like": given.array(numpy.zeros(1))}}
        kernel = replace(kernel, theory=levels, proposal=LevelProposal(CHANCES), values=values)
    else:
        kernel = replace(kernel, theory=levels, values={"width": 1.0})
    return detailed_balance(kernel, levels, given.key(3), given.dtype)


def _loop(obj: Any, given: Given) -> Verdict:
    """At every number of proposals of `PROPOSALS`, at two where each compiles a program; the worst one counts."""
    counts = PROPOSALS if given.backend.jit is identity else PROPOSALS[3::4]
    return max((_loop_of(obj, given, count) for count in counts), key=lambda verdict: verdict.residual)


def _loop_of(obj: Any, given: Given, proposals: int) -> Verdict:
    host = given.generator(4)
    log_w = host.standard_normal((proposals, 20)) * host.uniform(0.1, 5.0, 20)
    log_w[host.random(log_w.shape) < 0.05] = -math.inf
    ties = host.random(log_w.shape) < 0.1
    log_w[ties] = numpy.round(log_w[ties])
    start = given.array(host.standard_normal(20)) if given.seed % 2 == 0 else None
    log_w[0] = numpy.where(numpy.isfinite(log_w[0]), log_w[0], 0.0)
    uniforms = given.array(host.uniform(1e-6, 1.0, log_w.shape))
    return independence_loop(chain_of(obj), given.array(log_w), uniforms, start)


def chain_of(obj: Any) -> Callable[..., Any]:
    """Return the associative scan that a kernel uses: its own `chain`, or the library's."""
    return getattr(kernel_of(obj), "chain", independence_chain)  # optional: the library's scan unless replaced


def _moves(obj: Any) -> str | None:
    return None if isinstance(kernel_of(obj), MolecularDynamics) else "the kernel has no molecular-dynamics trajectory"


def _by_another(obj: Any) -> str | None:
    # a trajectory applied twice is what `reversible` looks at, so HMC itself is left to it
    return None if isinstance(kernel_of(obj), Involutive) else "the kernel does not hold an involution"


def _has_exact(obj: Any) -> str | None:
    if not isinstance(obj, Chained):
        return "it comes without exact draws: wrap it as Chained(kernel, exact, observables)"
    return None


def _has_both(obj: Any) -> str | None:
    return _moves(obj) or _has_exact(obj)


def _is_reversible(obj: Any) -> str | None:
    return _has_exact(obj) or (None if obj.reversible else "a sweep or cycle in fixed order is not reversible")


def _enumerable(obj: Any) -> str | None:
    kinds = (IndependenceMetropolis, LocalMetropolis)
    return None if isinstance(kernel_of(obj), kinds) else "the kernel needs continuous fields"


def _independent(obj: Any) -> str | None:
    return (
        None if isinstance(kernel_of(obj), IndependenceMetropolis) else "the kernel does not make independent proposals"
    )


def _composed(obj: Any) -> str | None:
    return None if isinstance(kernel_of(obj), (Cycle, Repeat)) else "the kernel is not composed of others"


def _reflects(obj: Any) -> str | None:
    known = hasattr(kernel_of(obj), "overrelaxation")  # sweeps that only a heat bath has
    return None if known else "the kernel has no over-relaxation"


def _has_fields(obj: Any) -> str | None:
    if isinstance(obj, Chained) or theory_of(obj) is not None:
        return None
    return "neither exact draws nor a theory determine the shape of its fields"


KERNEL_LAWS: tuple[Law, ...] = (
    Law(reversible, _dynamics(reversible), _moves),
    Law(energy_order, _order, _moves),
    Law(kinetic_energy, _dynamics(kinetic_energy, 2), _moves),
    Law(applied_twice, _by_involution(applied_twice, 16), _by_another),
    Law(involution_volume, _by_involution(involution_volume, 0), _by_another),
    Law(detailed_balance, _balance, _enumerable, sampled=True, programs=True),
    Law(independence_loop, _loop, _independent),
    Law(fresh_cache, _from_fields(fresh_cache), _has_fields),
    Law(reflections_keep_action, _from_fields(reflections_keep_action), _reflects, programs=True),
    Law(in_turn, _from_fields(in_turn), _composed, programs=True),
    Law(blocks, _from_fields(blocks), _has_fields, programs=True),
    Law(values_compile_nothing, _from_fields(values_compile_nothing), _has_fields),
    Law(exp_minus_dh, _from_exact(exp_minus_dh), _has_both, sampled=True),
    Law(accept_rule, _from_exact(accept_rule), _has_both, sampled=True),
    Law(stationary, _from_exact_with(stationary), _has_exact, sampled=True),
    Law(time_reversal, _from_exact_with(time_reversal), _is_reversible, sampled=True),
    Law(equilibrium, _equilibrium, _has_exact, sampled=True),
)
