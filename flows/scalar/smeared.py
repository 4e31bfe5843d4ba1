"""A scalar field in continuous time, along the gradient of local potentials of the field smeared over several lengths.

    dphi/dt = sum_s G_s f_s(t, G_s phi),     G_s(p) = exp(-s phat^2),     phat^2 = sum_mu 4 sin^2(p_mu/2),     0 <= t <= 1,

    f_s(t, u) = c_s0(t) u + sum_{k>=1} c_sk(t) h^(2k-1),     h = w_s u (1 + (w_s u)^2)^(-1/2),     c_sk(t) = sum_j C_jsk (2t - 1)^j.

The velocity is the gradient of sum_s sum_x F_s((G_s phi)_x), F_s' = f_s; to first order in a quartic coupling the exact potential has
in momentum space the kernel 1/sum_i E(p_i) = int ds exp(-s sum_i E(p_i)), a sum over smearing times s. The divergence is exact and as cheap,

    div = sum_s (G_s^2)(0) sum_x f_s'(t, (G_s phi)_x),

as in the flows of arXiv:2110.02673 and 2207.00283, whose features are functions of the field at one site. Nothing depends on the volume.
The steps are those of flows/runge_kutta.py, of third order: log_det is that of continuous time, wrong by O(step^3).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.lattice.fourier import along_axes, cas_matrix, momentum_squared
from haarflow.flows.flow import constant, zero_log_det
from haarflow.flows.runge_kutta import stage_table

SMEARINGS = (0.3, 1.0, 3.0, 10.0, 30.0)  # smearing times s at first, beside s = 0


@dataclass(frozen=True)
class SmearedPotentials:
    """The flow along smeared local potentials in `steps` steps, at first the identity.

    Parameters {"C": (degree + 1, 1 + smearings, terms), "log_w": (1 + smearings,), "log_s": (smearings,)}: `terms` functions of one site
    at s = 0 and at each smearing time, learnt from `smearings` on, with coefficients of a degree in time. Raises ValueError for options
    out of range.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> flow = SmearedPotentials(1, smearings=(), terms=1, degree=0)
    >>> params = flow.init(random.key(0, backend)) | {"C": backend.asarray([[[math.log(2.0)]]])}
    >>> y, log_det = flow.forward(params, backend.asarray([[1.0, 3.0]]))
    >>> y.round(3).tolist(), log_det.round(6).tolist(), round(2 * math.log(2.0), 6)
    ([[2.0, 6.0]], [1.386294], 1.386294)
    """

    d: int
    smearings: tuple[float, ...] = SMEARINGS
    terms: int = 4
    degree: int = 2
    steps: int = 6

    symmetries = ("translation", "reflection", "hypercubic", "Z2")
    integrated = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "smearings", tuple(map(float, self.smearings)))
        if self.terms < 1 or self.degree < 0 or self.steps < 1:
            raise ValueError(
                "a flow along smeared potentials has terms >= 1, degree >= 0 and steps >= 1, got "
                f"terms = {self.terms}, degree = {self.degree}, steps = {self.steps}"
            )
        if not all(math.isfinite(s) and s > 0.0 for s in self.smearings):
            raise ValueError(f"smearing times are positive and finite, got {self.smearings}")

    def refined(self, factor: int) -> SmearedPotentials:
        """Return the same flow in `factor` times as many steps."""
        return dataclasses.replace(self, steps=factor * self.steps)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the identity: no velocity, the smearing times given, and w = (1 + 2 d s)^(1/3), as the smeared field gets smaller."""
        lengths, asarray = 1 + len(self.smearings), backends.of(key).asarray
        times = numpy.asarray((0.0, *self.smearings))
        return {
            "C": constant(key, 0.0, (self.degree + 1, lengths, self.terms), dtype),
            "log_w": asarray(numpy.log1p(2 * self.d * times) / 3.0, dtype=dtype),
            "log_s": asarray(numpy.log(times[1:]), dtype=dtype),
        }

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Flow from t = 0 to 1."""
        return self._run(params, x, True)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Flow from t = 1 back to 0: the inverse of `forward` to the order of the scheme."""
        return self._run(params, y, False)

    def _run(self, params: Params, x: Array, forward: bool) -> tuple[Array, Array]:
        """All stages of all steps, one scan."""
        xp, backend = array_namespace(x), backends.of(x, params["C"])
        smeared = [Smearing(params["log_w"][0], (), 1.0)]
        smeared += [self._smearing(params, k, x) for k in range(1, 1 + len(self.smearings))]
        step = (1.0 if forward else -1.0) / self.steps

        def stage(carry: tuple[Array, Array, Array], row: Array) -> tuple[tuple[Array, Array, Array], None]:
            field, kick, log_det = carry
            velocity, divergence = self._velocity(params, smeared, row[2], field)
            kick = row[0] * kick + row[1] * step * velocity
            return (field + kick, kick, log_det + row[3] * step * divergence), None

        stages = backend.asarray(stage_table(self.steps, forward), dtype=x.dtype)
        (y, _, log_det), _ = backend.scan(
            backend.checkpoint(stage), (x, xp.zeros_like(x), zero_log_det(x, self.d)), stages
        )
        return y, log_det

    def _smearing(self, params: Params, k: int, x: Array) -> Smearing:
        """G_s as one matrix for each axis, since exp(-s phat^2) is a product over axes."""
        xp, backend = array_namespace(x), backends.of(x)
        matrices, closed = [], 1.0
        for extent in x.shape[x.ndim - self.d :]:
            basis = backend.asarray(cas_matrix(extent), dtype=x.dtype)
            decay = xp.exp(
                -xp.exp(params["log_s"][k - 1]) * backend.asarray(momentum_squared((extent,)), dtype=x.dtype)
            )
            matrices.append((basis * decay) @ basis)
            closed = closed * xp.mean(decay * decay)
        return Smearing(params["log_w"][k], tuple(matrices), closed)

    def _velocity(self, params: Params, smeared: Sequence[Smearing], time: Array, field: Array) -> tuple[Array, Array]:
        """dphi/dt and its divergence, `(*batch,)`."""
        sites = tuple(range(-self.d, 0))
        velocity, divergence = 0.0, 0.0
        for k, (log_w, matrices, closed) in enumerate(smeared):
            force, slope = self._force(params["C"][:, k, :], log_w, time, _smeared(field, matrices, self.d))
            velocity = velocity + _smeared(force, matrices, self.d)
            divergence = divergence + closed * array_namespace(field).sum(slope, axis=sites)
        return velocity, divergence

    def _force(self, numbers: Array, log_w: Array, time: Array, u: Array) -> tuple[Array, Array]:
        """f(t, u) and df/du for the numbers `(degree + 1, terms)` of one length."""
        xp = array_namespace(u)
        c = numbers[self.degree, :]
        for power in reversed(range(self.degree)):
            c = c * (2.0 * time - 1.0) + numbers[power, :]
        w = xp.exp(log_w)
        root = 1.0 / xp.sqrt(1.0 + (w * u) ** 2)
        h, odd, slope = w * u * root, xp.zeros_like(u), xp.zeros_like(u)
        for k in reversed(range(1, self.terms)):
            odd, slope = odd * h * h + c[k], slope * h * h + (2 * k - 1) * c[k]
        return c[0] * u + odd * h, c[0] + slope * w * root**3


class Smearing(NamedTuple):
    """One smearing length: log w, the matrices of G_s along each axis (none at s = 0), and (G_s^2)(0)."""

    log_w: Array
    matrices: tuple[Array, ...]
    closed: Array | float


def _smeared(x: Array, matrices: tuple[Array, ...], d: int) -> Array:
    return along_axes(x, matrices, d) if matrices else x
