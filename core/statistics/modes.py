"""Modes of a distribution: which share of them a model draws, which share its weights give them, which share the target has.

A mode is a whole number that labels a configuration, such as the sign of the magnetisation, the topological charge, or the
sector of a Polyakov loop's phase. A mode that the target has and the model does not draw shows in no weight of its draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy
from numpy.typing import ArrayLike

from haarflow.core.statistics.coverage import independent_draws, lower_limit
from haarflow.core.statistics.effective import log_weights
from haarflow.core.statistics.estimate import Estimate
from haarflow.core.statistics.weights import reweight

SIGMAS = 3.0  # of Wilson's lower limit of the target's share
LARGER, SPARE = 4.0, 0.01  # a mode is missing above LARGER times the share that the weights give it + SPARE
VISITS = 3.0  # independent configurations of a mode from which it may be called missing


class Mode(NamedTuple):
    """One mode: its label, the share of the model's draws, of their weight, and of the configurations of each chain.

    `missing` names the chains of which so large a share is beyond what the weights allow.
    """

    label: int
    model: Estimate
    weighted: Estimate
    chains: dict[str, Estimate]
    missing: tuple[str, ...] = ()


def modes(labels: ArrayLike, log_w: ArrayLike, targets: Mapping[str, ArrayLike] | None = None) -> tuple[Mode, ...]:
    """Return the modes of weighted independent draws, and of configurations `(chain, draw)` of the target by the chain's name.

    `labels` are whole numbers, one for each of the log weights. Raises ValueError for another number of labels, for labels that
    are not whole, and for what `log_weights` refuses.

    >>> found = modes([1, 1, 1, -1] * 50, [0.0, 0.0, 0.0, 1.0986122886681098] * 50, {"hmc": [[1, -1] * 200]})
    >>> [(mode.label, mode.model.value, round(mode.weighted.value, 9), mode.chains["hmc"].value) for mode in found]
    [(-1, 0.25, 0.5, 0.5), (1, 0.75, 0.5, 0.5)]
    """
    weights, own = log_weights(log_w), _whole(labels).ravel()
    if own.size != weights.size:
        raise ValueError(f"one mode label for each log weight wanted, got {own.size} labels and {weights.size} weights")
    chains = {name: numpy.atleast_2d(_whole(series)) for name, series in (targets or {}).items()}
    every = numpy.unique(numpy.concatenate([own, *(series.ravel() for series in chains.values())]))
    return tuple(_mode(int(label), own, weights, chains) for label in every)


def _mode(label: int, own: numpy.ndarray, log_w: numpy.ndarray, chains: Mapping[str, numpy.ndarray]) -> Mode:
    hit = (own == label).astype(float)
    weighted = reweight(log_w, hit) if hit.any() else Estimate(0.0, None)
    marks = {name: (series == label).astype(float) for name, series in chains.items()}
    counts = {name: independent_draws(series) for name, series in marks.items()}
    shares = {name: _share(float(series.mean()), counts[name]) for name, series in marks.items()}
    most = LARGER * (weighted.value or 0.0) + SPARE
    missing = tuple(name for name, share in shares.items() if _is_beyond(most, share.value or 0.0, counts[name]))
    return Mode(label, _share(float(hit.mean()), float(hit.size)), weighted, shares, missing)


def _is_beyond(most: float, share: float, independent: float) -> bool:
    """Whether the target's share of a mode is certainly larger than `most`."""
    return share * independent >= VISITS and lower_limit(share, independent, SIGMAS) > most


def _share(share: float, independent: float) -> Estimate:
    """A share with half the width of Wilson's interval, which does not vanish where nothing was found."""
    return Estimate(share, math.sqrt(share * (1.0 - share) / independent + 0.25 / independent**2))


def _whole(labels: ArrayLike) -> numpy.ndarray:
    values = numpy.asarray(labels, dtype=float)
    if not numpy.all(values == numpy.round(values)):
        raise ValueError(
            "mode labels are whole numbers, such as the sign of the magnetisation or the topological charge"
        )
    return values
