"""Plain PyTorch: leapfrog HMC of 2D U(1) as one would write it by hand, with torch.sin and torch.randn."""

import torch


def plaquette(links):
    """theta_01(x) of links `(chain, 2, L, L)`."""
    first, second = links[:, 0], links[:, 1]
    return first + torch.roll(second, -1, 1) - torch.roll(first, -1, 2) - second


def force(links, beta):
    """dS/dtheta for S = -beta sum cos theta_P."""
    sine = beta * torch.sin(plaquette(links))
    return torch.stack([sine - torch.roll(sine, 1, 2), torch.roll(sine, 1, 1) - sine], 1)


def leapfrog(links, momentum, beta, step_size, steps):
    """Links and momenta after `steps` leapfrog steps; neighbouring half steps of the links are one."""
    links = links + 0.5 * step_size * momentum
    for step in range(steps):
        momentum = momentum - step_size * force(links, beta)
        links = links + (0.5 if step == steps - 1 else 1.0) * step_size * momentum
    return links, momentum


def trajectory(links, beta, step_size, steps):
    """One leapfrog trajectory and accept step for every chain: the links, what was accepted."""
    momentum = torch.randn_like(links)
    new, final = leapfrog(links, momentum, beta, step_size, steps)
    potential = beta * (torch.cos(plaquette(links)) - torch.cos(plaquette(new))).sum((1, 2))
    d_h = potential + 0.5 * ((final - momentum) * (final + momentum)).sum((1, 2, 3))
    accepted = torch.rand(len(links), dtype=links.dtype) < torch.exp(-d_h)
    return torch.where(accepted[:, None, None, None], new, links), accepted
