"""Flows of numbers on sites with one thing wrong each, and what they have in common."""

from dataclasses import dataclass, replace

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.flows.flow import Chain, Model
from haarflow.flows.scalar.affine import AffineCoupling
from haarflow.flows.scalar.tails import QuarticTail, inverse_quartic_tail, quartic_tail


class SignSlip(AffineCoupling):
    """The log-determinants of both directions have the wrong sign."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, -log_det

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x, -log_det


class WrongSublattice(AffineCoupling):
    """The log-determinant is that of the sites which stand still."""

    def forward(self, params, x, condition=None):
        y, _ = super().forward(params, x, condition)
        return y, AffineCoupling(self.net, 1 - self.parity, self.tail).forward(params, x, condition)[1]


class RoughInverse(AffineCoupling):
    """An inverse good to 1e-5."""

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x + 1e-5 * array_namespace(x).sin(x), log_det


class SingleOneWay(AffineCoupling):
    """The way back sees the net in another precision than the way there."""

    def inverse(self, params, y, condition=None):
        return AffineCoupling(replace(self.net, net_precision="float32"), self.parity, self.tail).inverse(
            params, y, condition
        )


class NoMinus(AffineCoupling):
    """The inverse gives the forward map's log-determinant."""

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x, -log_det


class PeriodOne(AffineCoupling):
    """A checkerboard that claims translations by one site."""

    @property
    def periods(self):
        return (1,) * self.net.d


class Biased(AffineCoupling):
    """A shift that does not change sign with the field, though Z2 is declared."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y + 1e-3, log_det

    def inverse(self, params, y, condition=None):
        return super().inverse(params, y - 1e-3, condition)


class WrongTail(QuarticTail):
    """The tail's slope has the exponent 1.2 in place of 5/4, in both directions."""

    def forward(self, params, x, condition=None):
        return self._wrong(params, x, quartic_tail, 1.0)

    def inverse(self, params, y, condition=None):
        return self._wrong(params, y, inverse_quartic_tail, -1.0)

    def _wrong(self, params, x, map, sign):
        xp = array_namespace(x)
        c = xp.exp(params["log_c"])
        y, log_slope = map(x, c)
        u = x if sign > 0 else y
        log_slope = log_slope + sign * 0.05 * xp.log(1 + c * u * u)
        return y, xp.sum(log_slope, axis=tuple(range(-self.d, 0)))


class Forgetful(Chain):
    """The first flow's log-determinant is left out."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, log_det - self.flows[0].forward(params["0"], x, condition)[1]

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x, log_det + self.flows[0].forward(params["0"], x, condition)[1]


class Mixing(AffineCoupling):
    """Every field is shifted by the mean over the batch of the frozen sites."""

    def forward(self, params, x, condition=None):
        shift, active = self._shift(x)
        y, log_det = super().forward(params, x, condition)
        return y + shift * active, log_det

    def inverse(self, params, y, condition=None):
        shift, active = self._shift(y)
        return super().inverse(params, y - shift * active, condition)

    def _shift(self, x):
        xp, d = array_namespace(x), self.net.d
        active = backends.of(x).asarray(self.moves(tuple(x.shape[-d:])) + 0.0, dtype=x.dtype)
        return 1e-3 * xp.mean(x * (1 - active)), active


class Spoiler(AffineCoupling):
    """It writes its result into the field it was given."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        x += y - x
        return x, log_det


class Promoting(QuarticTail):
    """A tail that computes in double precision whatever it is given."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        xp = array_namespace(x)
        return xp.astype(y, xp.float64), log_det


class HalfHearted(QuarticTail):
    """A tail that is another one where the engine is not NumPy."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return (y, log_det) if backends.of(x).name == "numpy" else (y * (1 + 1e-9), log_det)


class DoubleInit(AffineCoupling):
    """`init` gives double precision whatever is asked for."""

    def init(self, key, dtype="float64"):
        return super().init(key, "float64")


class LevelSlip(QuarticTail):
    """Both log-determinants are off by the same constant: the density is not normalised."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, log_det + 0.3

    def inverse(self, params, y, condition=None):
        x, log_det = super().inverse(params, y, condition)
        return x, log_det - 0.3


@dataclass(frozen=True)
class Growing(QuarticTail):
    """A definition that changes whenever it is made from its own fields."""

    def __post_init__(self):
        object.__setattr__(self, "strength", 2 * self.strength)


class NoLogDet(Model):
    """`sample` gives the prior's density of what went in."""

    def sample(self, params, key, n, condition=None):
        x = self.prior.sample(key, n)
        y, log_det = self.flow.forward(params, x, condition)
        return y, self.prior.log_density(x) + 0 * log_det


@dataclass(frozen=True)
class OuterProduct(QuarticTail):
    """A factor of each configuration, broadcast against the batch: y is (B, B, *lattice)."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return (1.0 + 0.0 * log_det)[..., *(None,) * x.ndim] * y, log_det


@dataclass(frozen=True)
class ColumnLogDet(QuarticTail):
    """log_det with an axis too many."""

    def forward(self, params, x, condition=None):
        y, log_det = super().forward(params, x, condition)
        return y, log_det[..., None]
