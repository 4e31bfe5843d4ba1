"""The theories of the library, one literal row each: a new theory is its file and a row here.

A row gives the fields and checks of a recipe's [theory], titles and symbols of the report, the flows and samplers that
a theory admits, and the small lattices on which the laws are checked.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from haarflow.theories.gauge.sun import SUNGauge
from haarflow.theories.gauge.u1 import U1Gauge
from haarflow.theories.models.qcd import QCD
from haarflow.theories.models.schwinger import Schwinger, schwinger_pairs
from haarflow.theories.models.yukawa import Yukawa, yukawa_pairs
from haarflow.theories.scalar.phi4 import Phi4
from haarflow.theories.spins.ising import Ising

Lattices = tuple[tuple[int, ...], ...]


class Coupling(NamedTuple):
    """What a coupling is, its symbol in the report, its lower bound, and its default (None: a recipe must set it)."""

    what: str
    symbol: str
    least: float | None = None
    default: float | None = None


class Option(NamedTuple):
    """An argument of `make`; `required` if a recipe must set it. It defines the theory unless it says only how that is computed
    or what is measured.
    """

    what: str
    symbol: str = ""
    least: float | None = None
    required: bool = False
    defines: bool = True


class Small(NamedTuple):
    """An object for the laws: its name, small lattices (the smallest first), and arguments of `make`."""

    name: str
    lattices: Lattices
    options: Mapping[str, Any] = {}


class Row(NamedTuple):
    """All that the command line has to know about a theory.

    `make(lattice, **options)` constructs it. `family` names the flows that it admits (`flows/catalogue.py`), `samplers`
    the kernels. `dimensions` is the least number of axes. `fault(couplings)` returns a coupling and what is wrong with
    it, or None. `width(couplings)` is the standard deviation of a disordered scalar field; groups use the Haar measure.
    `distributions` maps an observable to a function (lattice, couplings) of its exact probabilities, None where
    unknown. `papers` are keys of references.bib, what to cite for it.
    """

    make: Callable[..., Any]
    family: str
    title: str
    formula: str
    couplings: Mapping[str, Coupling]
    samplers: tuple[str, ...]
    options: Mapping[str, Option] = {}
    small: tuple[Small, ...] = ()
    dimensions: int = 1
    fault: Callable[[Mapping[str, float]], tuple[str, str] | None] | None = None
    width: Callable[[Mapping[str, float]], float] | None = None
    distributions: Mapping[str, Callable[..., dict[int, float] | None]] = {}
    papers: tuple[str, ...] = ()

    @property
    def defaults(self) -> dict[str, Any]:
        """The options' defaults, those of `make`."""
        parameters = inspect.signature(self.make).parameters
        return {name: parameters[name].default for name in self.options}

    @property
    def symbols(self) -> dict[str, str]:
        """The symbols of couplings and options by name."""
        entries: dict[str, Coupling | Option] = {**self.couplings, **self.options}
        return {name: entry.symbol or name for name, entry in entries.items()}


def _free_field(couplings: Mapping[str, float]) -> tuple[str, str] | None:
    """The free field needs a positive mass squared."""
    if couplings["lam"] == 0 and couplings["m2"] <= 0:
        return "m2", f"the free field needs m2 > 0, got {couplings['m2']}"
    return None


def _quartic_width(couplings: Mapping[str, float]) -> float:
    """At most lam sigma^4 = 1/4: at large fields, where the force grows as phi^3, HMC would accept no step."""
    lam = couplings["lam"]
    return min(1.0, float((4.0 * lam) ** -0.25)) if lam > 0 else 1.0


def _charges(lattice: tuple[int, ...], couplings: Mapping[str, float]) -> dict[int, float] | None:
    """p(Q) of U(1) in two dimensions."""
    from haarflow.theories.exact.u1_torus import LARGEST, charge_distribution

    if len(lattice) != 2 or couplings["beta"] > LARGEST:
        return None
    return charge_distribution(couplings["beta"], math.prod(lattice))


RING: Lattices = ((4,), (1,), (2,), (5,))
SQUARE: Lattices = ((4, 4), (2, 2), (3, 5), (1, 4), (2, 1), (1, 1))
CUBE: Lattices = ((2, 2, 2), (3, 1, 4), (2, 4, 3), (1, 1, 1))
FOUR: Lattices = ((2, 2, 2, 2), (3, 1, 2, 2), (1, 4, 1, 2))

LINKS = ("flow", "hmc", "heatbath", "metropolis")
SCALARS = ("flow", "hmc", "metropolis")
PLAQUETTES = "S = -(beta/N) sum_P Re tr U_P"
BETA = {"beta": Coupling("inverse coupling, 2N/g^2", "β", 0)}
RECTANGLE = Option(
    "weight c1 of the 1x2 loops: 0 Wilson, -0.0833333333 Luescher-Weisz, -0.331 Iwasaki; a heat bath then needs extents "
    "that are multiples of 4",
    "c₁",
)
QUARTIC = Coupling("quartic coupling", "λ", 0)
PSEUDOFERMIONS = {
    "antiperiodic": Option("whether fermions are antiperiodic in time"),
    "hasenbusch": Option("Hasenbusch's hopping parameters below kappa, a pseudofermion field for each ratio", "k"),
    "tolerance": Option("relative residual of the solves", defines=False),
    "max_steps": Option("steps that a solve may take", defines=False),
    "mixed": Option("whether the solves step in single precision between residuals in double", defines=False),
}

SCHWINGER = {
    "beta": Coupling("inverse coupling", "β", 0),
    "kappa": Coupling("hopping parameter of the quarks", "κ", 0),
}
YUKAWA = {
    "m2": Coupling("bare mass squared; may be negative where lam > 0", "m²"),
    "lam": QUARTIC,
    "g": Coupling("Yukawa coupling of two staggered flavours", "g"),
}

THEORIES: dict[str, Row] = {
    "u1": Row(
        U1Gauge,
        "u1",
        "U(1) gauge theory",
        "S = -beta sum_P cos theta_P",
        {"beta": Coupling("inverse coupling", "β", 0)},
        LINKS,
        small=(Small("U(1) d=2", SQUARE), Small("U(1) d=3", CUBE), Small("U(1) d=4", FOUR)),
        dimensions=2,
        distributions={"Q": _charges},
    ),
    "su2": Row(
        partial(SUNGauge, n=2),
        "sun",
        "SU(2) gauge theory",
        PLAQUETTES,
        BETA,
        LINKS,
        {"rectangle": RECTANGLE},
        (Small("SU(2) d=2", ((2, 2), (3, 2), (1, 4), (2, 1))),),
        dimensions=2,
    ),
    "su3": Row(
        partial(SUNGauge, n=3),
        "sun",
        "SU(3) gauge theory",
        PLAQUETTES,
        BETA,
        LINKS,
        {"rectangle": RECTANGLE},
        (
            Small("SU(3) d=2", ((2, 2), (4, 3))),
            Small("SU(3) d=3", ((2, 2, 2), (3, 1, 2))),
            Small("SU(3) improved d=2", ((3, 3), (2, 4), (5, 1)), {"rectangle": -1 / 12}),
        ),
        dimensions=2,
    ),
    "su4": Row(
        partial(SUNGauge, n=4),
        "sun",
        "SU(4) gauge theory",
        PLAQUETTES,
        BETA,
        LINKS,
        {"rectangle": RECTANGLE},
        dimensions=2,
    ),
    "sun": Row(
        SUNGauge,
        "sun",
        "SU(N) gauge theory",
        PLAQUETTES,
        BETA,
        LINKS,
        {"rectangle": RECTANGLE, "n": Option("the N of SU(N)", "N", 2, required=True)},
        (Small("SU(2) improved d=4", ((2, 2, 2, 2),), {"n": 2, "rectangle": -0.331}),),
        dimensions=2,
    ),
    "qcd": Row(
        QCD,
        "qcd",
        "QCD with two flavours",
        "S = -(beta/N) sum_P Re tr U_P + phi^+ (Dhat Dhat^+)^-1 phi, D = 1 - kappa H",
        {**BETA, "kappa": Coupling("hopping parameter, 1/(2 m + 2 d)", "κ", 0)},
        ("flow", "pseudofermions", "marginal", "gibbs"),
        {
            "n": Option("the N of SU(N)", "N", 2),
            **PSEUDOFERMIONS,
            "pion": Option("whether the pion correlator is measured, by a point source", defines=False),
            "determinant": Option("whether ln|det D| is measured", defines=False),
            "flow_time": Option(
                "gradient flow before the charge is measured, in four dimensions, 0 for no charge",
                "t",
                0,
                defines=False,
            ),
        },
        dimensions=2,
        papers=("Abbott2022a",),
    ),
    "schwinger": Row(
        Schwinger,
        "u1",
        "Schwinger model",
        "S = -beta sum_P cos theta_P - N_f ln|det(1 - kappa H)|",
        SCHWINGER,
        ("flow", "hmc", "pseudofermions"),
        {
            "flavours": Option("number of flavours of equal mass", "N_f", 1),
            "antiperiodic": Option("fermions antiperiodic in time, else periodic"),
        },
        (
            Small("Schwinger model", ((4, 4), (2, 2), (3, 4), (2, 1))),
            Small("Schwinger model, one flavour, periodic", ((2, 4), (3, 3)), {"flavours": 1, "antiperiodic": False}),
        ),
        dimensions=2,
        papers=("Albergo2022",),
    ),
    "schwinger-pairs": Row(
        schwinger_pairs,
        "schwinger",
        "Schwinger model with pseudofermions",
        "S = -beta sum_P cos theta_P + phi^+ (Dhat Dhat^+)^-1 phi, D = 1 - kappa H",
        SCHWINGER,
        ("flow", "pseudofermions", "marginal", "gibbs"),
        {
            **PSEUDOFERMIONS,
            "quarks": Option("whether ln|det D|, the condensate and the pion correlator are measured", defines=False),
        },
        dimensions=2,
        papers=("Albergo2022", "Abbott2022"),
    ),
    "phi4": Row(
        Phi4,
        "phi4",
        "φ⁴ theory",
        "S = sum_x [sum_mu (phi(x+mu) - phi(x))^2 + m2 phi^2 + lam phi^4]",
        {"m2": Coupling("bare mass squared; may be negative where lam > 0", "m²"), "lam": QUARTIC},
        SCALARS,
        small=(
            Small("phi^4 d=1", RING),
            Small("phi^4 d=2", SQUARE),
            Small("phi^4 d=3", CUBE),
            Small("phi^4 d=4", FOUR),
        ),
        fault=_free_field,
        width=_quartic_width,
    ),
    "phi4-hopping": Row(
        partial(Phi4, parameterisation="hopping"),
        "phi4",
        "φ⁴ theory (hopping form)",
        "S = sum_x [-2 kappa sum_mu phi phi + (1 - 2 lam) phi^2 + lam phi^4]",
        {"kappa": Coupling("hopping parameter", "κ"), "lam": QUARTIC},
        SCALARS,
        small=(
            Small("phi^4 hopping d=1", RING),
            Small("phi^4 hopping d=2", SQUARE),
            Small("phi^4 hopping d=3", CUBE),
            Small("phi^4 hopping d=4", FOUR),
        ),
        width=_quartic_width,
    ),
    "ising": Row(
        Ising,
        "spins",
        "Ising model",
        "S = -beta sum_x sum_mu s(x) s(x+mu)",
        {"beta": Coupling("inverse temperature, critical at 0.4406867935 in two dimensions", "β", 0)},
        ("flow", "heatbath", "cluster"),
        small=(Small("Ising d=1", RING), Small("Ising d=2", SQUARE), Small("Ising d=3", CUBE)),
        papers=("Kaufman1949",),
    ),
    "yukawa": Row(
        Yukawa,
        "phi4",
        "Yukawa model",
        "S = sum_x [sum_mu (phi(x+mu) - phi(x))^2 + m2 phi^2 + lam phi^4] - 2 ln|det(D_st + g phi)|",
        YUKAWA,
        ("flow", "hmc"),
        {"antiperiodic": Option("fermions antiperiodic in time, else periodic")},
        (Small("Yukawa model", ((4, 4), (2, 2), (2, 1), (4, 2))),),
        fault=_free_field,
        width=_quartic_width,
        papers=("Albergo2021fermions",),
    ),
    "yukawa-pairs": Row(
        yukawa_pairs,
        "yukawa",
        "Yukawa model with pseudofermions",
        "S = sum_x [sum_mu (phi(x+mu) - phi(x))^2 + m2 phi^2 + lam phi^4] + chi^T (M M^T)^-1 chi, M = D_st + g phi",
        YUKAWA,
        ("flow", "hmc", "marginal", "gibbs"),
        {"antiperiodic": Option("fermions antiperiodic in time, else periodic")},
        fault=_free_field,
        width=_quartic_width,
        papers=("Albergo2021fermions",),
    ),
}
