"""Named flows of phi^4: each constructor takes a lattice and returns a `Model(Gaussian(lattice), flow)`.

- `tutorial`: the published architecture, affine couplings on a standard normal prior (arXiv:2101.08176).
- `copula`: no net; learnt momentum scalings alternating with site-wise quartic tails, some 20 parameters.
- `convolutional`: the copula, followed by convolutional couplings on the two colours of the checkerboard in turn.
- `continuous`: free field, a flow in continuous time along smeared potentials, tail; some 80 numbers that carry to any volume.
"""

from __future__ import annotations

from typing import Any

from haarflow.flows.flow import Chain, Flow, Model, Repeat
from haarflow.flows.priors import Gaussian
from haarflow.flows.scalar.affine import AffineCoupling
from haarflow.flows.scalar.momentum import MomentumScaling
from haarflow.flows.scalar.nets import CheckerboardNet, LatticeNet
from haarflow.flows.scalar.shift import UniformShift
from haarflow.flows.scalar.smeared import SMEARINGS, SmearedPotentials
from haarflow.flows.scalar.spline import SplineCoupling
from haarflow.flows.scalar.tails import QuarticTail

LEAST_TAIL = 0.06  # initial c of a coupling's tail: it changes a typical field by less than a percent


def tutorial(
    lattice: tuple[int, ...], layers: int = 16, hidden: tuple[int, ...] = (8, 8), net_precision: str = "field"
) -> Model:
    """Return the model of arXiv:2101.08176, section 3: on L = 8, m2 = -4, lam = 8 its acceptance is 0.3 to 0.5.

    Affine couplings on alternating colours, nets with kernels 3 x 3, leaky ReLU and tanh on s and t, standard normal
    prior.
    Raises ValueError for an odd number of layers and, on use, for odd extents.

    >>> tutorial((8, 8)).flow.n
    8
    """
    if layers % 2 or layers < 2:
        raise ValueError(f"layers come in pairs, one for each colour: an even number >= 2 wanted, got {layers}")
    net = LatticeNet(len(lattice), hidden, final="tanh", net_precision=net_precision)
    return Model(Gaussian(tuple(lattice)), Repeat(Chain((AffineCoupling(net, 0), AffineCoupling(net, 1))), layers // 2))


def copula(lattice: tuple[int, ...], rounds: int = 1, condition: tuple[str, ...] = (), m2: float = 0.67) -> Model:
    """Return alternating momentum scalings and tails: free field, tail, then `rounds` times (scaling, 1/tail, scaling, tail).

    It commutes with translations, axis exchanges, reflections and phi -> -phi, and works on any extents. In the symmetric
    phase its acceptance is high for its cost; it cannot represent a double well.

    >>> len(copula((8, 8)).flow.flows)
    6
    """
    return Model(Gaussian(tuple(lattice)), Chain(_copula(len(lattice), rounds, condition, m2)))


def convolutional(
    lattice: tuple[int, ...],
    pairs: int = 1,
    rounds: int = 1,
    bins: int = 6,
    condition: tuple[str, ...] = (),
    m2: float = 0.67,
    shift: float = 0.0,
    tails: bool = True,
    **net: Any,
) -> Model:
    """Return the copula followed by `pairs` of convolutional couplings, one for each colour, and by a uniform shift.

    The shift is learnt and starts at `shift`, with 0 there is none: it takes the field to one of the wells of an ordered phase,
    for `symmetric=False`. With `tails=False` a momentum scaling takes the place of the copula, whose quartic tails are too thin on
    the side of a well from which the others are reached. Couplings are splines of `bins` bins, or with `bins=0` affine with a
    quartic tail, at half the cost; `net` takes options of `CheckerboardNet` (hidden, reach, kernel, activation, symmetric, tied,
    net_precision). By default all layers commute with phi -> -phi. Raises ValueError as its parts do, and on use for odd extents.

    >>> convolutional((8, 8), pairs=3).flow.flows[-1].n
    3
    """
    d = len(lattice)
    layers = couplings(CheckerboardNet(d, condition=condition, **net), pairs, bins)
    start = _copula(d, rounds, condition, m2) if tails else (MomentumScaling(d, 3, m2, condition),)
    end = (UniformShift(d, shift),) if shift else ()
    return Model(Gaussian(tuple(lattice)), Chain((*start, layers, *end)))


def continuous(
    lattice: tuple[int, ...],
    smearings: tuple[float, ...] = SMEARINGS,
    terms: int = 4,
    degree: int = 2,
    steps: int = 6,
    m2: float = 0.3,
) -> Model:
    """Return a free field, moved along smeared local potentials in continuous time (flows/scalar/smeared.py), and a tail.

    It commutes with translations, axis exchanges, reflections and phi -> -phi, and works on any extents. Smearing times reach
    from the lattice spacing to beyond the square of the correlation length. Raises ValueError as its parts do.

    >>> len(continuous((8, 8), smearings=(1.0,)).flow.flows)
    3
    """
    d = len(lattice)
    middle = SmearedPotentials(d, tuple(smearings), terms, degree, steps)
    return Model(Gaussian(tuple(lattice)), Chain((MomentumScaling(d, 3, m2), middle, QuarticTail(d, 0.6))))


def couplings(context: CheckerboardNet, pairs: int = 1, bins: int = 6) -> Repeat:
    """Return `pairs` of couplings with a context net, one for each colour, splines or with `bins=0` affine.

    >>> couplings(CheckerboardNet(2), pairs=3).n
    3
    """
    return Repeat(Chain((_coupling(context, 1, bins), _coupling(context, 0, bins))), pairs)


def _coupling(context: CheckerboardNet, parity: int, bins: int) -> Flow:
    return SplineCoupling(context, parity, bins) if bins else AffineCoupling(context, parity, tail=LEAST_TAIL)


def _copula(d: int, rounds: int, condition: tuple[str, ...], m2: float) -> tuple[Flow, ...]:
    scaling = MomentumScaling(d, 3, condition=condition)
    contract = QuarticTail(d, 2.0, condition=condition)
    expand = QuarticTail(d, 0.6, expand=True, condition=condition)
    return (MomentumScaling(d, 2, m2, condition), contract) + rounds * (scaling, expand, scaling, contract)
