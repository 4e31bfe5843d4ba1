"""What the gauge theories share: links on a lattice of two axes or more, one coupling beta, the Wilson loops that fit."""

from __future__ import annotations

from typing import Any

from haarflow.backends import simd
from haarflow.backends.types import Array, Couplings
from haarflow.core import loops
from haarflow.core.lattice import check_lattice
from haarflow.theories.theory import Theory, check_couplings, check_field, couplings_for, refuse

WILSON = ((1, 2), (2, 2), (2, 3), (3, 3))  # the Wilson loops that `observables` measures, where they fit


class GaugeTheory:
    """The base of theories of links, frozen dataclasses with a `lattice`."""

    lattice: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))
        if self.d < 2:
            raise ValueError(f"a gauge theory has plaquettes from two dimensions on, got the lattice {self.lattice}")

    @property
    def d(self) -> int:
        """The lattice's dimension."""
        return len(self.lattice)

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' names and defaults."""
        return {"beta": 2.0}

    @property
    def wilson(self) -> tuple[tuple[int, int], ...]:
        """The Wilson loops that `observables` measures: those of WILSON shorter than every extent."""
        return tuple(extent for extent in WILSON if max(extent) < min(self.lattice))

    def check(self: Theory, couplings: Couplings = None) -> dict[str, Any]:
        """Return all couplings, or raise ValueError for a misspelt, non-finite or negative one.

        >>> from haarflow.theories import U1Gauge
        >>> U1Gauge((4, 4)).check({"beta": -1.0})
        Traceback (most recent call last):
            ...
        ValueError: U1Gauge wants beta >= 0, got beta = -1.0
        """
        found = check_couplings(self, couplings)
        beta = found["beta"]
        refuse(self, beta=(beta, not isinstance(beta, float) or beta >= 0, "beta >= 0"))
        return found

    def trajectory(
        self: Theory,
        field: Array,
        momentum: Array,
        scheme: Any,
        step_size: Any,
        steps: int,
        couplings: Couplings = None,
    ) -> tuple[Array, Array, Array] | None:
        """Return what `core.hmc.molecular_dynamics` does, by the compiled kernel, see theories/trajectories.py.

        None where there is none: without the package numba, on accelerators, in single precision, for SU(N > 3), with
        rectangles, and for theories derived from these, whose force may be another.
        """
        if not simd.is_present():
            return None
        from haarflow.theories import trajectories

        return trajectories.compiled(self, field, momentum, scheme, step_size, steps, couplings)

    def plaquettes(self, field: Array) -> Array:
        """Return the plaquettes with corner x, `(*batch, plane, [N, N,] *lattice)`, of angles their sums, not wrapped.

        Planes stand in the order of `loops.planes(d)`. Raises ValueError for a wrong shape, TypeError for a wrong type.

        >>> import numpy as np
        >>> from haarflow.theories import U1Gauge
        >>> U1Gauge((4, 4)).plaquettes(np.zeros((3, 2, 4, 4))).shape
        (3, 1, 4, 4)
        """
        found = self._compiled("plaquettes", field)
        return self.plain_plaquettes(field) if found is None else found

    def plain_plaquettes(self, field: Array) -> Array:
        """Return `plaquettes` by operations on arrays."""
        theory: Any = self
        check_field(theory, field)
        return loops.plaquettes(field, self.d, theory.group if theory.group.matrix_axes else loops.COVER)

    def _compiled(self, work: str, field: Array, *given: Any) -> Array | None:
        """A work by its compiled kernel, see theories/compiled_actions.py; None where `trajectory` has none either."""
        if not simd.is_present():
            return None
        from haarflow.theories import compiled_actions

        theory: Any = self
        check_field(theory, field)
        return getattr(compiled_actions, work)(theory, field, *given)

    def _beta(self: Theory, field: Array, couplings: Couplings, over: int) -> Any:
        return couplings_for(self, field, couplings, over)["beta"]

    def _sites(self, internal: int) -> tuple[int, ...]:
        """The last d + internal axes."""
        return tuple(range(-self.d - internal, 0))


def wilson_name(extent: tuple[int, int]) -> str:
    """Return the name under which `observables` and `exact` list a Wilson loop.

    >>> wilson_name((1, 2))
    'wilson_1x2'
    """
    return f"wilson_{extent[0]}x{extent[1]}"
