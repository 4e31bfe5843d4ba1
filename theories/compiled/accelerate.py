"""The compiled kernels of each theory: one table, read by `core.acceleration.accelerated`.

The kernels are imported when the first of them is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from haarflow.backends.compiled import vector
from haarflow.backends.types import Array, Couplings, Theory
from haarflow.core.acceleration import Accelerated, Kernels, accelerated
from haarflow.core.lattice import evenodd
from haarflow.theories.composite import Sum
from haarflow.theories.gauge.sun import SUNGauge
from haarflow.theories.gauge.u1 import U1Gauge
from haarflow.theories.scalar.phi4 import Phi4
from haarflow.theories.theory import check_field


def _action(theory: Theory, field: Array, couplings: Couplings) -> Array | None:
    from haarflow.theories.compiled import gauge_action

    check_field(theory, field)
    return gauge_action.action(theory, field, couplings)


def _force(theory: Theory, field: Array, couplings: Couplings) -> Array | None:
    from haarflow.theories.compiled import gauge_action

    check_field(theory, field)
    return gauge_action.force(theory, field, couplings)


def _plaquettes(theory: Theory, field: Array) -> Array | None:
    from haarflow.theories.compiled import gauge_action

    check_field(theory, field)
    return gauge_action.plaquettes(theory, field)


def _observables_of_angles(theory: U1Gauge, field: Array, couplings: Couplings) -> dict[str, Array]:
    """The observables, measured on compiled plaquettes."""
    return theory.observables(field, couplings, angles=_plaquettes(theory, field))


def _evolve(theory: Theory, *args: Any) -> tuple[Array, Array, Array] | None:
    from haarflow.theories.compiled import gauge_trajectory

    return gauge_trajectory.compiled(theory, *args)


def _sweep(theory: Theory, *args: Any) -> tuple[Array, Array] | None:
    from haarflow.theories.compiled import heatbath

    return heatbath.compiled(theory, *args)


def _phi4_action(theory: Theory, field: Array, couplings: Couplings) -> Array | None:
    from haarflow.theories.compiled import phi4

    return phi4.action(theory, field, couplings)


def _phi4_force(theory: Theory, field: Array, couplings: Couplings) -> Array | None:
    from haarflow.theories.compiled import phi4

    return phi4.force(theory, field, couplings)


def _phi4_evolve(theory: Theory, *args: Any) -> tuple[Array, Array, Array] | None:
    from haarflow.theories.compiled import phi4

    return phi4.trajectory(theory, *args)


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
    Row(Phi4, lambda theory: True, Kernels(_phi4_action, _phi4_force, evolve=_phi4_evolve)),
)


@accelerated.register(U1Gauge)
@accelerated.register(SUNGauge)
@accelerated.register(Phi4)
def by_table(theory: Theory) -> Any:
    """Return the theory with the kernels of its row, or the theory itself if it has none or numba is not installed.

    >>> from haarflow.theories import SUNGauge
    >>> by_table(SUNGauge((4, 4), n=5))
    SUNGauge(lattice=(4, 4), n=5, rectangle=0.0)
    """
    if not vector.is_present():
        return theory
    rows = (row.kernels for row in TABLE if type(theory) is row.kind and row.applies(theory))
    kernels = next(rows, None)
    return theory if kernels is None else Accelerated(theory, kernels)


@accelerated.register(Sum)
def term_by_term(theory: Sum) -> Sum:
    """Return the sum of the accelerated terms."""
    return Sum(tuple(accelerated(term) for term in theory.terms))
