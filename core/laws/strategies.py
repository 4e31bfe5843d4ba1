"""Hypothesis strategies for lattice fields: lattices, fields, gauge transformations, couplings, precisions.

Every array is made from the few settings of a `Given` (seed, style, size), not element by element: drawing is fast, and
a failing example shrinks to the smallest lattice, the simplest style and the smallest seed. Styles and sizes are ordered
as in `STYLES` and `SIZES` of `core.laws.law`: cold first, then generic, then hostile ones. Needs the package hypothesis,
which the extra `verify` installs.
"""

from __future__ import annotations

from typing import Any

import hypothesis
from hypothesis import strategies as st

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.types import Theory
from haarflow.core.laws.coupling_values import REGIMES, accepts, couplings_at
from haarflow.core.laws.law import SIZES, STYLES, Given

Strategy = st.SearchStrategy

PROFILES: dict[str, dict[str, Any]] = {
    "quick": {"max_examples": 2, "derandomize": True},
    "ci": {"max_examples": 25, "derandomize": True},
    "deep": {"max_examples": 500, "derandomize": False},
}
SEEDS = st.integers(0, 2**16)


def profile(name: str) -> hypothesis.settings:
    """Return the settings of a profile, a decorator of tests: "quick", "ci" (both derandomised) or "deep".

    Raises ValueError for an unknown name.

    >>> profile("quick").max_examples
    2
    """
    if name not in PROFILES:
        raise ValueError(f"unknown profile {name!r}: choose one of {', '.join(PROFILES)}")
    return hypothesis.settings(deadline=None, database=None, **PROFILES[name])


def dtypes() -> Strategy[str]:
    """Return a strategy of precisions, "float64" first."""
    return st.sampled_from(("float64", "float32"))


def sizes() -> Strategy[str]:
    """Return a strategy of the sizes of parameters, "zero" first, as in `Given.size`."""
    return st.sampled_from(SIZES)


def styles() -> Strategy[str]:
    """Return a strategy of the styles of fields, "cold" first, as in `Given.style`."""
    return st.sampled_from(STYLES)


def lattices(
    d: int | tuple[int, int] = (1, 4), period: int = 1, odd: bool = True, smallest: int = 1, largest: int = 64
) -> Strategy[tuple[int, ...]]:
    """Return a strategy of lattices with at most `largest` sites, 1, 2 and odd extents included.

    `d` is the dimension or its range, `period` divides every extent (masks), `odd=False` keeps only even extents,
    `smallest` bounds the extents from below. It shrinks to the fewest dimensions and the smallest extents. Raises
    ValueError if no lattice satisfies all bounds.

    >>> import hypothesis
    >>> hypothesis.find(lattices(2, period=4), lambda lattice: True)
    (4, 4)
    """
    low, high = (d, d) if isinstance(d, int) else d
    step = period if odd or period % 2 == 0 else 2 * period
    least = -(-smallest // step)  # in units of the step
    if low < 1 or period < 1 or (step * least) ** low > largest:
        raise ValueError(
            f"no lattice of {low} or more dimensions with extents >= {smallest} divisible by {step} has at most "
            f"{largest} sites"
        )
    high = max(dimension for dimension in range(low, high + 1) if (step * least) ** dimension <= largest)

    @st.composite
    def lattice(draw: Any) -> tuple[int, ...]:
        dimension, extents, room = draw(st.integers(low, high)), [], largest
        for axis in range(dimension):
            most = room // (step * least) ** (dimension - axis - 1)
            extents.append(step * draw(st.integers(least, max(least, most // step))))
            room //= extents[-1]
        return tuple(extents)

    return lattice()


def givens(
    lattice: Strategy[tuple[int, ...]] | tuple[int, ...] | None = None,
    backend: Backend | None = None,
    dtype: str | Strategy[str] = "float64",
    batch: int | Strategy[int] = 3,
) -> Strategy[Given]:
    """Return a strategy of `Given`, the settings that determine one example of a law; a counterexample is one line.

    `lattice` is a strategy, one lattice, or None for any of at most 64 sites; `backend` a backend (default NumPy).

    >>> import hypothesis
    >>> hypothesis.find(givens(lattices(2)), lambda given: True)
    Given(lattice=(1, 1), seed=0, style='cold', size='zero', batch=3, dtype='float64')
    """
    return st.builds(
        Given,
        lattice=_strategy(lattices() if lattice is None else lattice),
        seed=SEEDS,
        style=styles(),
        size=sizes(),
        batch=_strategy(batch),
        dtype=_strategy(dtype),
        backend=st.just(backends.get("numpy") if backend is None else backend),
    )


def fields(
    group: Any,
    shape: tuple[int, ...],
    batch: int = 3,
    style: str | None = None,
    backend: Any = None,
    dtype: str = "float64",
) -> Strategy[Any]:
    """Return a strategy of fields `(batch, *shape)` of a group, in one style or in all of them.

    cold (the identity), haar (generic), near (within 1e-6 of the identity), seam (on and next to +-pi, 0 and the knots of 8
    bins), huge (angles of many turns, numbers of order 30).

    >>> import hypothesis
    >>> from haarflow.core.groups.additive import U1
    >>> hypothesis.find(fields(U1(), (2, 1, 1), batch=1), lambda links: True).tolist()
    [[[[0.0]], [[0.0]]]]
    """
    if style is not None and style not in STYLES:
        raise ValueError(f"unknown style of fields {style!r}: choose one of {', '.join(STYLES)}")

    def make(style: str, seed: int) -> Any:
        return _given(seed, style, batch, backend, dtype).field(group, shape)

    return st.builds(make, style=styles() if style is None else st.just(style), seed=SEEDS)


def gauge_transformations(
    group: Any, lattice: tuple[int, ...], batch: int = 3, backend: Any = None, dtype: str = "float64"
) -> Strategy[Any]:
    """Return a strategy of group elements on the sites `(batch, *lattice)`: the identity, or Haar distributed.

    >>> import hypothesis
    >>> from haarflow.core.groups.additive import U1
    >>> hypothesis.find(gauge_transformations(U1(), (2,), batch=1), lambda sites: True).tolist()
    [[0.0, 0.0]]
    """

    def make(style: str, seed: int) -> Any:
        return _given(seed, style, batch, backend, dtype).field(group, lattice)

    return st.builds(make, style=st.sampled_from(("cold", "haar")), seed=SEEDS)


def couplings(theory: Theory) -> Strategy[dict[str, float]]:
    """Return a strategy of a theory's couplings: its defaults, and zero, weak and strong ones that it accepts.

    They are the defaults times the factors of `coupling_values.REGIMES`, all together or one at a time. An empty dict for
    a theory that declares none. It shrinks to the defaults.

    >>> import hypothesis
    >>> from haarflow.theories import U1Gauge
    >>> hypothesis.find(couplings(U1Gauge((4, 4))), lambda values: values["beta"] > 2)
    {'beta': 8.0}
    """
    defaults = couplings_at(theory) or {}
    choices = [defaults, *[couplings_at(theory, size) or {} for size in REGIMES]]
    for name, value in defaults.items():
        scaled = [{**defaults, name: factor * value} for factor in REGIMES.values()]
        choices += [values for values in scaled if accepts(theory, values)]
    distinct = [values for index, values in enumerate(choices) if values not in choices[:index]]
    return st.sampled_from(distinct).map(dict)


def _strategy(value: Any) -> Strategy[Any]:
    return value if isinstance(value, Strategy) else st.just(value)


def _given(seed: int, style: str, batch: int, backend: Backend, dtype: str) -> Given:
    chosen = backends.get("numpy") if backend is None else backend
    return Given(seed=seed, style=style, batch=batch, dtype=dtype, backend=chosen)
