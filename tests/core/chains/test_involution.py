"""Kernels of involutions that are no HMC: a flip, a scaling, and U(1) links; and the laws, with members that break them."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
import pytest
from array_api_compat import array_namespace

from haarflow.core import fields, random
from haarflow.core.axes import spread
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.involution import Image, Involutive, accepted_step
from haarflow.core.chains.kernel import Cycle, run
from haarflow.core.groups.additive import Real
from haarflow.core.laws.deviations import largest_pull
from haarflow.core.laws.kernels.involution import applied_twice, involution_volume
from haarflow.core.parts import described
from haarflow.core.statistics import gamma_method
from haarflow.theories import Phi4, SUNGauge, U1Gauge
from tests.support.scalar_qed import ScalarQED


@dataclass(frozen=True)
class Gaussian:
    """S = sum (x - c)^2 / 2."""

    lattice: tuple[int, ...]
    centre: float = 0.0
    group = Real()

    def action(self, x, couplings=None):
        xp = array_namespace(x)
        return 0.5 * xp.sum((x - self.centre) ** 2, axis=tuple(range(-len(self.lattice), 0)))

    def force(self, x, couplings=None):
        return x - self.centre


@dataclass(frozen=True)
class Valued:
    values: Any = field(default_factory=dict, compare=False)

    def with_values(self, values):
        return replace(self, values=values)


@dataclass(frozen=True)
class Flip(Valued):
    """x -> -x, without an auxiliary variable."""

    def auxiliary(self, key, x):
        return None

    def involution(self, x, v):
        return Image(-x, None)

    def energy_change(self, x, v, image):
        return 0.0


@dataclass(frozen=True)
class Scaling(Valued):
    """(x, v) -> (e^v x, -v), one v ~ N(0, s^2) for each configuration: log_det = V v."""

    sites: int = 4
    slope: float = 1.0

    def auxiliary(self, key, x):
        return self.values["width"] * random.normal(key, tuple(x.shape[:-1]))

    def involution(self, x, v):
        xp = array_namespace(x)
        return Image(xp.exp(spread(v, x.ndim - v.ndim)) * x, -v, self.slope * self.sites * v)

    def energy_change(self, x, v, image):
        return (image.auxiliary**2 - v**2) / (2.0 * self.values["width"] ** 2)


@dataclass(frozen=True)
class NoInvolution(Scaling):
    """The auxiliary variable keeps its sign: not its own inverse."""

    def involution(self, x, v):
        image = Scaling.involution(self, x, v)
        return image._replace(auxiliary=v)


def scaling(kind=Scaling, **words):
    return Involutive(Gaussian((4,)), kind({"width": 0.6}, **words))


def pair(host, batch=()):
    return random.normal(random.key(1, host), (*batch, 4)), random.normal(random.key(2, host), batch)


@pytest.mark.parametrize("kernel", [scaling(), Involutive(Gaussian((4,)), Flip())], ids=["scaling", "flip"])
def test_the_laws_hold(backend, host, kernel):
    x, v = (backend.asarray(part) for part in pair(host, (3,)))
    v = None if isinstance(kernel.involution, Flip) else v
    assert applied_twice(kernel, x, v).passed
    one = None if v is None else v[0, ...]
    assert involution_volume(kernel, x[0, ...], one).passed


def test_dh_is_the_change_of_the_joint_density(host):
    """dH = S(x') - S(x) + v'^2 / 2 s^2 - v^2 / 2 s^2 - log_det, for an involution that leaves the action to its theory."""
    kernel, (x, v) = scaling(), pair(host, (3,))
    image, key = kernel.involution.involution(x, v), random.key(4, host)
    state, info = accepted_step(kernel.theory, kernel.involution, key, kernel.init(x), v, image)
    wanted = kernel.theory.action(image.field) - kernel.theory.action(x) - image.log_det
    numpy.testing.assert_allclose(info["dH"], wanted, rtol=1e-12)
    assert numpy.array_equal(state.field, numpy.where(info["accepted"][:, None], image.field, x))


HMCS = {
    "phi4": (Phi4((2, 2)), {"m2": 2.0, "lam": 0.5}),
    "u1": (U1Gauge((2, 2)), {"beta": 1.0}),
    "su2": (SUNGauge((2, 2), n=2), {"beta": 2.0}),
    "a tree": (ScalarQED((2, 2)), {"beta": 1.0, "m2": 2.0, "kappa": 0.7}),
}


@pytest.mark.parametrize("name", HMCS)
def test_the_laws_hold_for_hmc(host, name):
    theory, couplings = HMCS[name]
    kernel, spaces = HMC(theory, steps=3, values={"couplings": couplings, "step_size": 0.2}), described(theory).spaces
    w, v = (fields.normal(random.key(seed, host), spaces, (2,)) for seed in (1, 2))
    x = fields.map(lambda space, w: space.group.exp(w), spaces, w)
    assert applied_twice(kernel, x, v).passed
    first = [fields.map(lambda part: part[0, ...], tree) for tree in (x, v)]
    assert involution_volume(kernel, *first).passed
    same, key = Involutive(theory, kernel), random.key(5, host)
    one, two = (one.step(key, one.init(x)) for one in (kernel, same))
    assert numpy.array_equal(one[1]["dH"], two[1]["dH"])


def test_the_laws_catch_what_is_wrong(host):
    x, v = pair(host, (3,))
    assert not applied_twice(scaling(NoInvolution), x, v).passed
    for slope in (-1.0, 0.0, 1.1):
        assert not involution_volume(scaling(slope=slope), x[0], v[0]).passed


# Statistical: five sigma, chance of luck 6e-7 a number; the seeds are fixed.


def chain(kernel, backend, draws=400, chains=200):
    start = random.normal(random.key(3, backend), (chains, 4))
    observed = lambda x: {"r2": (x * x).sum(-1), "r4": (x * x).sum(-1) ** 2, "sign": numpy.sign(x[..., 0])}  # noqa: E731
    return run(kernel, random.key(4, backend), kernel.init(start), draws, measure=observed)[1]


@pytest.mark.statistical
def test_scaling_samples_the_radius_of_a_gaussian(host):
    """<r^2> = V and <r^4> = V (V + 2); the directions stay as they are."""
    records = chain(scaling(), host)
    assert largest_pull(numpy.exp(-records["info"]["dH"]).mean(axis=0), 1.0) < 5.0
    assert 0.2 < records["info"]["accepted"].mean() < 0.9
    for name, exact in (("r2", 4.0), ("r4", 24.0)):
        estimate = gamma_method(records["observables"][name].T)
        assert abs(estimate.value - exact) < 5.0 * estimate.error, (name, estimate)


@pytest.mark.statistical
def test_a_wrong_log_det_samples_something_else(host):
    estimate = gamma_method(chain(scaling(slope=0.0), host)["observables"]["r2"].T)
    spread = math.sqrt(8.0 / 200)  # of the mean over 200 independent Gaussians: far wider than an error bar would be
    assert abs(estimate.value - 4.0) > 5.0 * spread, estimate  # the chain drifts, so that it may have no error bar


@pytest.mark.statistical
def test_flip_balances_two_sides(host):
    """Centred at c, x -> -x is accepted with min(1, e^{-2 c sum x}); with scalings it keeps <r^2> = V (1 + c^2)."""
    theory = Gaussian((4,), 0.4)
    kernel = Cycle(
        (
            Involutive(theory, Flip()),
            HMC(theory, steps=2, values={"step_size": 0.7}),
        )
    )
    records = chain(kernel, host)
    estimate = gamma_method(records["observables"]["r2"].T)
    assert abs(estimate.value - 4.0 * (1.0 + 0.4**2)) < 5.0 * estimate.error
    sign = gamma_method(records["observables"]["sign"].T)
    assert abs(sign.value - math.erf(0.4 / math.sqrt(2.0))) < 5.0 * sign.error
