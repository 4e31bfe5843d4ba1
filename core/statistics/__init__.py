"""Errors of Monte Carlo averages, on the host: the Gamma method, weighted draws, resampling.

Where an error cannot be estimated (NaN, constant, frozen, too short) `error` and `tau_int` are None, never a small number,
and the note says why.
"""

from haarflow.core.statistics.estimate import ENOUGH, Estimate
from haarflow.core.statistics.gamma import gamma_method
from haarflow.core.statistics.resampling import bootstrap, jackknife
from haarflow.core.statistics.weights import ess, log_z, mode_aware_ess, reweight

__all__ = (
    "ENOUGH",
    "Estimate",
    "bootstrap",
    "ess",
    "gamma_method",
    "jackknife",
    "log_z",
    "mode_aware_ess",
    "reweight",
)
