"""Plain PyTorch: couplings of SU(N) links by the gradient of plaquettes, matrices last and `@`, as written by hand.

Links are `(n, d, *lattice, N, N)`, complex128. A layer moves the links along mu of one transverse colour, U' = e^{iw} U with
w_a = -Im tr(T_a W), W = U sum_k rho_k V_k; staples on the whole lattice by rolls, the rest on the active links only. The
Jacobian of a link in the algebra frame is 1 + f(-A) M up to a rotation, A_ab = f_abc w_c, f(A) = (e^A - 1)/A by its series,
M_ab = -Re tr(T_a T_b W), and its determinant is `torch.linalg.slogdet`'s.
"""

import math
from functools import lru_cache

import numpy
import torch

from haarflow.benchmarks.twins.hmc_sun_torch import action, dagger, shifted
from haarflow.core.groups.generators import generators

TERMS = 16  # of f, for roots of A up to 1: 1/17! is below rounding


@lru_cache
def tables(n):
    """T_a, T_a T_b and f_abc."""
    t = numpy.stack(generators(n))
    products = numpy.einsum("aij,bjk->abik", t, t)
    f = -2j * numpy.einsum("abij,cji->abc", products - products.transpose(1, 0, 2, 3), t)
    return torch.tensor(t), torch.tensor(products), torch.tensor(f.real)


@lru_cache
def active(lattice, mu, period, colour):
    """True on the sites whose link along mu moves."""
    axes = torch.meshgrid(*(torch.arange(extent) for extent in lattice), indexing="ij")
    return sum(axis for nu, axis in enumerate(axes) if nu != mu) % period == colour


def staples(links, mu, rho):
    """The sum of the staples of the links along mu, each plane with its coefficient."""
    d, first, total, plane = links.shape[1], links[:, mu], 0.0, 0
    for nu in range(d):
        if nu == mu:
            continue
        second = links[:, nu]
        far = shifted(second, mu)
        ahead = far @ dagger(shifted(first, nu)) @ dagger(second)
        behind = shifted(dagger(far) @ dagger(first) @ second, nu, -1)
        total = total + rho[plane] * (ahead + behind)
        plane += 1
    return total


def step(w):
    """w_a and the matrix i w_a T_a, half the traceless anti-Hermitian part of -W."""
    n = w.shape[-1]
    anti = 0.5 * (w - dagger(w))
    trace = torch.diagonal(anti, dim1=-2, dim2=-1).sum(-1)[..., None, None] / n
    numbers = -torch.einsum("aij,...ji->...a", tables(n)[0], w).imag
    return numbers, -0.5 * (anti - trace * torch.eye(n, dtype=w.dtype))


def log_jacobian(numbers, w):
    """log det (1 + f(-A) M) of every link."""
    _, products, f = tables(w.shape[-1])
    turned = torch.einsum("abc,...c->...ab", f, numbers)
    m = -torch.einsum("abij,...ji->...ab", products, w).real
    one = torch.eye(m.shape[-1], dtype=m.dtype)
    series = one / math.factorial(TERMS + 1)
    for k in range(TERMS - 1, -1, -1):
        series = one / math.factorial(k + 1) - turned @ series
    return torch.linalg.slogdet(one + series @ m)[1]


def coupling(links, mu, colour, rho, bound=1.0, period=2):
    """Return (y, log_det) of one layer; the parameters rho `(d-1,)` are bounded inside."""
    share = bound / (2 * len(rho))
    where = active(links.shape[2:-2], mu, period, colour)
    link = links[:, mu][:, where]
    w = link @ staples(links, mu, share * torch.tanh(rho / share))[:, where]
    numbers, drift = step(w)
    moved = links.clone()
    moved[:, mu, where] = torch.matrix_exp(drift) @ link
    return moved, log_jacobian(numbers, w).sum(-1)


def flow(layers, links, bound=1.0, period=2):
    """Return (y, log_det) of layers (mu, colour, rho)."""
    log_det = 0.0
    for mu, colour, rho in layers:
        links, change = coupling(links, mu, colour, rho, bound, period)
        log_det = log_det + change
    return links, log_det


def loss(layers, links, beta):
    """Reverse Kullback-Leibler divergence from Haar links, up to log Z."""
    y, log_det = flow(layers, links)
    return (action(y, beta) - log_det).mean()
