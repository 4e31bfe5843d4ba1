"""The laws of Markov kernels, and what each takes of a kernel: exact draws, generic fields, a phase space, or a few states.

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
from haarflow.core.chains.kernel import Cycle, Repeat
from haarflow.core.chains.metropolis import IndependenceMetropolis, LocalMetropolis, independence_chain
from haarflow.core.laws.fields import algebra_shape
from haarflow.core.laws.kernels.balance import (
    accept_rule,
    detailed_balance,
    equilibrium,
    exp_minus_dh,
    stationary,
    time_reversal,
)
from haarflow.core.laws.kernels.dynamics import MolecularDynamics, energy_order, kinetic_energy, reversible
from haarflow.core.laws.kernels.finite_states import LevelProposal, Levels
from haarflow.core.laws.kernels.involution import applied_twice, involution_volume
from haarflow.core.laws.kernels.run import (
    blocks,
    fresh_cache,
    in_turn,
    independence_loop,
    reflections_keep_action,
    values_compile_nothing,
)
from haarflow.core.laws.kernels.stationary import Chained
from haarflow.core.laws.law import Given, Law, Verdict, fits, to_host
from haarflow.core.laws.sizes import PROPOSALS

NUMBER, COPIES = 16, 16  # bytes of a complex number; copies of the fields that a kernel makes
CHAINS = 2000  # independent chains of a sampled law
FEW = 64  # chains of a law that compares bit by bit


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
    return None if isinstance(kernel_of(obj), kinds) else "the kernel does not take levels in place of its field"


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
