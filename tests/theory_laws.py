"""Laws of a theory as residuals, shared by the tests of all theories."""

import math

import numpy as np

# eighth-order central difference
STENCIL = ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))


def difference_force(theory, field, couplings, h=0.02):
    """dS along the group for one field without batch, all components at once as a batch of perturbed fields."""
    size = math.prod(field.shape)
    steps = np.eye(size).reshape(size, *field.shape) * h
    total = 0.0
    for multiple, weight in STENCIL:
        up = theory.action(field + multiple * steps, couplings)
        total = total + weight * (up - theory.action(field - multiple * steps, couplings))
    return total.reshape(field.shape) / h


def translated(field, lattice, mu, steps=1):
    """The field moved by some sites."""
    return np.roll(field, steps, axis=mu - len(lattice))


def reflected_scalar(field, d, mu):
    """phi(x) -> phi(-x_mu)."""
    return np.roll(np.flip(field, axis=mu - d), 1, axis=mu - d)


def reflected_links(links, d, mu):
    """Links under x_mu -> -x_mu: those along mu turn round and start one site on."""
    parts = []
    for nu in range(d):
        part = reflected_scalar(links[(..., nu) + (slice(None),) * d], d, mu)
        parts.append(-np.roll(part, -1, axis=mu - d) if nu == mu else part)
    return np.stack(parts, axis=-1 - d)
