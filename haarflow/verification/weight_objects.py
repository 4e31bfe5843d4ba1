"""What the laws of weights check: estimators of ln Z, mixtures and symmetrised models, models of targets whose ln Z is known."""

from __future__ import annotations

from typing import Any

from haarflow.core.statistics import Estimate, bennett, log_z, target_log_z
from haarflow.flows.flow import Chain, Model, Translate
from haarflow.flows.laws.weights import KnownTarget
from haarflow.flows.mixtures import Mixture, symmetrised
from haarflow.flows.priors import FreeField, Gaussian, HaarLinks, UniformLinks
from haarflow.flows.scalar.momentum import MomentumScaling
from haarflow.flows.scalar.shift import UniformShift
from haarflow.flows.scalar.tails import QuarticTail
from haarflow.flows.spins.autoregressive import dense
from haarflow.flows.sun.gradient_coupling import LoopCoupling
from haarflow.theories import Phi4, SUNGauge, U1Gauge
from haarflow.theories.spins.ising import Ising
from haarflow.verification.entry import Entry

Lattice = tuple[int, ...]
MASS = 1.5
SHIFT = 0.4


def of_draws(log_w: Any, target_log_w: Any) -> Estimate:
    """Return ln Z from the draws of the model alone.

    >>> of_draws([0.0, 0.0], None).value
    0.0
    """
    return log_z(log_w)


def of_target(log_w: Any, target_log_w: Any) -> Estimate:
    """Return ln Z from configurations of the target alone.

    >>> of_target(None, [[0.5] * 20]).value
    0.5
    """
    return target_log_z(target_log_w)


def well(lattice: Lattice, v: float = SHIFT, strength: float = 0.3) -> Model:
    """Return a model of one well: quartic tails, then a shift.

    >>> well((2, 2)).symmetries
    ('translation', 'reflection', 'hypercubic')
    """
    d = len(lattice)
    return Model(Gaussian(lattice), Chain((QuarticTail(d, strength), UniformShift(d, v))))


def free(lattice: Lattice, model: Any, perfect: bool = False) -> KnownTarget:
    """Return a model with the free field of mass squared MASS as its target.

    >>> free((2, 2), well((2, 2))).perfect
    False
    """
    theory, couplings = Phi4(lattice), {"m2": MASS, "lam": 0.0}
    return KnownTarget(model, theory, couplings, float(theory.exact(couplings)["ln_Z"]), perfect)


def uniform(lattice: Lattice) -> KnownTarget:
    """Return uniform links with U(1) at beta = 0.5 as their target.

    >>> round(uniform((2, 2)).log_z, 3)
    0.253
    """
    theory, couplings = U1Gauge(lattice), {"beta": 0.5}
    model = Model(UniformLinks(lattice), Translate((0,) * len(lattice), internal=1))
    return KnownTarget(model, theory, couplings, float(theory.exact(couplings)["ln_Z"]))


def spins(lattice: Lattice) -> KnownTarget:
    """Return an autoregressive network with the Ising model at beta = 0.3 as its target.

    >>> round(spins((3, 3)).log_z, 3)
    7.347
    """
    theory, couplings = Ising(lattice), {"beta": 0.3}
    return KnownTarget(dense(lattice, (2,)), theory, couplings, float(theory.exact(couplings)["ln_Z"]))


def gradient(lattice: Lattice, start: float = 0.12) -> Model:
    """Return gradient couplings of SU(2) links, one for each direction and colour, told beta: their strength is start x beta.

    >>> len(gradient((2, 2)).flow.flows)
    4
    """
    places = [(mu, colour) for mu in range(len(lattice)) for colour in range(2)]
    parts = tuple(LoopCoupling(2, len(lattice), mu, colour, start, condition=("beta",)) for mu, colour in places)
    return Model(HaarLinks(lattice, 2), Chain(parts))


def told(lattice: Lattice, model: Any) -> KnownTarget:
    """Return a model of SU(2) links that is told beta, with the theory at beta = 1 as its target.

    >>> told((2, 2), gradient((2, 2))).told
    ('beta',)
    """
    theory, couplings = SUNGauge(lattice, n=2), {"beta": 1.0}
    return KnownTarget(model, theory, couplings, float(theory.exact(couplings)["ln_Z"]), told=("beta",))


def shifted(lattice: Lattice) -> Model:
    """Return a free field with a shift.

    >>> shifted((2, 2)).prior.m2
    1.2
    """
    return Model(FreeField(lattice, 1.2), UniformShift(len(lattice), SHIFT / 2))


SQUARES: tuple[Lattice, ...] = ((2, 2), (3, 2))
ESTIMATOR_ENTRIES: tuple[Entry, ...] = tuple(
    Entry(name, "estimator", lambda lattice, function=function: function, ((1,),))  # type: ignore[misc]
    for name, function in (
        ("ln Z of the model's draws", of_draws),
        ("ln Z of the target's", of_target),
        ("Bennett's bridge", bennett),
    )
)
DENSITY_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "mixture of two wells",
        "density",
        lambda lattice: Mixture((well(lattice), well(lattice, -0.2, 0.6)), (0.7, 0.3)),
        SQUARES,
    ),
    Entry("symmetrised mixture", "density", lambda lattice: _symmetric(lattice), SQUARES),
    Entry("symmetrised spins", "density", lambda lattice: symmetrised(dense(lattice, (3,)), ("Z2",)), ((3, 3), (2, 3))),
)
WEIGHT_ENTRIES: tuple[Entry, ...] = (
    Entry(
        "free field by its propagator",
        "weights",
        lambda lattice: free(lattice, Model(Gaussian(lattice), MomentumScaling(len(lattice), 0, MASS)), perfect=True),
        ((2, 2), (4, 4)),
    ),
    Entry(
        "symmetrised shift", "weights", lambda lattice: free(lattice, symmetrised(shifted(lattice), ("Z2",))), SQUARES
    ),
    Entry("uniform links", "weights", uniform, ((2, 2),)),
    Entry("spins in turn", "weights", spins, ((2, 2), (3, 3))),
    Entry("gradient couplings told beta", "weights", lambda lattice: told(lattice, gradient(lattice)), SQUARES[:1]),
)


def _symmetric(lattice: Lattice) -> Any:
    return symmetrised(Mixture((well(lattice), well(lattice, 0.1, 0.8))), ("Z2",))
