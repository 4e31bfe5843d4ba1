"""Plain PyTorch: leapfrog HMC of SU(N) in any dimension as one would write it by hand, matrices last and `@`.

Links are `(chain, d, *lattice, N, N)`; staple force; complex128; `torch.matrix_exp` for the drift.
"""

from typing import Any

import torch


def dagger(u):
    """The adjoint matrices."""
    return u.mH


def shifted(u, mu, steps=1):
    """u(x + steps mu) for `(chain, *lattice, N, N)`."""
    return torch.roll(u, -steps, 1 + mu)


def staples(links, mu):
    """The sum of the staples of the links along mu."""
    d, first = links.shape[1], links[:, mu]
    total = torch.zeros_like(first)
    for nu in range(d):
        if nu == mu:
            continue
        second = links[:, nu]
        far = shifted(second, mu)
        total += far @ dagger(shifted(first, nu)) @ dagger(second)
        total += shifted(dagger(far) @ dagger(first) @ second, nu, -1)
    return total


def force(links, beta):
    """Anti-Hermitian traceless F with P' = -F for momenta P, U' = P U."""
    n, forces = links.shape[-1], []
    for mu in range(links.shape[1]):
        loop = links[:, mu] @ staples(links, mu)
        anti = 0.5 * (loop - dagger(loop))
        trace = torch.diagonal(anti, dim1=-2, dim2=-1).sum(-1)[..., None, None] / n
        forces.append(beta / (2 * n) * (anti - trace * torch.eye(n, dtype=links.dtype)))
    return torch.stack(forces, dim=1)


def action(links, beta):
    """-(beta/N) sum Re tr U_P of every chain."""
    n, d = links.shape[-1], links.shape[1]
    total: Any = 0.0
    for mu in range(d):
        for nu in range(mu + 1, d):
            first, second = links[:, mu], links[:, nu]
            loop = first @ shifted(second, mu) @ dagger(second @ shifted(first, nu))
            total = total + torch.diagonal(loop, dim1=-2, dim2=-1).sum(-1).real
    return -beta / n * total.flatten(1).sum(1)


def momenta(links):
    """Anti-Hermitian traceless normal momenta with <tr P P^+> = (N^2 - 1)/2 a link."""
    n = links.shape[-1]
    x = torch.randn(links.shape, dtype=links.dtype) * 2**0.5
    anti = 0.5 * (x - dagger(x))
    trace = torch.diagonal(anti, dim1=-2, dim2=-1).sum(-1)[..., None, None] / n
    return 2**-0.5 * (anti - trace * torch.eye(n, dtype=links.dtype))


def kinetic(momentum):
    """sum tr P P^+ of every chain."""
    return momentum.abs().square().flatten(1).sum(1)


def leapfrog(links, momentum, beta, step_size, steps):
    """Links and momenta after `steps` leapfrog steps; neighbouring half steps of the links are one."""
    new, final = torch.matrix_exp(0.5 * step_size * momentum) @ links, momentum
    for step in range(steps):
        final = final - step_size * force(new, beta)
        last = step == steps - 1
        new = torch.matrix_exp((0.5 if last else 1.0) * step_size * final) @ new
    return new, final


def trajectory(links, beta, step_size, steps):
    """One leapfrog trajectory and accept step for every chain: the links, what was accepted, dH."""
    momentum = momenta(links)
    new, final = leapfrog(links, momentum, beta, step_size, steps)
    d_h = action(new, beta) - action(links, beta) + kinetic(final) - kinetic(momentum)
    accepted = torch.rand(len(links), dtype=torch.float64) < torch.exp(-d_h)
    return torch.where(accepted.reshape(-1, *(1,) * (links.ndim - 1)), new, links), accepted, d_h
