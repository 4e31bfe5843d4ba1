"""Series with known means and autocorrelations."""

import math

import numpy
from scipy.signal import lfilter


def autoregressive(a, draws, chains=1, seed=0):
    """x_t = a x_{t-1} + sqrt(1 - a^2) noise in equilibrium, `(chain, draw)`: unit variance, tau_int = (1+a)/(2(1-a))."""
    noise = numpy.random.default_rng(seed).normal(size=(chains, draws))
    noise[:, 1:] *= math.sqrt(1 - a * a)
    return lfilter([1.0], [1.0, -a], noise, axis=1)


def gaussian_weights(n, shift=0.5, seed=0):
    """Samples of N(0, 1) and log weights towards e^{-x^2/2 + shift x}: log Z/Z_q = shift^2/2."""
    x = numpy.random.default_rng(seed).normal(size=n)
    return x, shift * x
