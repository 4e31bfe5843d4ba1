"""The two published architectures by hand in native JAX: the cost of the library's flows relative to code for one backend.

Same layers, same algorithm (convolutions by circulants of half rows, circle maps on active stripes only), no
abstraction: jnp, lax.scan, jax.random. Parameters as in tutorial_torch, stacked over pairs of layers.
"""

import math
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy


@cache
def circulants(length):
    """For each tap of three the matrices (A + B)/2 and (A - B)/2, A within a half of the row and B across."""
    row, taps, half = numpy.arange(length), numpy.zeros((3, length, length)), length // 2
    for k in range(3):
        taps[k, (row + k - 1) % length, row] = 1.0
    a, b = taps[:, :half, :half], taps[:, half:, :half]
    return (a + b) / 2, (a - b) / 2


def mix(a, b):
    """Sum and difference."""
    return a + b, a - b


def conv(halves, w, b):
    """Periodic 3 x 3 convolution of halves of rows `(C, Y/2, X, n)` to `(O, Y/2, X, n)`."""
    out, channels = w.shape[:2]
    half, *others = halves[0].shape[1:]
    outputs = []
    for rows, taps in zip(mix(*halves), circulants(2 * half), strict=True):
        matrix = jnp.tensordot(w, taps, 1)
        if channels < out:
            matrix = jnp.reshape(jnp.transpose(matrix, (0, 4, 2, 1, 3)), (out * half, -1))
            rows = jnp.concatenate([jnp.roll(rows, 1, 2), rows, jnp.roll(rows, -1, 2)], 0)
            outputs.append(jnp.reshape(matrix @ jnp.reshape(rows, (3 * channels * half, -1)), (out, half, *others)))
        else:
            matrix = jnp.reshape(jnp.transpose(matrix, (2, 0, 4, 1, 3)), (-1, channels * half))
            rows = jnp.reshape(matrix @ jnp.reshape(rows, (channels * half, -1)), (3, out, half, *others))
            outputs.append(jnp.roll(rows[0], 1, 2) + rows[1] + jnp.roll(rows[2], -1, 2))
    return [part + b[:, None, None, None] for part in mix(*outputs)]


def net(weights, x):
    """Three convolutions, leaky ReLU between them, `(n, C, X, Y)` to `(n, O, X, Y)`."""
    n, channels, extent, length = x.shape
    x = jnp.transpose(jnp.reshape(x, (n, channels, extent, 2, length // 2)), (3, 1, 4, 2, 0))
    halves = [x[0], x[1]]
    for layer in range(3):
        halves = conv(halves, weights[2 * layer], weights[2 * layer + 1])
        halves = [jnp.where(x > 0, x, 0.01 * x) for x in halves] if layer < 2 else halves
    return jnp.reshape(jnp.transpose(jnp.stack(halves), (4, 1, 3, 0, 2)), (n, -1, extent, length))


def phi4_prior(key, n, lattice):
    """Standard normal sites and their log-density."""
    x = jax.random.normal(key, (n, *lattice), jnp.float64)
    return x, -0.5 * jnp.sum(x * x, (1, 2)) - 0.5 * math.prod(lattice) * math.log(2.0 * math.pi)


def phi4_flow(pairs, x):
    """Return (y, log_det); `pairs` = two lists of weights, each stacked over the pairs of layers."""
    sites = numpy.indices(x.shape[1:]).sum(0) % 2

    def pair(x, weights):
        total: Any = 0.0
        for parity in (0, 1):
            active = jnp.asarray(sites == parity, x.dtype)
            raw = jnp.tanh(net(weights[parity], ((1 - active) * x)[:, None]))
            s, t = active * raw[:, 0], active * raw[:, 1]
            x, total = x * jnp.exp(s) + t, total + jnp.sum(s, (1, 2))
        return x, total

    x, log_dets = jax.lax.scan(pair, x, pairs)
    return x, jnp.sum(log_dets, 0)


def phi4_action(x, m2=-4.0, lam=8.0):
    """sum_x [sum_mu (x(x+mu) - x(x))^2 + m2 x^2 + lam x^4]."""
    density = m2 * x**2 + lam * x**4
    for axis in (1, 2):
        density = density + (jnp.roll(x, -1, axis) - x) ** 2
    return jnp.sum(density, (1, 2))


def u1_prior(key, n, lattice):
    """Uniform links; the log-density in normalised Haar measure is 0."""
    return jax.random.uniform(key, (n, 2, *lattice), jnp.float64, -math.pi, math.pi), jnp.zeros(n)


def wrap(x):
    """Angles into [-pi, pi)."""
    return x - 2.0 * math.pi * jnp.floor((x + math.pi) / (2.0 * math.pi))


def plaquettes(x, mu, nu):
    """theta_mu(x) + theta_nu(x+mu) - theta_mu(x+nu) - theta_nu(x)."""
    a, b = x[:, mu], x[:, nu]
    return a + jnp.roll(b, -1, mu + 1) - jnp.roll(a, -1, nu + 1) - b


def projections(x, s):
    """(value, log slope) of the mean over axis 1 of 2 atan(e^s tan(x/2)), as Moebius maps with centre tanh(s/2)."""
    centre = jnp.tanh(0.5 * s)
    sine, cosine = jnp.sin(x)[:, None], jnp.cos(x)[:, None]
    gap = 1.0 - centre * cosine
    slope = (1.0 - centre**2) / (2.0 * gap - (1.0 - centre**2))
    return x + 2.0 * jnp.mean(jnp.arctan(centre * sine / gap), 1), jnp.log(jnp.mean(slope, 1))


def u1_flow(pairs, x):
    """Return (y, log_det); each pair moves links along 0, links along 1, then the field by (-1, -1) sites."""

    def pair(x, weights):
        x, first = u1_layer(weights[0], x, 0, 1)
        x, second = u1_layer(weights[1], x, 1, 0)
        return jnp.roll(x, (-1, -1), (2, 3)), first + second

    x, log_dets = jax.lax.scan(pair, x, pairs)
    return x, jnp.sum(log_dets, 0)


def u1_layer(weights, x, mu, nu):
    """One coupling with active stripes at x_nu = 0 modulo 4: the net on the whole lattice, the map on the stripes."""
    position = numpy.arange(x.shape[2 + nu]) % 4
    frozen = ((position == 1) | (position == 2)).reshape((-1, 1) if nu == 0 else (1, -1))
    loops = plaquettes(x, mu, nu)
    seen = jnp.where(frozen, loops, 0.0)
    raw = net(weights, jnp.stack([jnp.cos(seen), jnp.sin(seen)], 1))
    pick = (slice(None, None, 4),) if nu == 0 else (slice(None), slice(None, None, 4))
    raw, flux = raw[(slice(None), slice(None), *pick)], loops[(slice(None), *pick)]
    s, t = raw[:, :-1], raw[:, -1]
    moved, log_slope = projections(flux, s)
    link = x[(slice(None), mu, *pick)]
    return x.at[(slice(None), mu, *pick)].set(wrap(link + wrap(moved + t - flux))), jnp.sum(log_slope, (1, 2))


def u1_action(x, beta=2.0):
    """-beta sum cos theta_P."""
    return -beta * jnp.sum(jnp.cos(plaquettes(x, 0, 1)), (1, 2))


def train_step(flow, action, prior, optimiser, n, lattice):
    """The jitted step (params, optimiser state, key) -> (params, state, key, loss) of Adam on the reverse KL."""

    def loss(params, key):
        x, log_r = prior(key, n, lattice)
        y, log_det = flow(params, x)
        return jnp.mean(log_r - log_det + action(y))

    def step(params, state, key):
        key, draw = jax.random.split(key)
        value, grads = jax.value_and_grad(loss)(params, draw)
        updates, state = optimiser.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state, key, value

    return jax.jit(step)


def sampler(flow, prior, n, lattice):
    """The jitted sampler (params, key) -> (y, log_q)."""

    def sample(params, key):
        x, log_r = prior(key, n, lattice)
        y, log_det = flow(params, x)
        return y, log_r - log_det

    return jax.jit(sample)
