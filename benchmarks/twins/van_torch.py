"""Plain PyTorch: draws of a variational autoregressive network for spins as its paper has them, arXiv:1809.10606.

A masked dense net of one hidden layer on spins `(n, V)`, row-major; for each site in turn the whole net is evaluated,
and the site's spin is drawn from its own output. V passes for V sites.
"""

import torch


def masked(params, sites):
    """Weights `(V h, V)`, `(V, V h)`, `(V, V)` with zeros above the diagonal, and biases."""
    strict, loose = torch.ones(sites, sites).tril(-1), torch.ones(sites, sites).tril()
    units = params["w0"].shape[1]
    first = (params["w0"][..., 0] * strict[:, None, :]).reshape(sites * units, sites)
    second = (params["w1"][:, 0] * loose[:, :, None]).reshape(sites, sites * units)
    return first, params["b0"].reshape(-1), second, params["b1"].reshape(-1), params["direct"] * strict


def fields(net, spins):
    """The local fields of all sites, one pass."""
    first, first_bias, second, second_bias, direct = net
    hidden = torch.tanh(torch.nn.functional.linear(spins, first, first_bias))
    return torch.nn.functional.linear(hidden, second, second_bias) + torch.nn.functional.linear(spins, direct)


def sample(net, uniforms):
    """Return spins `(n, V)` drawn by uniform numbers `(n, V)`, and log q."""
    spins = torch.zeros_like(uniforms)
    for site in range(uniforms.shape[1]):
        up = torch.sigmoid(2.0 * fields(net, spins)[:, site])
        spins[:, site] = torch.where(uniforms[:, site] < up, 1.0, -1.0)
    return spins, torch.nn.functional.logsigmoid(2.0 * spins * fields(net, spins)).sum(-1)
