"""Free energies: bounds on ln Z from both sides, and Bennett's bridge between draws of a model and of the target.

With l = log w = -S - log q, over draws of the model and over configurations of the target p = e^{-S}/Z,

    E_q[l] (ELBO) <= IWAE_k = E_q[ln (w_1 + .. + w_k)/k] <= ln Z <= E_p[l] (EUBO),

and EUBO - ELBO is the sum of both KL divergences. The lower bounds hold whatever a model leaves out, the upper one only if the
configurations are of the target.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy
from numpy.typing import ArrayLike

from haarflow.core.statistics.coverage import cautious, target_log_z
from haarflow.core.statistics.effective import ess, log_weights, nan_note, no_error
from haarflow.core.statistics.estimate import ENOUGH, Estimate
from haarflow.core.statistics.gamma import LEAST, gamma_method
from haarflow.core.statistics.weights import log_z

GROUP = 16  # draws in each mean of the tighter lower bound
STEPS = 200  # of a bisection, more than double precision needs


class FreeEnergy(NamedTuple):
    """ln Z and its bounds, in the order in which they lie but for `bridge`, the best estimate where there are both kinds of draws.

    `model` and its `bias` are of the model's draws, `iwae` of groups of `group` of them; `target`, `eubo`, `bridge` and `covered`,
    the share of the target's mass that the model's draws cover, are None without configurations of the target.
    """

    elbo: Estimate
    iwae: Estimate
    group: int
    model: Estimate
    bias: float | None
    target: Estimate | None = None
    eubo: Estimate | None = None
    bridge: Estimate | None = None
    covered: Estimate | None = None


def free_energy(log_w: ArrayLike, target_log_w: ArrayLike | None = None, group: int = GROUP) -> FreeEnergy:
    """Return all estimates of ln Z from log weights of a model's draws, and `(chain, draw)` of configurations of the target.

    Configurations on which the model was trained are no configurations of the target for this purpose: bounds and coverage come
    out too good with them. Raises ValueError for an infinite weight of a draw, and where there is none.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> found = free_energy(rng.normal(0.0, 0.5, 10_000), rng.normal(0.25, 0.5, (4, 500)))  # log-normal: ln Z = 1/8
    >>> found.elbo.value < found.iwae.value < found.bridge.value < found.eubo.value
    True
    >>> abs(found.bridge.value - 0.125) < 4 * found.bridge.error < 0.04
    True
    """
    found = FreeEnergy(elbo(log_w), iwae(log_w, group), group, log_z(log_w), log_z_bias(log_w))
    if target_log_w is None:
        return found
    target = target_log_z(target_log_w)
    return found._replace(
        target=target,
        eubo=eubo(target_log_w),
        bridge=bennett(log_w, target_log_w),
        covered=_covered(found.model, target),
    )


def elbo(log_w: ArrayLike) -> Estimate:
    """Return E_q[log w] <= ln Z over independent draws of a model.

    >>> elbo([1.0, 3.0]).value
    2.0
    """
    return iwae(log_w, 1)


def iwae(log_w: ArrayLike, group: int = GROUP) -> Estimate:
    """Return E_q[ln (w_1 + .. + w_k)/k] <= ln Z over groups of k independent draws, which does not fall with k.

    Draws that fill no group are left out. Source: arXiv:1509.00519. Raises ValueError for groups of less than one draw.

    >>> round(iwae([0.0, math.log(3.0)], 2).value, 12) == round(math.log(2.0), 12)
    True
    """
    if int(group) != group or group < 1:
        raise ValueError(f"groups are of a whole number of draws >= 1, got {group!r}")
    if note := nan_note(log_w):
        return Estimate(None, None, note=note)
    values = log_weights(log_w)
    groups = values.size // int(group)
    if not groups:
        return Estimate(None, None, note=f"{values.size} draws make no group of {group}")
    means = _log_means(values[: groups * int(group)].reshape(groups, -1))
    if zero := int(numpy.sum(means == -math.inf)):
        return Estimate(None, None, note=f"{zero:,} of {groups:,} weights are zero: their mean logarithm is no bound")
    error = float(numpy.std(means)) / math.sqrt(groups)
    return Estimate(
        float(means.mean()), error if groups >= LEAST else None, note="" if groups >= LEAST else no_error(groups)
    )


def eubo(target_log_w: ArrayLike) -> Estimate:
    """Return E_p[log w] >= ln Z over configurations `(chain, draw)` of the target.

    >>> eubo([[1.0] * 20]).value
    1.0
    """
    values = numpy.atleast_2d(numpy.asarray(target_log_w, dtype=float))
    if note := nan_note(values):
        return Estimate(None, None, note=note)
    if lost := int(numpy.sum(values == math.inf)):
        return Estimate(
            None, None, note=f"{lost:,} configurations have density zero under the model: there is no upper bound"
        )
    return cautious(gamma_method(values), values)


def log_z_bias(log_w: ArrayLike) -> float | None:
    """Return the bias -(1/ESS - 1)/(2n) of ln mean w over n draws, to leading order; None where it cannot be known.

    >>> round(log_z_bias([0.0, math.log(3.0)]), 12)
    -0.0625
    """
    if nan_note(log_w) or not (quality := ess(log_w)):
        return None
    return -(1.0 / quality - 1.0) / (2.0 * numpy.size(log_w))


def bennett(log_w: ArrayLike, target_log_w: ArrayLike) -> Estimate:
    """Return ln Z by Bennett's bridge: Z = E_q[w a] / E_p[a] with a = 1/(n_q + n_p w/Z), n draws of each side.

    Every term is bounded, so that one side's draws help where the other's weights scatter. Target configurations
    `(chain, draw)` carry the error of the Gamma method. Source: J. Comput. Phys. 22 (1976) 245; as a bridge, Statistica Sinica 6
    (1996) 831. Raises ValueError where either side has no draws, and for an infinite weight of a draw of the model.

    >>> round(bennett([0.5] * 20, [[0.5] * 400]).value, 12)
    0.5
    """
    target = numpy.atleast_2d(numpy.asarray(target_log_w, dtype=float))
    if note := nan_note(log_w) or nan_note(target):
        return Estimate(None, None, note=note)
    own = log_weights(log_w)
    if target.size == 0:
        raise ValueError("configurations of the target wanted, got none")
    if ess(own) == 0.0 or not numpy.any(target < math.inf):
        return Estimate(None, None, note="the draws of the model and of the target do not overlap")
    value = _bridge(own, target)
    there, here = _terms(own, target, value)
    found = cautious(gamma_method([here], lambda mean: value - math.log(mean)), here, relative=True)
    error = (
        None
        if found.error is None
        else math.hypot(found.error, float(numpy.std(there) / there.mean()) / math.sqrt(own.size))
    )
    return Estimate(value, error, note=found.note or _few(there, here))


def _bridge(own: numpy.ndarray, target: numpy.ndarray) -> float:
    """The root of the bridge's equation, whose left side less the right falls with the value."""
    finite = numpy.concatenate([values[numpy.isfinite(values)] for values in (own, target.ravel())])
    size = own.size + target.size  # with it the bracket holds the root also where some weights are zero or infinite
    low, high = float(finite.min()) - math.log(size), float(finite.max()) + math.log(size)
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        there, here = _terms(own, target, middle)
        low, high = (middle, high) if there.mean() > here.mean() else (low, middle)
    return 0.5 * (low + high)


def _terms(own: numpy.ndarray, target: numpy.ndarray, value: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """w a Z^-1 over draws of the model and a over those of the target, with n_q + n_p = 1, for ln Z = `value`."""
    size = own.size + target.size
    of_model, of_target = math.log(own.size / size), math.log(target.size / size)
    there = numpy.exp(-numpy.logaddexp(of_model - (own - value), of_target))
    return there, numpy.exp(-numpy.logaddexp(of_model, of_target + (target - value)))


def _few(there: numpy.ndarray, here: numpy.ndarray) -> str:
    """Why a bridge's error bar is optimistic; nothing where both sides overlap in many draws."""
    least = min(float(terms.sum() ** 2 / (terms * terms).sum()) for terms in (there, here))
    return (
        ""
        if least >= ENOUGH
        else f"{least:.0f} draws make the overlap of both sides, below {ENOUGH}: the error bar is optimistic"
    )


def _covered(model: Estimate, target: Estimate) -> Estimate:
    """exp(ln Z of the model's draws - ln Z of the target's): 1 but for what the model's draws leave out."""
    if model.value is None or target.value is None:
        return Estimate(None, None, note=model.note or target.note)
    share = math.exp(min(model.value - target.value, 700.0))
    known = model.error is not None and target.error is not None
    error = share * math.hypot(model.error or 0.0, target.error or 0.0) if known else None
    return Estimate(share, error, note=model.note or target.note)


def _log_means(rows: numpy.ndarray) -> numpy.ndarray:
    """ln of the mean of exp over each row; -infinity where all of it is."""
    top = numpy.max(rows, axis=1, keepdims=True)
    safe = numpy.where(numpy.isfinite(top), top, 0.0)
    with numpy.errstate(divide="ignore"):
        result: numpy.ndarray = safe[:, 0] + numpy.log(numpy.mean(numpy.exp(rows - safe), axis=1))
    return result
