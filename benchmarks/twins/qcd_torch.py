"""Plain PyTorch: solves and forces of pseudofermions in QCD as one would write them by hand, matrices last and rolls.

Links are `(chain, 4, *lattice, 3, 3)` and carry the sign of the boundary, spinors `(chain, *lattice, 3, 4)`, colour by spin;
complex128. A field on the odd sites is one on all sites that vanishes on the even ones. gamma_mu = [[0, G_mu], [G_mu^+, 0]].
"""

import torch

G = torch.tensor(
    [
        [[1, 0], [0, 1]],
        [[0, 1j], [1j, 0]],
        [[0, 1], [-1, 0]],
        [[1j, 0], [0, -1j]],
    ],
    dtype=torch.complex128,
)


def by_matmul(u, h):
    """Links times half spinors `(..., 3, 2)`."""
    return u @ h


def by_einsum(u, h):
    """The same by einsum."""
    return torch.einsum("...ab,...bs->...as", u, h)


def shifted(x, mu, steps=1):
    """x(n + steps mu) for `(chain, *lattice, ...)`."""
    return torch.roll(x, -steps, 1 + mu)


def projected(psi, mu, sign):
    """The upper half of (1 + sign gamma_mu) psi."""
    return psi[..., :2] + sign * psi[..., 2:] @ G[mu].T


def rebuilt(h, mu, sign):
    """(1 + sign gamma_mu) psi from its upper half."""
    return torch.cat([h, sign * h @ G[mu].conj()], dim=-1)


def hop(links, psi, carry, sign=1):
    """H psi, for sign -1 H^+ psi."""
    total = torch.zeros_like(psi)
    for mu in range(links.shape[1]):
        u = links[:, mu]
        total += rebuilt(carry(u, projected(shifted(psi, mu), mu, -sign)), mu, -sign)
        back = carry(u.mH, projected(psi, mu, sign))
        total += rebuilt(shifted(back, mu, -1), mu, sign)
    return total


def schur(links, kappa, psi, carry, sign=1):
    """Dhat psi on the odd sites, for sign -1 Dhat^+ psi."""
    return psi - kappa**2 * hop(links, hop(links, psi, carry, sign), carry, sign)


def dot(x, y):
    """Re x^+ y of every chain."""
    return (x.conj() * y).real.flatten(1).sum(1)


def solve(links, kappa, b, tolerance, carry):
    """(Dhat Dhat^+)^-1 b by conjugate gradients, and the number of steps; chains that are done go on with the others."""
    x, r, p = torch.zeros_like(b), b, b
    square, aim, steps = dot(r, r), tolerance**2 * dot(b, b), 0
    while (square > aim).any():
        image = schur(links, kappa, schur(links, kappa, p, carry, -1), carry)
        alpha = (square / dot(p, image))[:, None, None, None, None, None, None]
        x, r = x + alpha * p, r - alpha * image
        after = dot(r, r)
        p = r + (after / square)[:, None, None, None, None, None, None] * p
        square, steps = after, steps + 1
    return x, steps


def force(links, kappa, phi, tolerance, carry):
    """Anti-Hermitian traceless F of phi^+ (Dhat Dhat^+)^-1 phi with P' = -F for momenta P, U' = P U, and the number of steps."""
    x, steps = solve(links, kappa, phi, tolerance, carry)
    y = schur(links, kappa, x, carry, -1)
    left, right = x + kappa * hop(links, x, carry, -1), y + kappa * hop(links, y, carry)
    forces = []
    for mu in range(links.shape[1]):
        ahead = shifted(projected(right, mu, -1), mu) @ projected(left, mu, -1).mH
        behind = shifted(projected(left, mu, 1), mu) @ projected(right, mu, 1).mH
        q = links[:, mu] @ (ahead + behind)
        anti = q - q.mH
        trace = torch.diagonal(anti, dim1=-2, dim2=-1).sum(-1)[..., None, None] / 3
        forces.append(-0.5 * kappa * (anti - trace * torch.eye(3, dtype=links.dtype)))
    return torch.stack(forces, dim=1), steps
