"""The flows of the library in two literal tables: the kinds that a recipe, and the classes that a model file may name.

A new flow is its file and its lines here: its constructor, a description, and its classes.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

Lattices = tuple[tuple[int, ...], ...]


class Row(NamedTuple):
    """A kind of flow: `constructor`, "module:name" in haarflow.flows, takes the lattice and keywords and returns a `Model`.

    `options` names the class, and its fields, to which the constructor passes `**options`; `takes` are the options that
    default to the theory's definition and couplings where [flow] does not set them; `small` are lattices and arguments
    for the laws. `untrained` says that its first parameters make a sampler already, so that a recipe may leave out
    [train]. `papers` are keys of references.bib, what to cite for it.
    """

    constructor: str | Callable[..., Any]
    what: str
    options: tuple[str, tuple[str, ...]] | None = None
    takes: tuple[str, ...] = ()
    small: tuple[tuple[Lattices, dict[str, Any]], ...] = ()
    untrained: bool = False
    papers: tuple[str, ...] = ()


# options of [flow] for every kind: the symmetries that its density is averaged over, and the number of models that are mixed
SHARED: dict[str, Any] = {"symmetrised": tuple[str, ...], "mixture": int}
_COUPLING = ("pieces", "hidden", "harmonics", "kernel", "activation", "final_scale", "tied", "condition")
GAUGE = ("u1.coupling:GaugeCoupling", ("map", *_COUPLING, "net_precision", "dilations", "winding"))
CHECKERBOARD = (
    "scalar.nets:CheckerboardNet",
    ("hidden", "reach", "kernel", "activation", "symmetric", "tied", "net_precision"),
)
LINKS = ("n", "rectangle", "beta")

# family of theories -> kind -> row
FLOWS: dict[str, dict[str, Row]] = {
    "u1": {
        "tutorial": Row(
            "u1.architectures:tutorial",
            "mixtures of non-compact projections, arXiv:2101.08176",
            papers=("Kanwar2020", "Albergo2021"),
        ),
        "stripes": Row(
            "u1.architectures:stripes",
            "the published masks, larger loops as context",
            GAUGE,
            papers=("Kanwar2020", "Rezende2020"),
        ),
        "convolutional": Row(
            "u1.architectures:convolutional",
            "gauge-equivariant couplings, any dimension",
            GAUGE,
            papers=("Kanwar2020", "Rezende2020"),
        ),
        "sweep": Row("u1.sweep:sweep", "one visit per link, flux swept ahead; two dimensions", papers=("Kanwar2020",)),
        "autoregressive": Row(
            "u1.autoregressive:autoregressive",
            "exact pure gauge theory, each link conditioned on all drawn before, for the Schwinger model; two dimensions",
            takes=("beta",),
            small=(
                (
                    ((2, 2), (1, 3), (3, 1), (2, 4)),
                    {"beta": 1.0, "bins": 6, "harmonics": 2, "waves": 2, "channels": 2, "hidden": 3, "kernel": 3},
                ),
                (
                    ((2, 2), (3, 1)),
                    {"beta": 1.0, "bins": 6, "harmonics": 2, "waves": 1, "channels": 2, "hidden": 2, "kernel": 1}
                    | {"images": (1, 0), "reflected": (0,)},
                ),
            ),
            untrained=True,
            papers=("Cho2014", "Ballas2015"),
        ),
        "sweep-couplings": Row(
            "u1.architectures:sweep_couplings",
            "couplings that see winding lines and charge, on the sweep that samples pure gauge theory; two dimensions",
            GAUGE,
            takes=("beta",),
            small=(
                (
                    ((2, 2), (2, 4)),
                    {"beta": 1.0, "rounds": 1, "period": 2, "bins": 6, "harmonics": 2} | {"hidden": (3,), "pieces": 2},
                ),
            ),
            untrained=True,
        ),
    },
    "sun": {
        "trivialising": Row(
            "sun.architectures:trivialising",
            "couplings by the gradient of loops, at first the leading order of arXiv:0907.5491; any dimension",
            takes=LINKS,
            papers=("Luscher2010", "Morningstar2004", "Boyda2021"),
        ),
        "spectral": Row(
            "sun.architectures:spectral",
            "couplings of the eigen-angles of plaquettes, SU(2) and SU(3), arXiv:2008.05456; any dimension",
            takes=LINKS,
            papers=("Boyda2021", "Abbott2023"),
        ),
        "loops": Row(
            "loops.flow:loops",
            "gradient flow of loops in exact masked steps, Luescher's series or [fit], arXiv:0907.5491; any dimension",
            takes=LINKS,
            papers=("Luscher2010", "Bacchio2023"),
        ),
        "sweep": Row(
            "sun.sweep:class_sweep",
            "one visit per link, SU(2) and SU(3); two dimensions",
            takes=LINKS,
            papers=("Boyda2021",),
        ),
    },
    "qcd": {
        "loops-hopping": Row(
            "pairs:loops_and_hops",
            "links along loops, pseudofermions by the exponential of a hopping series, arXiv:2207.08945; even extents",
            takes=("hops", *LINKS, "kappa", "antiperiodic", "hasenbusch"),
            untrained=True,
            papers=("Luscher2010", "Abbott2022"),
        ),
        "loops-transport": Row(
            "pairs:loops_and_transport",
            "links along loops, pseudofermions by parallel-transport couplings, arXiv:2207.08945; even extents",
            takes=(*LINKS, "kappa", "antiperiodic"),
            untrained=True,
            papers=("Luscher2010", "Abbott2022"),
        ),
    },
    "schwinger": {
        "autoregressive-hopping": Row(
            "pairs:autoregressive_and_hops",
            "links as exact pure gauge theory, conditioned on all drawn before, pseudofermions by a hopping exponential; even extents",
            (
                "u1.autoregressive:Autoregressive",
                ("bins", "harmonics", "waves", "channels", "hidden", "kernel", "parts"),
            ),
            takes=("hops", "beta", "kappa", "hasenbusch"),
            untrained=True,
            papers=("Albergo2022", "Abbott2022", "Cho2014", "Ballas2015"),
        ),
    },
    "yukawa": {
        "scalars-shears": Row(
            "conditionals:scalars_and_shears",
            "a convolutional flow of the scalar field, pseudofermions by shears about a constant mass; even extents",
            takes=("free", "g"),
            papers=("Albergo2021fermions",),
        ),
        "scalars-shears-joint": Row(
            "conditionals:scalars_and_shears_in_turn",
            "the same, then layers of both fields in turn, each told the other, arXiv:2106.05934; even extents",
            takes=("free", "g"),
            papers=("Albergo2021fermions",),
        ),
        "shears-scalars": Row(
            "conditionals:shears_and_scalars",
            "pseudofermions of a constant mass, the scalar field by a convolutional flow told of them; even extents",
            takes=("free", "g"),
            papers=("Albergo2021fermions",),
        ),
    },
    "spins": {
        "dense": Row(
            "spins.autoregressive:dense",
            "variational autoregressive network, masked dense nets, arXiv:1809.10606",
            papers=("Wu2018", "Germain2015"),
            small=((((2, 2), (3, 2), (3,)), {"hidden": (3,)}), (((2, 2),), {"hidden": (2, 2)})),
        ),
        "convolutional": Row(
            "spins.autoregressive:convolutional",
            "the same with masked convolutions on the torus, whose weights fit any lattice",
            papers=("Wu2018", "vandenOord2016"),
            small=((((2, 2), (3, 4), (2, 2, 2)), {"hidden": (3,), "kernel": 3}),),
        ),
    },
    "phi4": {
        "tutorial": Row(
            "scalar.architectures:tutorial",
            "affine couplings, arXiv:2101.08176",
            papers=("Albergo2019", "Albergo2021", "Dinh2016"),
        ),
        "copula": Row("scalar.architectures:copula", "momentum scalings and quartic tails, some 20 numbers"),
        "convolutional": Row(
            "scalar.architectures:convolutional",
            "the copula, then convolutional couplings; any dimension",
            CHECKERBOARD,
            papers=("Albergo2019", "Durkan2019"),
        ),
        "continuous": Row(
            "scalar.architectures:continuous",
            "free field, then along smeared local potentials in continuous time, arXiv:2110.02673; some 80 numbers for any volume",
            small=(
                (((4, 4), (3, 2)), {"smearings": (0.5, 3.0), "terms": 3, "degree": 1, "steps": 2}),
                (((2, 3, 2),), {"smearings": (1.0,), "terms": 2, "degree": 0, "steps": 2}),
            ),
        ),
    },
}

# every class that a model file may name -> its module in haarflow.flows, or in haarflow for what a conditional flow acts by
CLASSES: dict[str, str] = {
    "Between": "between",
    "Chain": "flow",
    "Images": "images",
    "Mixture": "mixtures",
    "Model": "flow",
    "Repeat": "flow",
    "Translate": "flow",
    "ConvNet": "nets",
    "EveryPlane": "links.orientations",
    "Turn": "links.orientations",
    "AffineCoupling": "scalar.affine",
    "SplineCoupling": "scalar.spline",
    "CheckerboardNet": "scalar.nets",
    "LatticeNet": "scalar.nets",
    "MomentumScaling": "scalar.momentum",
    "QuarticTail": "scalar.tails",
    "SmearedPotentials": "scalar.smeared",
    "UniformShift": "scalar.shift",
    "GaugeCoupling": "u1.coupling",
    "GradientSweep": "u1.gradient_sweep",
    "LoopCoupling": "sun.gradient_coupling",
    "LoopFlow": "loops.flow",
    "LoopStep": "loops.step",
    "HoppingExponential": "fermions.hopping",
    "FactorisedHopping": "fermions.factorised",
    "LocalHopping": "fermions.local_hopping",
    "TransportCoupling": "fermions.transport",
    "PairFlow": "pairs",
    "Moves": "pairs",
    "Featured": "pairs",
    "Bilinears": "fermions.bilinears",
    "MeanSquare": "fermions.bilinears",
    "ConstantMass": "fermions.shears",
    "Shears": "fermions.shears",
    "SpectralCoupling": "sun.spectral",
    "SUNGradientSweep": "sun.gradient_sweep",
    "Sweep": "u1.sweep",
    "Autoregressive": "u1.autoregressive",
    "AutoregressiveSpins": "spins.autoregressive",
    "MaskedDense": "spins.nets",
    "MaskedConvolution": "spins.nets",
    "ClassSweep": "sun.sweep",
    "FreeField": "priors",
    "Gaussian": "priors",
    "HaarLinks": "priors",
    "Noise": "priors",
    "PairPrior": "pairs",
    "UniformSites": "priors",
    "UniformLinks": "priors",
    "OddHops": "haarflow.theories.fermions.hops",
    "FreeStaggered": "haarflow.theories.fermions.staggered.free_staggered",
    "Staggered": "haarflow.theories.fermions.staggered.staggered",
    "Wilson": "haarflow.theories.fermions.wilson",
}

# class -> a field that older files lack, and what they mean
LACKING: dict[str, dict[str, dict[str, Any]]] = {"LoopFlow": {"scheme": {"scheme": "masked", "steps": 2}}}


def constructor(row: Row) -> Callable[..., Any]:
    """Return a row's constructor.

    >>> constructor(FLOWS["u1"]["tutorial"]).__name__
    'tutorial'
    """
    return row.constructor if callable(row.constructor) else _named(row.constructor)


def options(row: Row) -> dict[str, Any]:
    """Return the options of [flow] beside `kind`, with their types.

    >>> options(FLOWS["u1"]["tutorial"])["layers"]
    <class 'int'>
    """
    build = constructor(row)
    hints = typing.get_type_hints(build)
    parameters = list(inspect.signature(build).parameters.values())[1:]
    types = {p.name: hints.get(p.name, Any) for p in parameters if p.kind is not p.VAR_KEYWORD}
    if row.options is not None:
        path, fields = row.options
        own = typing.get_type_hints(_named(path))
        types |= {field: own[field] for field in fields}
    return types


def flow_class(name: str) -> type | None:
    """Return the class that a model file names, None if it is not in the library.

    >>> flow_class("Sweep").__module__
    'haarflow.flows.u1.sweep'
    """
    return _named(f"{CLASSES[name]}:{name}") if name in CLASSES else None


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    # the tables hold names, so that a flow is imported only when it is used
    return getattr(import_module(module if module.startswith("haarflow.") else f"haarflow.flows.{module}"), name)
