"""A tiny flow with an exact answer: y = exp(scale) x + shift per site, onto independent Gaussians."""

from dataclasses import dataclass
from typing import NamedTuple

from array_api_compat import array_namespace

from haarflow.core import random
from haarflow.flows.flow import Model
from haarflow.flows.priors import Gaussian


@dataclass(frozen=True)
class Affine:
    """A site-wise affine map; `condition` names a coupling whose logarithm, times a learned slope, is added to the scale."""

    sites: int = 2
    condition: str = ""

    def init(self, key, dtype="float64"):
        start = 0.5 * random.normal(key, (2, self.sites), dtype)
        params = {"scale": start[0, :], "shift": start[1, :]}
        return {**params, "slope": 0.0 * start[0, :1]} if self.condition else params

    def _scale(self, params, condition):
        scale = params["scale"]
        if not self.condition:
            return scale
        value = condition[self.condition]
        xp = array_namespace(scale)
        log = xp.log(value)
        return scale + params["slope"] * (log[..., None] if log.ndim else log)

    def forward(self, params, x, condition=None):
        scale = self._scale(params, condition)
        xp = array_namespace(x)
        return xp.exp(scale) * x + params["shift"], xp.sum(scale, axis=-1) + 0.0 * x[..., 0]

    def inverse(self, params, y, condition=None):
        scale = self._scale(params, condition)
        xp = array_namespace(y)
        return xp.exp(-scale) * (y - params["shift"]), -xp.sum(scale, axis=-1) + 0.0 * y[..., 0]


class Count(NamedTuple):
    """How often a function was traced or called."""

    calls: list


def action(field, couplings=None):
    """S = sum_x [a x^2/2 + x^4/10], not Gaussian, so the gradient of a Gaussian model has nonzero variance."""
    a = _coupling(couplings)
    xp = array_namespace(field)
    return xp.sum(0.5 * a * field**2 + 0.1 * field**4, axis=-1)


def gaussian(field, couplings=None):
    """S = sum_x a (x - 1)^2/2: the affine flow reaches it exactly, scale = -ln(a)/2, shift = 1, ln Z = ln(2 pi/a)."""
    a = _coupling(couplings)
    return array_namespace(field).sum(0.5 * a * (field - 1.0) ** 2, axis=-1)


def _coupling(couplings):
    a = (couplings or {}).get("a", 1.0)
    return a[..., None] if hasattr(a, "ndim") and a.ndim else a


def model(condition=""):
    return Model(Gaussian((2,)), Affine(2, condition))
