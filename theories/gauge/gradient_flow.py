"""The gradient (Wilson) flow of SU(N) links, its scales t0 and w0, and the topological charge by clover leaves.

V' = -dS_2N(V) V along the group, V(t = 0) = U, with S_2N the theory's action at beta = 2N, so that in the continuum
B' = D G (Luescher, arXiv:1006.4518, eq. 1.4). One step of size e is the third-order Runge-Kutta scheme of its appendix C,

    W1 = exp(Z0/4) W0,  W2 = exp(8/9 Z1 - 17/36 Z0) W1,  V(t+e) = exp(3/4 Z2 - 8/9 Z1 + 17/36 Z0) W2,  Zi = -e dS(Wi).

The field strength at a site is the mean of the four clover leaves, F_a = 2 tr T_a Im(leaf mean), or without its error of
order a^2 (4 F(1) - F(2))/3, F(2) being a quarter of that from leaves of twice the side. The scales are the
times where t^2 <E> = 0.3 (t0) and t d/dt t^2 <E> = 0.3 (w0^2, arXiv:1203.4469), in units of the lattice spacing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Theory
from haarflow.core.lattice import loops
from haarflow.theories.gauge.sun import SUNGauge

LEVEL = 0.3
SAFE_STEP = 0.1  # for Wilson's action at its usual couplings


class Flowed(NamedTuple):
    """The field at the end, and E and the charge `(steps + 1, *batch)` at the times `(steps + 1,)` from 0 on.

    `energy` and `charge` are those of the clover, `plaquette_energy` is that of the plaquettes; `charge` is None away from
    four dimensions.
    """

    field: Array
    times: numpy.ndarray
    energy: Array
    charge: Array | None
    plaquette_energy: Array


def step(theory: Any, field: Array, size: Any) -> Array:
    """Return the links after one Runge-Kutta step of flow time `size`.

    >>> import numpy as np
    >>> from haarflow.theories import SUNGauge
    >>> theory = SUNGauge((2, 2))
    >>> rough = theory.group.exp(np.linspace(0, 1, 64).reshape(2, 8, 2, 2))
    >>> bool(theory.action(step(theory, rough, 0.02)) < theory.action(rough))
    True
    """
    group, couplings = theory.group, {"beta": 2.0 * theory.n}
    first = -size * theory.force(field, couplings)
    field = group.update(field, 0.25 * first)
    second = (8.0 / 9.0) * (-size * theory.force(field, couplings)) - (17.0 / 36.0) * first
    field = group.update(field, second)
    return group.update(field, -0.75 * size * theory.force(field, couplings) - second)


def flow(theory: Any, field: Array, size: float, steps: int) -> Flowed:
    """Flow links `(*batch, d, N, N, *lattice)` by `steps` steps of flow time `size` and measure after each of them.

    Steps up to 0.1 are safe for Wilson's action at its usual couplings; the error is of third order. Raises ValueError
    for a step or number of steps that is not positive.

    >>> import numpy as np
    >>> from haarflow.theories import SUNGauge
    >>> theory = SUNGauge((2, 2))
    >>> found = flow(theory, theory.group.exp(np.linspace(0, 1, 64).reshape(2, 8, 2, 2)), 0.05, 4)
    >>> found.times.tolist(), bool((np.diff(found.energy) < 0).all())
    ([0.0, 0.05, 0.1, 0.15000000000000002, 0.2], True)
    """
    if not size > 0.0 or int(steps) != steps or steps < 1:
        raise ValueError(
            f"the gradient flow takes an integer number of steps >= 1 of size > 0, got {steps!r} of size {size!r}"
        )
    xp, backend = array_namespace(field), backends.of(field)

    def measured(field: Array) -> tuple[Array, ...]:
        leaves = _leaves(theory, field)
        strengths = [_strength(theory, four) for four in leaves]
        energies = _plaquette_energy(theory, [four[0] for four in leaves]), _energy(theory, strengths)
        return (*energies, *((_charge(theory, strengths),) if theory.d == 4 else ()))

    def one(field: Array, _: Any) -> tuple[Array, tuple[Array, ...]]:
        field = theory.group.restore(step(theory, field, size))
        return field, measured(field)

    start = measured(field)
    field, rows = backend.scan(one, field, None, length=int(steps))
    series = [xp.concat([first[None, ...], row]) for first, row in zip(start, rows, strict=True)]
    times, charges = size * numpy.arange(int(steps) + 1), series[2] if len(series) > 2 else None
    return Flowed(field, times, series[1], charges, series[0])


def field_strengths(theory: Any, field: Array) -> list[Array]:
    """Return F_a of every plane in the order of `loops.planes(d)`, each real `(*batch, N^2-1, *lattice)`."""
    return [_strength(theory, four) for four in _leaves(theory, field)]


def energy(theory: Theory, field: Array) -> Array:
    """Return E = 1/4 F_a,munu F_a,munu averaged over the sites, `(*batch,)`.

    >>> import numpy as np
    >>> from haarflow.theories import SUNGauge
    >>> float(energy(SUNGauge((2, 2)), SUNGauge((2, 2)).group.exp(np.zeros((2, 8, 2, 2)))))
    0.0
    """
    return _energy(theory, field_strengths(theory, field))


def plaquette_energy(theory: Any, field: Array) -> Array:
    """Return E = 2 sum_P Re tr(1 - U_P) per site, `(*batch,)` (arXiv:1006.4518, eq. 3.1).

    >>> import numpy as np
    >>> from haarflow.theories import SUNGauge
    >>> float(plaquette_energy(SUNGauge((2, 2)), SUNGauge((2, 2)).group.exp(np.zeros((2, 8, 2, 2)))))
    0.0
    """
    planes = loops.planes(theory.d)
    return _plaquette_energy(theory, [loops.plaquette(field, mu, nu, theory.d, theory.group) for mu, nu in planes])


def charge(theory: Any, field: Array, improved: bool = False) -> Array:
    """Return Q = 1/(32 pi^2) sum_x eps_mnrs tr F_mn F_rs, `(*batch,)`: close to integers on flowed fields.

    `improved` takes the field strength without its error of order a^2. Raises ValueError away from four dimensions.

    >>> import numpy as np
    >>> from haarflow.theories import SUNGauge
    >>> theory = SUNGauge((2, 2, 2, 2), n=2)
    >>> float(charge(theory, theory.group.exp(np.zeros((4, 3, 2, 2, 2, 2)))))
    0.0
    """
    if theory.d != 4:
        raise ValueError(f"the charge of SU(N) is defined in four dimensions, got d = {theory.d}")
    strengths = field_strengths(theory, field)
    if improved:
        wide = [_strength(theory, four) for four in _leaves(theory, field, 2)]
        strengths = [(4.0 * f - 0.25 * g) / 3.0 for f, g in zip(strengths, wide, strict=True)]
    return _charge(theory, strengths)


def scales(times: Any, energies: Any, level: float = LEVEL) -> dict[str, float]:
    """Return t0 and w0 from <E> at increasing times, by linear interpolation and central differences; NaN if the level is not
    reached.

    `energies` are ensemble means `(n,)` at `times (n,)`.

    >>> found = scales(numpy.linspace(0, 2, 201), 0.3 / numpy.linspace(1, 2, 201))
    >>> round(found["t0"], 3), round(found["w0"] ** 2, 3)
    (1.281, 0.934)
    """
    times, energies = (numpy.asarray(x, dtype="float64") for x in (times, energies))
    scaled = times**2 * energies
    slope = times * numpy.gradient(scaled, times)
    return {"t0": _crossing(times, scaled, level), "w0": math.sqrt(_crossing(times, slope, level))}


def _crossing(times: numpy.ndarray, rising: numpy.ndarray, level: float) -> float:
    """The first time at which a series passes the level from below, or NaN."""
    above = numpy.flatnonzero((rising[1:] >= level) & (rising[:-1] < level))
    if len(above) == 0:
        return math.nan
    k = int(above[0])
    share = (level - rising[k]) / (rising[k + 1] - rising[k])
    return float(times[k] + share * (times[k + 1] - times[k]))


def _leaves(theory: Any, field: Array, size: int = 1) -> list[tuple[Array, Array, Array, Array]]:
    return [loops.clover(field, mu, nu, theory.d, theory.group, size) for mu, nu in loops.planes(theory.d)]


def _strength(theory: Any, leaves: tuple[Array, Array, Array, Array]) -> Array:
    return theory.group.coordinates(-0.25j * (leaves[0] + leaves[1] + leaves[2] + leaves[3]))


def _plaquette_energy(theory: Any, plaquettes: list[Array]) -> Array:
    xp, sites = array_namespace(plaquettes[0]), tuple(range(-theory.d, 0))
    means = [xp.mean(xp.real(theory.group.trace(plaquette)), axis=sites) for plaquette in plaquettes]
    return 2.0 * (float(theory.n * len(means)) - sum(means[1:], means[0]))


def _energy(theory: Any, strengths: list[Array]) -> Array:
    xp, d = array_namespace(strengths[0]), theory.d
    squares = [theory.group.inner(f, f) for f in strengths]
    return 0.5 * xp.mean(sum(squares[1:], squares[0]), axis=tuple(range(-d, 0)))


def _charge(theory: Theory, strengths: list[Array]) -> Array:
    xp, inner = array_namespace(strengths[0]), theory.group.inner
    f01, f02, f03, f12, f13, f23 = strengths
    density = inner(f01, f23) - inner(f02, f13) + inner(f03, f12)
    return xp.sum(density, axis=(-4, -3, -2, -1)) / (8.0 * math.pi**2)


@dataclass(frozen=True)
class FlowedCharge:
    """The charge of SU(N) links in four dimensions after a flow time, and its square: a measurement on links.

    The smearing radius is (8 t)^(1/2): t = 0.5 is that of two sites. Raises ValueError for a time that is not positive.
    """

    time: float = 0.5

    labels = {"Q": "Q, charge after the gradient flow", "Q2": "Q², charge squared after the flow"}  # noqa: RUF012
    correlators = ()
    summary = ("Q", "Q2")
    exact = {"Q": 0.0}  # noqa: RUF012

    def __post_init__(self) -> None:
        if not self.time > 0.0:
            raise ValueError(f"the charge is measured after a positive flow time, got {self.time!r}")

    def values(self, operator: Any, field: Array, *_given: Any) -> dict[str, Array]:
        """Return Q and Q^2 `(*batch,)` of the links of an operator, after steps of at most `SAFE_STEP`."""
        theory, steps = SUNGauge(operator.lattice, n=operator.n), math.ceil(self.time / SAFE_STEP)
        for _ in range(steps):
            field = step(theory, field, self.time / steps)
        found = charge(theory, field)
        return {"Q": found, "Q2": found * found}
