"""The compiled kernels of each theory: one table, read by `core.acceleration.accelerated`.

The kernels are imported when the first of them is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from importlib import import_module
from typing import Any, NamedTuple

from haarflow.backends.compiled import vector
from haarflow.backends.types import Array, Couplings, Theory
from haarflow.core.acceleration import Accelerated, Kernels, accelerated
from haarflow.core.lattice import evenodd
from haarflow.theories.composite import Sum
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.fermions.hopping import Hopping
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.gauge.sun import SUNGauge
from haarflow.theories.gauge.u1 import U1Gauge
from haarflow.theories.models.schwinger import Schwinger
from haarflow.theories.scalar.phi4 import Phi4


def _kernel(module: str, function: str) -> Callable[..., Any]:
    """A function of a module of this package that is imported by the first call, as the compiler takes long to load."""
    return partial(_call, module, function)


def _call(module: str, function: str, theory: Theory, *arguments: Any) -> Any:
    return vars(import_module(f"haarflow.theories.compiled.{module}"))[function](theory, *arguments)


_action, _force, _plaquettes = (_kernel("gauge_action", name) for name in ("action", "force", "plaquettes"))
_evolve, _sweep = _kernel("gauge_trajectory", "compiled"), _kernel("heatbath", "compiled")


def _observables_of_angles(theory: U1Gauge, field: Array, couplings: Couplings) -> dict[str, Array]:
    """The observables, measured on compiled plaquettes."""
    return theory.observables(field, couplings, angles=_plaquettes(theory, field))


def _action_of_terms(theory: Schwinger, field: Array, couplings: Couplings) -> Array:
    """The sum of the accelerated terms' actions."""
    return accelerated(Sum(theory.terms)).action(field, couplings)


def _force_of_terms(theory: Schwinger, field: Array, couplings: Couplings) -> Array:
    return accelerated(Sum(theory.terms)).force(field, couplings)


class Row(NamedTuple):
    """The kernels of a class of theories under a condition."""

    kind: type
    applies: Callable[[Any], bool]
    kernels: Kernels


LARGEST = 4  # N up to which a link's matrices fit into registers and cache


def _plaquettes_only(theory: SUNGauge) -> bool:
    return theory.rectangle == 0.0


def _small(theory: SUNGauge) -> bool:
    return _plaquettes_only(theory) and theory.n in (2, 3)


def _small_and_even(theory: SUNGauge) -> bool:
    return _small(theory) and evenodd.packable(theory.lattice)


def _even(theory: SUNGauge) -> bool:
    return _plaquettes_only(theory) and theory.n <= LARGEST and evenodd.packable(theory.lattice)


# the first row that applies is used
TABLE: tuple[Row, ...] = (
    Row(
        U1Gauge,
        lambda theory: True,
        Kernels(_action, _force, _observables_of_angles, plaquettes=_plaquettes, evolve=_evolve),
    ),
    Row(SUNGauge, _small_and_even, Kernels(_action, _force, plaquettes=_plaquettes, evolve=_evolve, sweep=_sweep)),
    Row(SUNGauge, _small, Kernels(_action, _force, plaquettes=_plaquettes, evolve=_evolve)),
    Row(SUNGauge, _even, Kernels(sweep=_sweep)),
    Row(
        Phi4,
        lambda theory: True,
        Kernels(_kernel("phi4", "action"), _kernel("phi4", "force"), evolve=_kernel("phi4", "trajectory")),
    ),
    Row(Schwinger, lambda theory: True, Kernels(_action_of_terms, _force_of_terms)),
)


@accelerated.register(U1Gauge)
@accelerated.register(SUNGauge)
@accelerated.register(Phi4)
@accelerated.register(Schwinger)
def by_table(theory: Any) -> Any:
    """Return the theory with the kernels of its row, or the theory itself if it has none or numba is not installed.

    >>> from haarflow.theories import SUNGauge
    >>> by_table(SUNGauge((4, 4), n=5))
    SUNGauge(lattice=(4, 4), n=5, rectangle=0.0)
    """
    kernels = _kernels(theory) if vector.is_present() else None
    return theory if kernels is None else Accelerated(theory, kernels)


@lru_cache(maxsize=256)
def _kernels(theory: Any) -> Kernels | None:
    """The kernels of a theory's row: samplers ask for them at every step."""
    return next((row.kernels for row in TABLE if type(theory) is row.kind and row.applies(theory)), None)


@accelerated.register(Sum)
def term_by_term(theory: Sum) -> Sum:
    """Return the sum of the accelerated terms."""
    return Sum(tuple(accelerated(term) for term in theory.terms))


IN_ROWS = Hopping(*(_kernel("hop", name) for name in ("prepare", "axes", "hop")))
IN_CACHE = _kernel("slices", "eliminated")
COLOURS = (1, 2, 3)  # a link and a half spinor stay in registers


@accelerated.register(Wilson)
def by_rows(operator: Wilson) -> Wilson:
    """Return the operator with the compiled hop and elimination of slices, or itself for other groups or where numba is not
    installed.

    >>> by_rows(Wilson((4, 4), n=5)) == Wilson((4, 4), n=5)
    True
    """
    if not vector.is_present() or operator.n not in COLOURS:
        return operator
    return replace(operator, hopping=IN_ROWS, elimination=IN_CACHE if operator.n == 1 else operator.elimination)


@accelerated.register(Fermions)
def by_operator(theory: Fermions) -> Fermions:
    """Return the flavours with the accelerated operator."""
    return replace(theory, operator=accelerated(theory.operator))
