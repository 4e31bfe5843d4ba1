"""Errors of Monte Carlo averages, on the host: the Gamma method, weighted draws, resampling.

Where an error cannot be estimated (NaN, constant, frozen, too short) `error` and `tau_int` are None, never a small
number, and the note says why.
"""

from haarflow.core.statistics.correlated import Difference, correlated_derivative, correlated_difference
from haarflow.core.statistics.coverage import Coverage, coverage_of, target_log_z
from haarflow.core.statistics.effective import error_growth, ess, ess_difference, ess_estimate, log_normal_ess
from haarflow.core.statistics.estimate import ENOUGH, Estimate
from haarflow.core.statistics.free_energy import FreeEnergy, bennett, elbo, eubo, free_energy, iwae, log_z_bias
from haarflow.core.statistics.gamma import gamma_method
from haarflow.core.statistics.modes import Mode, modes
from haarflow.core.statistics.pareto import pareto_shape
from haarflow.core.statistics.resampling import bootstrap, jackknife
from haarflow.core.statistics.round_trips import RoundTrips, places, round_trips
from haarflow.core.statistics.sectors import within
from haarflow.core.statistics.thermodynamics import entropy, integrated, pressure
from haarflow.core.statistics.weights import Weights, log_z, mode_aware_ess, reweight, reweight_derived, weights_of

__all__ = (
    "ENOUGH",
    "Coverage",
    "Difference",
    "Estimate",
    "FreeEnergy",
    "Mode",
    "RoundTrips",
    "Weights",
    "bennett",
    "bootstrap",
    "correlated_derivative",
    "correlated_difference",
    "coverage_of",
    "elbo",
    "entropy",
    "error_growth",
    "ess",
    "ess_difference",
    "ess_estimate",
    "eubo",
    "free_energy",
    "gamma_method",
    "integrated",
    "iwae",
    "jackknife",
    "log_normal_ess",
    "log_z",
    "log_z_bias",
    "mode_aware_ess",
    "modes",
    "pareto_shape",
    "places",
    "pressure",
    "reweight",
    "reweight_derived",
    "round_trips",
    "target_log_z",
    "weights_of",
    "within",
)
