"""Autocovariances of chains, and the window in which they are summed (Wolff, hep-lat/0306017)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy

WINDOW = 1.5  # Wolff's S: the ratio of the exponential to the integrated autocorrelation time that the window assumes


class Summed(NamedTuple):
    """Gamma(0), the sum over all t of Gamma(t) within the window, the window W, and rho(0...W)."""

    variance: float
    total: float
    window: int
    rho: numpy.ndarray


def autocovariance(fluctuations: numpy.ndarray, present: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return Gamma(t) for t < slots / 2 over all pairs of all chains `(chain, slot)`, and the share of pairs that exist.

    The share is relative to chains of as many draws without gaps: 1 for all t if there are none.
    """
    slots = fluctuations.shape[1]
    lags = numpy.arange(max(slots // 2, 1))
    sums = _correlated(fluctuations)[: len(lags)]
    lengths = present.sum(axis=1)
    whole = numpy.maximum(lengths[:, None] - lags, 0).sum(axis=0)
    full = bool((present[:, :-1] >= present[:, 1:]).all())  # no gaps, at most shorter chains
    pairs = whole if full else numpy.round(_correlated(present.astype(float))[: len(lags)])
    return sums / numpy.maximum(pairs, 1), pairs / numpy.maximum(whole, 1)


def _correlated(rows: numpy.ndarray) -> numpy.ndarray:
    """The sums over chains and draws of x(i) x(i + t), by Fourier transform."""
    slots = rows.shape[1]
    padded = 1 << (2 * slots - 1).bit_length()
    spectrum = numpy.fft.rfft(rows, n=padded, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    sums: numpy.ndarray = numpy.fft.irfft(power, n=padded)[:slots]
    return sums


def summed(gamma: numpy.ndarray, share: numpy.ndarray, n: int, s: float = WINDOW) -> Summed | None:
    """Return the sum over the automatic window of n draws, None if no window closes.

    The window is the first W at which exp(-W/tau) < tau / sqrt(W n), tau from tau_int and S = `s`. Below 1/2 + 2/sqrt(n),
    which is noise, tau_int does not choose the window: the error of tau_int would not be that of its scatter.
    """
    rho = share[1:] * gamma[1:] / gamma[0]
    tau = 0.5 + numpy.cumsum(rho)  # tau[W-1] is the sum up to W
    tau = numpy.where(tau > 0.5, tau, 0.5 + numpy.cumsum(numpy.abs(rho)))  # alternating series: use the decay of |rho|
    w, tau = numpy.arange(1, len(gamma)), numpy.maximum(tau, 0.5 + 2.0 / math.sqrt(n))
    slow = s / numpy.log((2.0 * tau + 1.0) / (2.0 * tau - 1.0))
    closed = numpy.exp(-w / slow) - slow / numpy.sqrt(w * n) < 0.0
    if not closed.any():
        return None
    last = int(w[numpy.argmax(closed)])
    kept = numpy.concatenate([[1.0], rho[:last]])
    return Summed(float(gamma[0]), float(gamma[0] * (2.0 * kept.sum() - 1.0)), last, kept)


def error_of_time(rho: numpy.ndarray, n: int) -> float:
    """Return the error of tau_int = 1/2 + sum of rho(1...W), by Bartlett's formula for the covariance of rho from n draws.

    For W far beyond tau_int it tends to tau_int sqrt(4 W / n), as does eq. 42 of hep-lat/0306017, which is up to 15% larger.

    >>> error_of_time(numpy.asarray([1.0, 0.0]), 400)
    0.05
    """
    w = len(rho) - 1
    lags = numpy.arange(-2 * w, 2 * w + 1)
    even = numpy.concatenate([numpy.zeros(2 * w), rho[:0:-1], rho, numpy.zeros(2 * w)])  # lags -3w ... 3w
    sums = numpy.concatenate([[0.0], numpy.cumsum(even)])
    ahead = sums[lags + 4 * w + 1] - sums[lags + 3 * w + 1]  # of rho(m+1 ... m+w)
    total, at = rho[1:].sum(), even[lags + 3 * w]
    variance = (ahead * ahead + ahead * ahead[::-1] + 2.0 * (total * at) ** 2 - 4.0 * total * at * ahead).sum()
    return math.sqrt(max(float(variance), 0.0) / n)
