"""The two published architectures in plain PyTorch, as usually written: masks of zeros and ones on the whole lattice.

phi^4: 16 affine couplings on alternating colours; U(1): 16 couplings of mixtures of non-compact projections on stripes
of period 4. Nets of two hidden layers, kernels 3 x 3, circular padding. Parameters are a list over layers of lists
[w0, b0, w1, b1, w2, b2]. Layers and conventions of arXiv:2101.08176; fields are `(n, *lattice)` or `(n, 2, *lattice)`.
"""

import math

import torch
from torch.nn.functional import conv2d, leaky_relu, pad


def net(weights, x):
    """Three convolutions, leaky ReLU between them."""
    for layer in range(3):
        x = conv2d(pad(x, (1, 1, 1, 1), mode="circular"), weights[2 * layer], weights[2 * layer + 1])
        x = leaky_relu(x) if layer < 2 else x
    return x


def checkerboard(lattice, parity):
    """Ones on the sites of a parity."""
    sites = torch.arange(lattice[0])[:, None] + torch.arange(lattice[1])
    return (sites % 2 == parity).double()


def phi4_prior(n, lattice):
    """Standard normal sites and their log-density."""
    x = torch.randn((n, *lattice), dtype=torch.float64)
    return x, -0.5 * (x * x).sum((1, 2)) - 0.5 * math.prod(lattice) * math.log(2.0 * math.pi)


def phi4_flow(layers, x):
    """Return (y, log_det) of the affine couplings."""
    log_det = 0.0
    masks = [checkerboard(x.shape[1:], parity) for parity in (0, 1)]
    for index, weights in enumerate(layers):
        active = masks[index % 2]
        s, t = torch.tanh(net(weights, ((1 - active) * x)[:, None])).unbind(1)
        s, t = active * s, active * t
        x = x * torch.exp(s) + t
        log_det = log_det + s.sum((1, 2))
    return x, log_det


def phi4_action(x, m2=-4.0, lam=8.0):
    """sum_x [sum_mu (x(x+mu) - x(x))^2 + m2 x^2 + lam x^4]."""
    density = m2 * x**2 + lam * x**4
    for axis in (1, 2):
        density = density + (torch.roll(x, -1, axis) - x) ** 2
    return density.sum((1, 2))


def u1_prior(n, lattice):
    """Uniform links; the log-density in normalised Haar measure is 0."""
    x = math.pi * (2.0 * torch.rand((n, 2, *lattice), dtype=torch.float64) - 1.0)
    return x, torch.zeros(n, dtype=torch.float64)


def wrap(x):
    """Angles into [-pi, pi)."""
    return torch.remainder(x + math.pi, 2.0 * math.pi) - math.pi


def plaquettes(x, mu, nu):
    """theta_mu(x) + theta_nu(x+mu) - theta_mu(x+nu) - theta_nu(x)."""
    a, b = x[:, mu], x[:, nu]
    return a + torch.roll(b, -1, mu + 1) - torch.roll(a, -1, nu + 1) - b


def stripes(lattice, nu, offset):
    """Ones on the sites with x_nu = offset modulo 4."""
    sites = (torch.arange(lattice[nu]) % 4 == offset % 4).double()
    return (sites[:, None] if nu == 0 else sites[None, :]).expand(lattice)


def projections(x, s):
    """(value, log slope) of the mean of 2 atan(e^s tan(x/2)) over the components on axis 1."""
    x = x[:, None]
    value = 2.0 * torch.atan(torch.exp(s) * torch.tan(x / 2.0))
    slope = 1.0 / (torch.exp(-s) * torch.cos(x / 2.0) ** 2 + torch.exp(s) * torch.sin(x / 2.0) ** 2)
    return value.mean(1), torch.log(slope.mean(1))


def u1_flow(layers, x):
    """Return (y, log_det) of the stripe couplings: layer k moves links along k mod 2 with offset k // 2 mod 4.

    The library moves the field by (-1, -1) sites after each pair of layers; this twin moves it once, at the end.
    """
    log_det = 0.0
    for index, weights in enumerate(layers):
        mu, nu, offset = index % 2, 1 - index % 2, index // 2 % 4
        active = stripes(x.shape[2:], nu, offset)
        frozen = stripes(x.shape[2:], nu, offset + 1) + stripes(x.shape[2:], nu, offset + 2)
        loops = plaquettes(x, mu, nu)
        seen = frozen * loops
        raw = net(weights, torch.stack([torch.cos(seen), torch.sin(seen)], 1))
        moved, log_slope = projections(wrap(active * loops), raw[:, :-1])
        change = active * wrap(moved + raw[:, -1] - loops)
        x = torch.stack([x[:, 0] + change, x[:, 1]] if mu == 0 else [x[:, 0], x[:, 1] + change], 1)
        x = wrap(x)
        log_det = log_det + (active * log_slope).sum((1, 2))
    half = len(layers) // 2
    return torch.roll(x, (-half, -half), (2, 3)), log_det


def u1_action(x, beta=2.0):
    """-beta sum cos theta_P."""
    return -beta * torch.cos(plaquettes(x, 0, 1)).sum((1, 2))


def loss(flow, action, layers, x, log_r):
    """Mean of log q + S over the batch."""
    y, log_det = flow(layers, x)
    return (log_r - log_det + action(y)).mean()


def train_step(flow, action, layers, optimiser, x, log_r):
    """One step of Adam on the reverse KL; returns the loss."""
    optimiser.zero_grad()
    value = loss(flow, action, layers, x, log_r)
    value.backward()
    optimiser.step()
    return value.detach()


def parameters(layers):
    """Host layers as tensors that take a gradient."""
    return [[torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in layer] for layer in layers]
