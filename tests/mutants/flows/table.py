"""Flows, models and priors with one thing wrong each, and the laws that must see it."""

from typing import Any

from haarflow.flows.flow import Model
from haarflow.flows.priors import Gaussian, UniformLinks
from haarflow.flows.scalar.affine import AffineCoupling
from haarflow.flows.scalar.nets import CheckerboardNet
from haarflow.flows.scalar.smeared import SmearedPotentials
from haarflow.flows.scalar.tails import QuarticTail
from haarflow.flows.sun.gradient_coupling import LoopCoupling
from haarflow.flows.sun.spectral import SpectralCoupling
from haarflow.flows.sun.sweep import ClassSweep
from haarflow.flows.u1.sweep import Sweep
from haarflow.verification.flow_objects import HALF, HALVES, SPACE, WHOLE, by_loops, halving
from tests.mutants import Mutant, autoregressive, hidden, loop_flows, spins
from tests.mutants.flows import smeared
from tests.mutants.flows.links import (
    Arc,
    BareAngles,
    Fixed,
    FlatCell,
    ForgottenPlaquette,
    HalfTurned,
    LinkReader,
    NoAdjoint,
    NoCurvature,
    OneAxis,
    OpenSeam,
    OtherColour,
    Overreaching,
    OwnLine,
    SeesItself,
    StaleRest,
    Unchecked,
)
from tests.mutants.flows.priors import (
    ArcPrior,
    Condensed,
    MissingArc,
    MixingPrior,
    OffRange,
    Sloped,
    Swollen,
    Unnormalised,
    WrongWidth,
)
from tests.mutants.flows.scalar import (
    Biased,
    ColumnLogDet,
    DoubleInit,
    Forgetful,
    Growing,
    HalfHearted,
    LevelSlip,
    Mixing,
    NoLogDet,
    NoMinus,
    OuterProduct,
    PeriodOne,
    Promoting,
    RoughInverse,
    SignSlip,
    SingleOneWay,
    Spoiler,
    WrongSublattice,
    WrongTail,
)
from tests.mutants.pairs import flows as pairs

JACOBIAN = ("log_det_by_differences", "log_det_by_autodiff")

NET = CheckerboardNet(2, hidden=(3,), reach=3, final_scale=0.5)


def affine(kind, **options: Any):
    return lambda lattice: Model(Gaussian(lattice), kind(NET, **options))


def links(flow):
    return lambda lattice: Model(UniformLinks(lattice), flow)


def sites(flow):
    return lambda lattice: Model(Gaussian(lattice), flow)


# In three dimensions the loop (2, 1) next to the active link along 2 holds another active one.
READS_ACTIVE = (((2, 1), (1, 1), (0, 1, 0)),)

SEEN = ("round_trip", "support")

SPLINE_3D: dict[str, Any] = {"map": "spline", "pieces": 3, "hidden": (3,)}

THREE = {"lattice": (2, 2, 2)}

TWO = {"lattice": (2, 2)}

MUTANTS: tuple[Mutant, ...] = (
    Mutant("sign slip in the log-det", "model", affine(SignSlip), (*JACOBIAN, "frozen_components"), TWO),
    Mutant("log-det of the wrong sublattice", "model", affine(WrongSublattice), (*JACOBIAN, "log_dets_cancel"), TWO),
    Mutant(
        "a mask that reads a link it updates",
        "model",
        links(Unchecked(2, HALVES, (HALF,), "moebius", 2, hidden=(3,), active=HALF)),
        (*JACOBIAN, "round_trip"),
        TWO,
    ),
    Mutant(
        "a context that reads an active link in d = 3",
        "model",
        links(Unchecked(3, SPACE, READS_ACTIVE, **SPLINE_3D)),
        (*JACOBIAN, "frozen_components", "round_trip"),
        THREE,
    ),
    Mutant(
        "a winding line of the links that move",
        "model",
        links(OwnLine(2, HALVES, (WHOLE,), "moebius", 2, hidden=(3,), active=HALF, winding=True)),
        (*JACOBIAN, "round_trip"),
        TWO,
    ),
    Mutant("bins that leave a gap at the seam", "model", links(OpenSeam()), ("support",), {**TWO, "style": "seam"}),
    Mutant("a flow that misses an arc", "model", links(Arc()), ("support",), {**TWO, "style": "seam"}),
    Mutant(
        "a feature that is not gauge invariant",
        "model",
        links(LinkReader(2, HALVES, (WHOLE,), "moebius", 2, hidden=(3,), active=HALF)),
        ("equivariance", "invariant_density"),
        {"lattice": (4, 2)},
    ),
    Mutant("an inverse good to 1e-5", "model", affine(RoughInverse), SEEN, TWO),
    Mutant("a net in single precision on the way back alone", "model", affine(SingleOneWay), ("round_trip",), TWO),
    Mutant(
        "an inverse without the minus",
        "model",
        affine(NoMinus),
        ("log_dets_cancel", "sample_is_its_density", "integrates_to_one"),
        TWO,
    ),
    Mutant("translations by one with period two", "model", affine(PeriodOne), ("equivariance",), {"lattice": (4, 4)}),
    Mutant(
        "a turn that forgets the directions",
        "model",
        links(HalfTurned(halving("moebius", 1), 2)),
        ("equivariance",),
        TWO,
    ),
    Mutant(
        "the periods of one plane in all",
        "model",
        links(OneAxis(halving("moebius", 1), 2)),
        ("equivariance",),
        TWO,
    ),
    Mutant("a bias odd under Z2", "model", affine(Biased), ("equivariance", "invariant_density"), TWO),
    Mutant("a tail of the wrong slope", "model", sites(WrongTail(2)), (*JACOBIAN, "integrates_to_one"), TWO),
    Mutant(
        "a chain that forgets a log-det",
        "model",
        sites(Forgetful((QuarticTail(2, 0.5), QuarticTail(2, 2.0, expand=True)))),
        (*JACOBIAN, "integrates_to_one"),
        TWO,
    ),
    Mutant("a flow that mixes the batch", "model", affine(Mixing), ("batch_is_its_members",), TWO),
    Mutant("a flow that writes into its input", "model", affine(Spoiler), ("inputs_unchanged",), TWO),
    Mutant(
        "a flow that leaves single precision",
        "model",
        sites(Promoting(2)),
        ("equals_numpy",),
        {**TWO, "dtype": "float32"},
    ),
    Mutant("another flow on another engine", "model", sites(HalfHearted(2)), ("equals_numpy",), TWO),
    Mutant(
        "parameters in double precision",
        "model",
        affine(DoubleInit),
        ("fresh_parameters",),
        {**TWO, "dtype": "float32"},
    ),
    Mutant(
        "a log-det off by a constant",
        "model",
        sites(LevelSlip(2)),
        (*JACOBIAN, "integrates_to_one", "draws_have_the_density"),
        TWO,
    ),
    Mutant("a factor broadcast against the batch", "model", sites(OuterProduct(2)), ("shapes", "round_trip"), TWO),
    Mutant("a log-det with an axis too many", "model", sites(ColumnLogDet(2)), ("shapes", "log_dets_cancel"), TWO),
    Mutant("a definition that does not stay", "model", sites(Growing(2)), ("file_keeps_the_model",), TWO),
    Mutant(
        "a sample without its log-det",
        "model",
        lambda lattice: NoLogDet(Gaussian(lattice), QuarticTail(2)),
        ("sample_is_its_density",),
        TWO,
    ),
    Mutant("log-det of the other colour", "model", by_loops(OtherColour(2, 2, 1, 0, 0.4)), JACOBIAN, TWO),
    Mutant(
        "a log-det without the exponential's part",
        "model",
        by_loops(NoAdjoint(2, 2, 1, 0, 0.4)),
        JACOBIAN,
        {"lattice": (2, 2)},
    ),
    Mutant(
        "staples that hold links which move",
        "model",
        by_loops(Overreaching(2, 2, 1, 0, 0.4, reach=2)),
        (*JACOBIAN, "frozen_components", "round_trip"),
        TWO,
    ),
    Mutant("a coefficient taken for constant", "model", by_loops(NoCurvature(2, 2, 1, 0, 0.4, own=1)), JACOBIAN, TWO),
    Mutant(
        "links drawn to one",
        "model",
        by_loops(Fixed(2, 2, 1, 0, 0.4)),
        ("equivariance", "invariant_density"),
        TWO,
    ),
    Mutant("matrices drawn to one", "prior", lambda lattice: Condensed(lattice, 2), ("prior_moments",), TWO),
    Mutant("matrices that are not unitary", "prior", lambda lattice: Swollen(lattice, 2), ("prior_draws",), TWO),
    Mutant("a density 5% too high", "prior", Unnormalised, ("integrates_to_one",), TWO),
    Mutant("eigen-angles without Weyl's factor", "model", by_loops(BareAngles(2, 2.0, closings=1)), JACOBIAN, TWO),
    Mutant(
        "a spectrum without Weyl's factor", "model", by_loops(FlatCell(2, 2, HALVES, (WHOLE,), 3, (3,))), JACOBIAN, TWO
    ),
    Mutant(
        "a coupling that sees its own plaquette",
        "model",
        by_loops(SeesItself(2, 2, HALVES, (((1, 0), (1, 1), (0, 0)),), 3, (3,))),
        ("round_trip", *JACOBIAN),
        TWO,
    ),
    Mutant(
        "a loop made of the links before",
        "model",
        by_loops(StaleRest(2, 2.0, closings=1)),
        ("round_trip",),
        TWO,
    ),
    Mutant(
        "a way back without the learnt plaquette",
        "model",
        links(ForgottenPlaquette(6, 2, plaquette=1)),
        ("round_trip",),
        TWO,
    ),
    *autoregressive.MUTANTS,
    *spins.FLOWS,
    *loop_flows.MUTANTS,
    *pairs.MUTANTS,
    *hidden.FLOWS,
    *smeared.MUTANTS,
    Mutant("a density missing an arc of the circle", "prior", MissingArc, ("integrates_to_one",), TWO),
    Mutant("draws of another mass", "prior", WrongWidth, ("prior_moments",), TWO),
    Mutant("draws that miss an arc", "prior", ArcPrior, ("prior_moments",), TWO),
    Mutant("angles out of range", "prior", OffRange, ("prior_draws",), TWO),
    Mutant("a density that mixes the batch", "prior", MixingPrior, ("prior_draws",), TWO),
    Mutant("a density with a favourite site", "prior", Sloped, ("invariant_density",), {"lattice": (3, 2)}),
)

# What each mutant would be were it right: it must pass the laws that the mutant fails.
HEALTHY = {
    "model": affine(AffineCoupling),
    "prior": Gaussian,
    "links": links(halving("moebius", 2)),
    "matrices": by_loops(LoopCoupling(2, 2, 1, 0, 0.4)),
    "spectra": by_loops(SpectralCoupling(2, 2, HALVES, (WHOLE,), 3, (3,))),
    "autoregressive": autoregressive.HEALTHY,
    "smeared": smeared.small(SmearedPotentials, steps=16),
    "spins": spins.HEALTHY,
    "sweep": links(Sweep(6, 2, plaquette=1)),
    "sweep of matrices": by_loops(ClassSweep(2, 2.0, closings=1)),
}

# A mutant that cannot be wrong on an engine: JAX's arrays are never written to, and NumPy is the measure itself.
IMPOSSIBLE = {
    ("a flow that writes into its input", "jax"),
    ("another flow on another engine", "numpy"),
    ("another flow on another engine", "readonly"),
}
