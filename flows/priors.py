"""Priors: exactly normalised densities from which a flow starts.

A prior is a frozen dataclass with a `lattice`, `sample(key, n, dtype) -> x (n, *field_shape)` and
`log_density(x) -> (*batch,)`. Densities of scalar fields `(*batch, *lattice)` refer to the measure prod d phi, those of
U(1) links `(*batch, d, *lattice)` and SU(N) links `(*batch, d, N, N, *lattice)` to the normalised Haar measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from haarflow.backends import of
from haarflow.backends.types import Array, Key
from haarflow.core import random
from haarflow.core.broadcasting import of_rank
from haarflow.core.groups.additive import U1, Complex, Real
from haarflow.core.groups.sun import SU
from haarflow.core.lattice.fourier import hartley, momentum_squared
from haarflow.core.lattice.geometry import check_lattice, volume


@dataclass(frozen=True)
class UniformLinks:
    """Independent Haar-distributed U(1) links: angles `(n, d, *lattice)` in [-pi, pi), of log-density 0.

    Raises ValueError for extents that are not whole numbers >= 1.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> UniformLinks((4, 4)).sample(random.key(0, backend), 3).shape
    (3, 2, 4, 4)
    """

    lattice: tuple[int, ...]

    group = U1()
    symmetries = ("translation", "reflection", "hypercubic", "gauge", "charge_conjugation")

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration, (d, *lattice)."""
        return (len(self.lattice), *self.lattice)

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return `n` configurations of independent links."""
        return U1().haar(key, (n, *self.field_shape), dtype)

    def log_density(self, x: Array) -> Array:
        """Return log r(x) = 0 in normalised Haar measure, one number per configuration."""
        check_field(x, self.field_shape)
        flat = _per_configuration(x, self.field_shape)
        return 0.0 * flat[..., 0]


@dataclass(frozen=True)
class UniformSites:
    """Independent uniform angles, one a site: `(n, *lattice)` in [-pi, pi), of log-density 0 in normalised Haar measure.

    What draws discrete values site by site starts from them. Raises ValueError for extents that are not whole numbers
    >= 1.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> UniformSites((4, 4)).sample(random.key(0, backend), 3).shape
    (3, 4, 4)
    """

    lattice: tuple[int, ...]

    group = U1()
    symmetries = ("translation", "reflection", "hypercubic", "Z2", "charge_conjugation")

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration, that of the lattice."""
        return self.lattice

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return `n` configurations of independent angles."""
        return U1().haar(key, (n, *self.lattice), dtype)

    def log_density(self, x: Array) -> Array:
        """Return log r(x) = 0 in normalised Haar measure, one number per configuration."""
        check_field(x, self.lattice)
        return 0.0 * _per_configuration(x, self.lattice)[..., 0]


@dataclass(frozen=True)
class HaarLinks:
    """Independent Haar-distributed SU(n) links `(samples, d, n, n, *lattice)`, of log-density 0.

    Raises ValueError for extents that are not whole numbers >= 1 and for n < 2.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> HaarLinks((4, 4), 3).sample(random.key(0, backend), 5).shape
    (5, 2, 3, 3, 4, 4)
    """

    lattice: tuple[int, ...]
    n: int

    symmetries = ("translation", "reflection", "hypercubic", "gauge", "charge_conjugation")

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))
        SU(self.n, len(self.lattice))

    @property
    def group(self) -> SU:
        """SU(n) on the lattice's axes."""
        return SU(self.n, len(self.lattice))

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration, (d, n, n, *lattice)."""
        return (len(self.lattice), self.n, self.n, *self.lattice)

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return `n` configurations of independent links, complex with real and imaginary parts of type `dtype`."""
        return self.group.haar(key, (n, *self.field_shape), dtype)

    def log_density(self, x: Array) -> Array:
        """Return log r(x) = 0 in normalised Haar measure, one real number per configuration."""
        check_field(x, self.field_shape)
        flat = _per_configuration(x, self.field_shape)
        return 0.0 * array_namespace(x).real(flat[..., 0])


@dataclass(frozen=True)
class Gaussian:
    """Independent normal sites: r(x) = prod (2 pi sigma^2)^(-1/2) exp(-x^2 / 2 sigma^2).

    Raises ValueError for sigma that is not positive and finite.

    >>> import numpy as np
    >>> float(Gaussian((2, 2)).log_density(np.zeros((2, 2))).round(6))
    -3.675754
    """

    lattice: tuple[int, ...]
    sigma: float = 1.0

    group = Real()
    symmetries = ("translation", "reflection", "hypercubic", "Z2")

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))
        _check_positive("sigma", self.sigma)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration, that of the lattice."""
        return self.lattice

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return `n` independent configurations."""
        return self.sigma * random.normal(key, (n, *self.lattice), dtype)

    def log_density(self, x: Array) -> Array:
        """Return log r(x), one number per configuration."""
        check_field(x, self.lattice)
        squares = _per_configuration(x * x, self.lattice)
        log_norm = -volume(self.lattice) * math.log(self.sigma * math.sqrt(2.0 * math.pi))
        return log_norm - array_namespace(x).sum(squares, axis=-1) / (2.0 * self.sigma**2)


@dataclass(frozen=True)
class Noise:
    """Complex normal numbers of a shape, r(chi) = pi^{-n} e^{-chi^+ chi} for n components: variance 1/2 for each real one.

    Their log-density refers to the measure prod d Re chi d Im chi; pseudofermion fields start from them.
    Raises ValueError for extents that are not whole numbers >= 1.

    >>> import numpy as np
    >>> float(Noise((2, 8)).log_density(np.zeros((2, 8)) + 0j).round(6))
    -18.315678
    """

    shape: tuple[int, ...]

    group = Complex()
    symmetries = ("gauge",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", check_lattice(self.shape))

    @property
    def lattice(self) -> tuple[int, ...]:
        """The sites, the last axis."""
        return self.shape[-1:]

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration."""
        return self.shape

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return `n` independent configurations."""
        return Complex().algebra_normal(key, (n, *self.shape), dtype) * math.sqrt(0.5)

    def log_density(self, x: Array) -> Array:
        """Return log r(chi), one number per configuration."""
        check_field(x, self.shape)
        squares = _per_configuration(Complex().inner(x, x), self.shape)
        return -array_namespace(x).sum(squares, axis=-1) - math.prod(self.shape) * math.log(math.pi)


@dataclass(frozen=True)
class FreeField:
    """The free field of mass squared m2: r(x) = e^{-S(x)} / Z, S = sum_x [sum_mu (x(x+mu) - x(x))^2 + m2 x^2].

    S = sum_p M(p) x(p)^2 with M = m2 + sum_mu 4 sin^2(p_mu/2), hence <x(p)^2> = 1/2M and ln Z = 1/2 sum_p ln(pi/M).
    Raises ValueError for m2 that is not positive and finite.

    >>> import numpy as np
    >>> float(FreeField((1,), m2=1.0).log_density(np.zeros(1)).round(6))
    -0.572365
    """

    lattice: tuple[int, ...]
    m2: float = 1.0

    group = Real()
    symmetries = ("translation", "reflection", "hypercubic", "Z2")

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", check_lattice(self.lattice))
        _check_positive("m2", self.m2)
        object.__setattr__(self, "m2", float(self.m2))

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration, that of the lattice."""
        return self.lattice

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return `n` independent configurations: white noise in momentum space, scaled by (2M)^(-1/2)."""
        noise = random.normal(key, (n, *self.lattice), dtype)
        width = of(noise).asarray((2.0 * self._spectrum()) ** -0.5, dtype=noise.dtype)[None, ...]
        return hartley(noise * width, len(self.lattice))

    def log_density(self, x: Array) -> Array:
        """Return log r(x) = -S(x) - ln Z, one number per configuration."""
        check_field(x, self.lattice)
        xp = array_namespace(x)
        modes = hartley(x, len(self.lattice))
        spectrum = of_rank(of(x).asarray(self._spectrum(), dtype=x.dtype), x.ndim)
        action = xp.sum(_per_configuration(spectrum * modes * modes, self.lattice), axis=-1)
        return -action - self.log_z()

    def log_z(self) -> float:
        """Return ln Z = 1/2 sum_p ln(pi / M(p)) for the measure prod d phi.

        >>> round(FreeField((2, 2), m2=1.0).log_z(), 12)
        -0.418590429403
        """
        return float(sum(0.5 * math.log(math.pi / float(m)) for m in self._spectrum().flat))

    def _spectrum(self) -> np.ndarray:
        spectrum: np.ndarray = self.m2 + momentum_squared(self.lattice)
        return spectrum


def check_field(x: Array, field_shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the last axes of `x` are those of one configuration."""
    if tuple(x.shape[-len(field_shape) :]) != tuple(field_shape):
        raise ValueError(f"this prior wants fields (*batch, {', '.join(map(str, field_shape))}), got shape {x.shape}")


def _per_configuration(x: Array, field_shape: tuple[int, ...]) -> Array:
    batch = tuple(x.shape[: x.ndim - len(field_shape)])
    return array_namespace(x).reshape(x, (*batch, math.prod(field_shape)))


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0.0):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
