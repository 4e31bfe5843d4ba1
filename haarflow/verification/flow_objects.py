"""The flows and priors that the laws check: all public ones, each architecture in a small size, the shipped models.

A flow is part of a `Model`, whose prior determines its fields. Networks are a few features wide: the laws do not depend
on their size, compile times do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from haarflow import models
from haarflow.backends import of
from haarflow.backends.tree import tree_map
from haarflow.core.laws.law import to_host
from haarflow.flows.between import Between
from haarflow.flows.catalogue import FLOWS, constructor
from haarflow.flows.flow import Chain, Model, Repeat, Translate
from haarflow.flows.links.orientations import EveryPlane, Turn
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.loops.step import LoopStep
from haarflow.flows.masks import frozen_loops
from haarflow.flows.mixtures import symmetrised
from haarflow.flows.modelfile import open_model
from haarflow.flows.priors import FreeField, Gaussian, HaarLinks, UniformLinks, UniformSites
from haarflow.flows.scalar import architectures as phi4
from haarflow.flows.scalar.affine import AffineCoupling
from haarflow.flows.scalar.momentum import MomentumScaling
from haarflow.flows.scalar.nets import CheckerboardNet, LatticeNet
from haarflow.flows.scalar.shift import UniformShift
from haarflow.flows.scalar.spline import SplineCoupling
from haarflow.flows.scalar.tails import QuarticTail
from haarflow.flows.sun import architectures as sun
from haarflow.flows.sun.gradient_coupling import LoopCoupling
from haarflow.flows.sun.gradient_sweep import SUNGradientSweep
from haarflow.flows.sun.spectral import SpectralCoupling
from haarflow.flows.sun.sweep import ClassSweep
from haarflow.flows.u1 import architectures as u1
from haarflow.flows.u1.coupling import GaugeCoupling
from haarflow.flows.u1.gradient_sweep import GradientSweep
from haarflow.flows.u1.sweep import Sweep
from haarflow.verification.entry import Entry

Lattice = tuple[int, ...]


def on(prior: type, flow: Any) -> Callable[[Lattice], Model]:
    """Return the function that puts a flow on a prior, for any lattice.

    >>> on(Gaussian, QuarticTail(2))((2, 2)).prior
    Gaussian(lattice=(2, 2), sigma=1.0)
    """
    return lambda lattice: Model(prior(lattice), flow)


def by_loops(flow: Any) -> Callable[[Lattice], Model]:
    """Return the function that puts a flow of SU(N) links on the Haar prior, for any lattice.

    >>> by_loops(LoopCoupling(3, 2, 0, 1))((4, 4)).prior
    HaarLinks(lattice=(4, 4), n=3)
    """
    return lambda lattice: Model(HaarLinks(lattice, flow.n), flow)


@dataclass(frozen=True)
class Shipped(Model):
    """A shipped model on any lattice; its initial parameters are the trained ones."""

    name: str = ""

    def init(self, key: Any, dtype: str = "float64") -> Any:
        """Return the trained parameters."""
        params = open_model(models.path_of(self.name)).params
        return tree_map(lambda leaf: of(key).asarray(to_host(leaf), dtype=dtype), params)


def shipped(name: str) -> Callable[[Lattice], Shipped]:
    """Return the function that makes a shipped model on any lattice: the same flow in another volume.

    >>> shipped("u1-freezing")((4, 4)).flow.bins
    32
    """
    return lambda lattice: Shipped(UniformLinks(lattice), open_model(models.path_of(name)).model.flow, name=name)


# One coupling splits the flux of 1 x 2 rectangles: its mask has period 2, the smallest lattice is 2 x 2.
HALVES = ("stripes", 1, 0, 2, 1)
WHOLE, HALF = ((1, 0), (1, 2), (-1, 0)), ((1, 0), (1, 1), (0, 0))
STRIPES = ("stripes", 0, 1, 4, 3)
CELLS = ("cells", 1, 0, (2, 2), (1, 0))
SPACE = ("stripes", 2, 0, 2, 1)
TIME = ("stripes", 3, 1, 2, 0)


def halving(map: str, pieces: int, **options: Any) -> GaugeCoupling:
    """Return the smallest gauge coupling, with one family of circle maps.

    >>> halving("spline", 3).periods
    (2, 1)
    """
    return GaugeCoupling(2, HALVES, (WHOLE,), map, pieces, hidden=(3,), active=HALF, **options)


NET = CheckerboardNet(2, hidden=(3,), reach=3, final_scale=0.5)
DEEP = CheckerboardNet(2, hidden=(3, 2), reach=3, kernel=3, final_scale=0.5)
TIED = CheckerboardNet(3, hidden=(2,), reach=3, tied=True, final_scale=0.5)
PLAIN = CheckerboardNet(2, (3,), 3, symmetric=False, condition=("lam", "m2"), final_scale=0.5)
LATTICE = LatticeNet(2, hidden=(3,), final="tanh")
SQUARES = ((2, 2), (4, 4), (2, 4))
PAIR = Chain((halving("moebius", 1), Translate((1, 1), 1)))

WELL = Chain((QuarticTail(2, 0.3), UniformShift(2, 0.4)))
TAILS = Chain((QuarticTail(2, 0.5), QuarticTail(2, 2.0, expand=True)))

FLOW_ENTRIES: tuple[Entry, ...] = (
    Entry("uniform shift", "model", on(Gaussian, UniformShift(2, 0.5)), ((2, 2), (3, 2))),
    Entry("well and its image", "model", lambda lattice: symmetrised(on(Gaussian, WELL)(lattice), ("Z2",)), ((2, 2),)),
    Entry("repeated chain", "model", on(Gaussian, Repeat(TAILS, 2)), ((2, 2), (3, 2))),
    # gauge couplings
    *[
        Entry(f"gauge coupling, {map}", "model", on(UniformLinks, halving(map, pieces)), ((2, 2), (4, 2), (2, 3)))
        for map, pieces in (("spline", 3), ("noncompact", 2), ("moebius", 2), ("moebius_pairs", 1))
    ],
    Entry(
        "stripes and larger loops",
        "model",
        on(
            UniformLinks,
            GaugeCoupling(2, STRIPES, frozen_loops(STRIPES, 2, [(1, 1), (1, 2)]), "spline", 4, hidden=(4,), kernel=3),
        ),
        ((2, 4), (1, 4), (3, 8)),
    ),
    Entry(
        "cells, a larger active loop",
        "model",
        on(
            UniformLinks,
            GaugeCoupling(
                2, CELLS, (((1, 0), (2, 2), (-1, 0)),), "moebius", 2, (3,), active=((1, 0), (2, 1), (0, 0)), harmonics=3
            ),
        ),
        ((4, 4), (2, 4)),
    ),
    Entry(
        "tied kernels",
        "model",
        on(
            UniformLinks,
            GaugeCoupling(2, STRIPES, frozen_loops(STRIPES, 2, [(1, 1)]), "moebius", 1, (3,), kernel=3, tied=True),
        ),
        ((3, 4), (4, 4)),
    ),
    Entry(
        "three dimensions",
        "model",
        on(
            UniformLinks,
            GaugeCoupling(3, SPACE, frozen_loops(SPACE, 3, [(1, 2)], [(2, 0), (1, 0)]), "spline", 3, hidden=(3,)),
        ),
        ((2, 2, 2), (2, 1, 3)),
    ),
    Entry(
        "four dimensions",
        "model",
        on(UniformLinks, GaugeCoupling(4, TIME, frozen_loops(TIME, 4, [(1, 2)]), "noncompact", 3, hidden=(3,))),
        ((2, 2, 1, 2), (1, 2, 2, 1)),
    ),
    Entry(
        "gauge coupling, conditioned",
        "model",
        on(UniformLinks, halving("moebius", 2, condition=("beta",))),
        ((2, 2), (4, 3)),
    ),
    Entry("chain that ends up displaced", "model", on(UniformLinks, Repeat(PAIR, 3)), ((2, 2), (4, 2))),
    Entry("translation of links", "model", on(UniformLinks, Translate((1, -2), 1)), ((2, 3), (1, 4))),
    Entry("gradient sweep", "model", on(UniformLinks, GradientSweep(2, 0.1)), ((2, 2), (2, 3))),
    # the sweep
    Entry("sweep", "model", on(UniformLinks, Sweep(8, 3)), ((2, 2), (1, 3), (3, 1), (2, 3))),
    Entry(
        "between two couplings",
        "model",
        on(
            UniformLinks,
            Between(Sweep(6, 2, condition=("beta",), plaquette=2, table=False), (("beta", 1.0),), (("beta", 3.0),)),
        ),
        ((2, 2),),
    ),
    Entry(
        "sweep, conditioned, a net, no charge symmetry",
        "model",
        on(UniformLinks, Sweep(6, 2, (4,), ("beta",), charge_symmetric=False)),
        ((1, 3), (3, 1), (2, 2), (3, 2)),
    ),
    # U(1) architectures and shipped models
    Entry("u1 tutorial", "model", lambda lattice: u1.tutorial(lattice, 2, hidden=(3,)), ((4, 4), (4, 8))),
    Entry(
        "u1 stripes",
        "model",
        lambda lattice: u1.stripes(lattice, 1, 2, ((1, 2),), hidden=(3,), pieces=1, kernel=1),
        ((2, 2), (4, 2)),
    ),
    Entry(
        "u1 convolutional",
        "model",
        lambda lattice: u1.convolutional(lattice, 2, 1, hidden=(3,), pieces=1, harmonics=1),
        ((2, 2), (2, 4), (2, 2, 2)),
    ),
    Entry("shipped u1-freezing", "model", shipped("u1-freezing"), ((2, 2), (4, 4))),
    Entry("shipped u1-freezing-convolutional", "model", shipped("u1-freezing-convolutional"), ((4, 4),)),
    # SU(N): one coupling by loops, and the trivialising flow
    Entry("loop coupling", "model", by_loops(LoopCoupling(2, 2, 1, 0, 0.2)), ((2, 2), (2, 1), (4, 3))),
    Entry("loop coupling, SU(3)", "model", by_loops(LoopCoupling(3, 2, 0, 1, 0.2, 1.5)), ((1, 2), (2, 2))),
    Entry(
        "loop coupling, long loops and powers of them",
        "model",
        by_loops(LoopCoupling(2, 2, 0, 3, 0.2, 1.5, period=4, reach=2, own=2, pair=True)),
        ((1, 4), (2, 4)),
    ),
    Entry(
        "loop coupling, three dimensions, conditioned on beta and frozen loops",
        "model",
        by_loops(LoopCoupling(2, 3, 1, 1, 0.1, context=2, condition=("beta",))),
        ((2, 2, 2), (2, 4, 2)),
    ),
    Entry("gradient sweep, SU(2)", "model", by_loops(SUNGradientSweep(2, 2, 0.1)), ((2, 2),)),
    Entry(
        "trivialising flow",
        "model",
        lambda lattice: sun.trivialising(lattice, 2, steps=1, beta=2.0, context=1),
        ((2, 2), (4, 2)),
    ),
    Entry(
        "spectral coupling",
        "model",
        by_loops(SpectralCoupling(2, 2, HALVES, (WHOLE,), 3, (3,))),
        ((2, 2), (4, 2), (2, 3), (2, 1)),
    ),
    Entry(
        "spectral coupling, SU(3), a start",
        "model",
        by_loops(SpectralCoupling(3, 2, ("stripes", 0, 1, 2, 1), (((0, 1), (1, 2), (0, -1)),), 2, (2,), start=2.0)),
        ((1, 2),),
    ),
    Entry(
        "spectral coupling, three dimensions, conditioned, separated kernels",
        "model",
        by_loops(
            SpectralCoupling(
                2,
                3,
                SPACE,
                frozen_loops(SPACE, 3, [(1, 2)], [(2, 0), (1, 0)]),
                2,
                (3,),
                3,
                condition=("beta",),
                separated=True,
            )
        ),
        ((2, 2, 2), (2, 1, 3)),
    ),
    Entry(
        "spectral flow",
        "model",
        lambda lattice: sun.spectral(lattice, 2, beta=1.0, rounds=1, period=2, hidden=(2,), bins=2),
        ((2, 2),),
    ),
    Entry("turned links", "model", on(UniformLinks, Turn((1, 0))), ((2, 2), (3, 3))),
    Entry(
        "gauge couplings in every plane",
        "model",
        on(UniformLinks, EveryPlane(halving("moebius_pairs", 1), 2)),
        ((2, 2),),
    ),
    Entry("class sweep", "model", by_loops(ClassSweep(2, 2.0, closings=1)), ((1, 2), (2, 2), (2, 4), (3, 1), (1, 3))),
    Entry(
        "class sweep, SU(3), conditioned",
        "model",
        by_loops(ClassSweep(3, 3.0, closings=1, condition=("beta",))),
        ((1, 2), (2, 2), (2, 1)),
    ),
    # SU(N) along the gradient of loops
    Entry(
        "loop flow",
        "model",
        by_loops(LoopFlow(2, 2, order=1, beta=2.0, steps=1, degree=1, condition=("beta",))),
        ((2, 1), (2, 3), (2, 2)),
    ),
    Entry(
        "loop flow, lines around the lattice",
        "model",
        by_loops(LoopFlow(2, 2, order=1, steps=1, degree=0, lines=(0.5, -0.3))),
        ((2, 2), (3, 1)),
    ),
    Entry("loop step, SU(3)", "model", by_loops(LoopStep(LoopFlow(3, 2, order=2), 1)), ((2, 2), (2, 3))),
    Entry(
        "implicit loop step, links passed up to three times",
        "model",
        by_loops(LoopStep(LoopFlow(2, 2, order=3, chosen=(5, 6, 11)), 1, implicit=True)),
        ((1, 2), (2, 2)),
    ),
    Entry(
        "loop flow in continuous time",
        "model",
        by_loops(LoopFlow(2, 2, order=1, beta=2.0, steps=2, degree=1, scheme="continuous")),
        ((2, 2), (2, 3)),
    ),
    Entry(
        "loop flow in continuous time, some products of the next order, conditioned",
        "model",
        by_loops(LoopFlow(2, 2, 2, 2.0, steps=1, degree=1, condition=("beta",), chosen=(0, 2, 4), scheme="continuous")),
        ((3, 3), (3, 4)),
    ),
    # scalar couplings
    Entry("affine coupling", "model", on(Gaussian, AffineCoupling(NET, tail=2.0)), SQUARES),
    Entry("affine coupling, odd sites, deep net", "model", on(FreeField, AffineCoupling(DEEP, parity=1)), SQUARES),
    Entry(
        "affine coupling, one dimension",
        "model",
        on(Gaussian, AffineCoupling(CheckerboardNet(1, (3,), reach=5, final_scale=0.5))),
        ((4,), (2,), (6,)),
    ),
    Entry(
        "affine coupling, tied, three dimensions",
        "model",
        on(Gaussian, AffineCoupling(TIED)),
        ((2, 2, 2), (2, 4, 2)),
    ),
    Entry(
        "affine coupling, four dimensions",
        "model",
        on(Gaussian, AffineCoupling(CheckerboardNet(4, (2,), reach=3, final_scale=0.5))),
        ((2, 2, 2, 2),),
    ),
    Entry("affine coupling, conditioned, no parity", "model", on(Gaussian, AffineCoupling(PLAIN, tail=1.0)), SQUARES),
    Entry("affine coupling, net on the lattice", "model", on(Gaussian, AffineCoupling(LATTICE)), SQUARES),
    Entry("spline coupling", "model", on(Gaussian, SplineCoupling(NET, bins=4, bound=1.0)), SQUARES),
    Entry(
        "spline coupling, net on the lattice", "model", on(Gaussian, SplineCoupling(LATTICE, parity=1, bins=3)), SQUARES
    ),
    # networks in single precision, everything else in that of the field
    Entry(
        "gauge coupling, net in single precision",
        "model",
        on(UniformLinks, halving("moebius", 2, net_precision="float32")),
        ((2, 2), (4, 2), (2, 3)),
    ),
    Entry(
        "affine coupling, net in single precision",
        "model",
        on(Gaussian, AffineCoupling(replace(NET, net_precision="float32"), tail=2.0)),
        SQUARES,
    ),
    Entry(
        "spline coupling, net on the lattice in single precision",
        "model",
        on(Gaussian, SplineCoupling(replace(LATTICE, net_precision="float32"), parity=1, bins=3)),
        SQUARES,
    ),
    # whole-field maps
    Entry(
        "momentum scaling", "model", on(Gaussian, MomentumScaling(2, 2, m2=0.7, condition=("m2",))), ((2, 2), (3, 4))
    ),
    Entry("momentum scaling, three dimensions", "model", on(Gaussian, MomentumScaling(3, 3)), ((2, 3, 1), (1, 2, 2))),
    Entry("global scale", "model", on(Gaussian, MomentumScaling(1, 0)), ((3,), (1,), (4,))),
    Entry("quartic tail", "model", on(Gaussian, QuarticTail(2, 2.0)), ((2, 2), (3, 2))),
    Entry(
        "inverse quartic tail, conditioned",
        "model",
        on(Gaussian, QuarticTail(2, 2.0, expand=True, condition=("lam",))),
        ((2, 2), (3, 2)),
    ),
    Entry("translation of sites", "model", on(FreeField, Translate((2, -1))), ((2, 2), (3, 1))),
    # phi^4 architectures
    Entry("phi4 tutorial", "model", lambda lattice: phi4.tutorial(lattice, 2, (3,)), SQUARES),
    Entry("phi4 copula", "model", lambda lattice: phi4.copula(lattice, condition=("m2",)), ((2, 2), (3, 4))),
    Entry(
        "phi4 convolutional",
        "model",
        lambda lattice: phi4.convolutional(lattice, bins=2, rounds=0, hidden=(3,), reach=3),
        SQUARES,
    ),
    Entry(
        "phi4 convolutional, affine",
        "model",
        lambda lattice: phi4.convolutional(lattice, 2, bins=0, rounds=0, hidden=(3,), reach=3, tied=True),
        SQUARES,
    ),
    # the small examples in the rows of the catalogue
    *(
        Entry(
            f"{family} {kind}{f', {number}' if number else ''}", "model", partial(constructor(row), **options), lattices
        )
        for family, rows in FLOWS.items()
        for kind, row in rows.items()
        for number, (lattices, options) in enumerate(row.small)
    ),
    # priors
    Entry("uniform links", "prior", UniformLinks, ((2, 2), (3,), (1, 2, 2), (2, 1, 1, 2))),
    Entry("uniform sites", "prior", UniformSites, ((2, 2), (3,), (1, 2, 2))),
    Entry("Haar links", "prior", lambda lattice: HaarLinks(lattice, 3), ((2, 2), (3,), (1, 2, 2))),
    Entry("normal sites", "prior", lambda lattice: Gaussian(lattice, 0.7), ((2, 2), (3,), (1, 2, 2), (2, 1, 1, 2))),
    Entry("free field", "prior", lambda lattice: FreeField(lattice, 0.7), ((2, 2), (5,), (1, 2, 2), (2, 1, 1, 2))),
)
