"""The closed form of each division of flux by a coarse-to-fine U(1) flow, which two dimensions have.

With g_A the density of the flux of A plaquettes on the plane, the flux S of one half of a rectangle of area A has, given
the flux T of the whole, the density

    p(S | T) = g_{A/2}(S) g_{A/2}(T - S) / g_A(T),   g_A(x) = sum_n (I_n(beta)/I_0(beta))^A e^{inx},

with respect to dS/2pi. The KL divergence of the flow is then a sum, that of the blocks and for each division
E_T KL(p(.|T) | q(.|T)).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy

from haarflow.flows.flow import Chain
from haarflow.flows.u1.coupling import GaugeCoupling

GRID = 4096  # points of the circle on which Fourier coefficients are computed
FAINT = 1e-14  # of the largest density of a flux, where rounding begins


class Division(NamedTuple):
    """The couplings, one after another, that halve rectangles of `area` plaquettes, by their numbers in the chain."""

    area: int
    layers: tuple[int, ...]


class Grid(NamedTuple):
    """T `(T,)`, S `(S,)`, the densities p(S|T) `(T, S)` of mean 1 over S, and the probability of each T `(T,)`."""

    whole: numpy.ndarray
    half: numpy.ndarray
    density: numpy.ndarray
    share: numpy.ndarray


def flux_density(beta: float, area: int, angle: numpy.ndarray) -> numpy.ndarray:
    """Return g_A(x), the density of the flux of `area` plaquettes with respect to dx/2pi, at host angles of any shape.

    >>> flux_density(2.0, 1, numpy.asarray([0.0, math.pi])).round(6).tolist()
    [3.241404, 0.059368]
    """
    x = 2 * math.pi * numpy.arange(GRID) / GRID
    ratios = numpy.fft.rfft(numpy.exp(beta * (numpy.cos(x) - 1))).real
    if area == 1:
        single: numpy.ndarray = numpy.exp(beta * (numpy.cos(angle) - 1)) * GRID / ratios[0]
        return single
    powers = (ratios[1 : GRID // 4] / ratios[0]) ** area
    kept = powers[: max(1, int(numpy.sum(powers > 1e-18)))]
    waves = numpy.cos(numpy.asarray(angle)[..., None] * numpy.arange(1, len(kept) + 1))
    density: numpy.ndarray = numpy.maximum(1 + 2 * waves @ kept, FAINT * (1 + 2 * kept.sum()))
    return density


def division_grid(beta: float, area: int, wholes: int, halves: int, first: float = 0.5) -> Grid:
    """Return p(S|T) on a grid of the angles T and S of an even number of plaquettes and of one half of them.

    Both begin `first` of a spacing above -pi.

    >>> grid = division_grid(2.0, 4, wholes=8, halves=32)
    >>> grid.density.shape, round(float(grid.density.mean()), 12), round(float(grid.share.sum()), 12)
    ((8, 32), 1.0, 1.0)
    """
    whole, half = (2 * math.pi * (numpy.arange(points) + first) / points - math.pi for points in (wholes, halves))
    other = flux_density(beta, area // 2, whole[:, None] - half)
    density = flux_density(beta, area // 2, half) * other
    share = flux_density(beta, area, whole)
    return Grid(whole, half, density / density.mean(axis=1, keepdims=True), share / share.sum())


def divisions(flow: Any) -> tuple[Division, ...]:
    """Return the divisions of a chain of couplings, each of which halves the rectangle that is its first context loop, in order.

    Raises ValueError for flows of another kind, and for couplings that are told a condition.

    >>> from haarflow.flows.u1.architectures import convolutional
    >>> divisions(convolutional((8, 8)).flow)[0]
    Division(area=16, layers=(0, 1))
    """
    found, layers = list[Division](), couplings_of(flow)
    if not layers or not all(map(_halves, layers)):
        raise ValueError(
            "the closed form is that of flows which halve the flux of rectangles and know it: take flow.kind = 'convolutional', "
            "conditioned"
        )
    if any(layer.condition for layer in layers):
        raise ValueError("the closed form is that of one coupling beta: leave out flow.condition")
    for number, layer in enumerate(layers):
        again = number > 0 and layer == layers[number - 1]
        earlier = found.pop().layers if again else ()
        found.append(Division(math.prod(layer.context[0][1]), (*earlier, number)))
    return tuple(found)


def couplings_of(flow: Any) -> tuple[GaugeCoupling, ...]:
    """Return the layers of a chain of gauge couplings, none for other flows."""
    layers = flow.flows if isinstance(flow, Chain) else ()
    found = tuple(layer for layer in layers if isinstance(layer, GaugeCoupling))
    return found if len(found) == len(layers) else ()


def _halves(layer: GaugeCoupling) -> bool:
    """Whether the first context loop is the rectangle of which the active loop is one of two equal halves."""
    if not layer.context or layer.on_lattice:
        return False
    (plane, (length, width), corner), (whole_plane, whole, whole_corner) = layer.loop, layer.context[0]
    beside = tuple(a - b for a, b in zip(corner, whole_corner, strict=True))
    across = tuple(width if axis == plane[1] else 0 for axis in range(layer.d))
    return plane == whole_plane and whole == (length, 2 * width) and beside in (across, (0,) * layer.d)
