"""What a law is: a public function that checks an object against a formula and returns a verdict.

A law computes a residual on concrete input and states the tolerance that it must meet, and why; the first line of its
docstring is its formula. A row of a layer's literal table `LAWS` says how the input is built from a `Given`, the few
settings that determine an example (lattice, seed, style, size), and to which objects the law applies. Hypothesis draws
and shrinks these settings, not arrays, so that a counterexample is one line that can be pasted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.tree import leaves
from haarflow.backends.types import Array, Group, Tree
from haarflow.core import random
from haarflow.core.groups.additive import Real
from haarflow.core.groups.matrices import EPSILON as EPSILON
from haarflow.core.groups.matrices import precision
from haarflow.core.groups.sun import SU
from haarflow.core.laws.fields import host_matrices

STYLES = ("cold", "haar", "near", "seam", "huge")
SIZES = ("zero", "small", "one", "large")
COMPLEX = {"float64": "complex128", "float32": "complex64"}
# the operations of a group, one compiled program each
OPERATIONS = ("compose", "inverse", "exp", "log", "project", "update", "inner")
MEMORY = 2**30  # bytes that one law may allocate, on an object of any size
VOID = "does not apply: "


class TooLarge(ValueError):
    """A law would need more than MEMORY bytes for this object; the message names the arrays."""


def fits(size: float, what: str) -> None:
    """Raise TooLarge if `what`, of `size` bytes, exceeds the memory that a law may allocate.

    >>> fits(2.0**33, "4096 fields")
    Traceback (most recent call last):
        ...
    haarflow.core.laws.law.TooLarge: too large for this law: 4096 fields take 8 GiB of at most 1: give a smaller lattice
    """
    if size > MEMORY:
        limit = f"{size / 2**30:.3g} GiB of at most {MEMORY / 2**30:.3g}"
        raise TooLarge(f"too large for this law: {what} take {limit}: give a smaller lattice")


class Verdict(NamedTuple):
    """The outcome of a law: the residual, the tolerance it must meet with its reason, and the input.

    >>> verdict = Verdict("closure", "a b is in the group", 1e-17, 1e-15, "rounding: 4 ulp")
    >>> verdict.passed, verdict.ratio < 0.02
    (True, True)
    """

    law: str
    formula: str
    residual: float
    tolerance: float
    reason: str
    example: dict[str, Any] = {}  # noqa: RUF012 (a constant, never written)

    @property
    def passed(self) -> bool:
        """Whether the residual meets the tolerance; NaN does not."""
        return self.residual <= self.tolerance

    @property
    def void(self) -> bool:
        """Whether the law did not apply to this example."""
        return self.reason.startswith(VOID)

    @property
    def ratio(self) -> float:
        """The residual in units of the tolerance; NaN counts as infinite."""
        if math.isnan(self.residual) or math.isnan(self.tolerance):
            return math.inf
        if self.tolerance == 0.0:
            return 0.0 if self.residual == 0.0 else math.inf
        return self.residual / self.tolerance


def judge(law: Callable[..., Any], residual: Any, tolerance: float, reason: str, **example: Any) -> Verdict:
    """Return the verdict of a law; `residual` is a number or an array, of which the largest modulus counts.

    A NaN anywhere makes the residual infinite. `example` records the offending input.
    """
    return Verdict(law.__name__, formula(law), largest(residual), float(tolerance), reason, example)


def void(law: Callable[..., Any], reason: str) -> Verdict:
    """Return the verdict of a law that does not apply to an example."""
    return Verdict(law.__name__, formula(law), 0.0, 0.0, f"{VOID}{reason}")


def formula(law: Callable[..., Any]) -> str:
    """Return a law's formula, the first line of its docstring."""
    return (law.__doc__ or law.__name__).strip().splitlines()[0]


def largest(x: Array) -> float:
    """Return the largest |x| as a float, infinity if there is a NaN, 0 for an empty array.

    >>> largest([1.0, -3.0]), largest([float("nan")])
    (3.0, inf)
    """
    host = numpy.abs(in_double(x))
    if host.size == 0:
        return 0.0
    return math.inf if bool(numpy.isnan(host).any()) else float(host.max())


def to_host(x: Array) -> numpy.ndarray:
    """Return an array of any backend, or a number, as a NumPy array."""
    # numbers and nested lists are accepted beside arrays, whose classes have nothing in common
    return numpy.asarray(backends.of(x).to_numpy(x) if hasattr(x, "dtype") and not isinstance(x, numpy.generic) else x)


def in_double(x: Array) -> numpy.ndarray:
    """Return `to_host(x)` in double precision, real or complex.

    >>> in_double(numpy.ones(1, dtype="complex64")).dtype, in_double([1, 2]).dtype
    (dtype('complex128'), dtype('float64'))
    """
    host = to_host(x)
    return host.astype("complex128" if host.dtype.kind == "c" else "float64")


@dataclass(frozen=True)
class Given:
    """The input of one check, determined by a few settings.

    `style` is how fields are drawn: cold (zero, the identity), haar (uniform angles, standard normal numbers), near
    (within 1e-6 of the identity), seam (on or next to +-pi, 0 and the knots of 8 equal bins; degenerate spectra),
    huge (angles of many turns, numbers of order 30). `size` is the magnitude of parameters. `backend` is the backend on
    which the check runs, `dtype` the precision, `batch` the number of fields.

    >>> from haarflow.core.groups.additive import U1
    >>> Given((2, 2), seed=3).field(U1(), (2, 2, 2)).shape
    (3, 2, 2, 2)
    """

    lattice: tuple[int, ...] = (4, 4)
    seed: int = 0
    style: str = "haar"
    size: str = "one"
    batch: int = 3
    dtype: str = "float64"
    backend: Backend = field(default_factory=lambda: backends.get("numpy"), repr=False)

    def generator(self, salt: int = 0) -> numpy.random.Generator:
        """Return a host generator; each use has its own `salt`."""
        return numpy.random.default_rng((self.seed, salt))

    def array(self, host: Any, dtype: str | None = None) -> Array:
        """Return host numbers on the backend, floats and complex numbers in this precision."""
        host = numpy.asarray(host)
        wanted = {"f": self.dtype, "c": COMPLEX[self.dtype]}.get(host.dtype.kind) if dtype is None else dtype
        return self.backend.asarray(host) if wanted is None else self.backend.asarray(host, dtype=wanted)

    def key(self, salt: int = 0) -> Array:
        """Return a random key; each use has its own `salt`."""
        return random.fold_in(random.key(self.seed, self.backend), salt)

    def normal(self, shape: tuple[int, ...], salt: int = 1) -> Array:
        """Return standard normal numbers, for instance momenta."""
        return self.array(self.generator(salt).standard_normal(shape))

    def field(self, group: Group, shape: tuple[int, ...], salt: int = 0) -> Array:
        """Return fields `(batch, *shape)` of a group in this style."""
        return self.array(host_field(group, (self.batch, *shape), self.style, self.generator(salt)))

    def elements(self, group: Group, shape: tuple[int, ...], salt: int = 2) -> Array:
        """Return Haar-distributed group elements of exactly `shape` in any style: gauge transformations."""
        return self.array(host_field(group, shape, "haar", self.generator(salt)))

    @property
    def epsilon(self) -> float:
        """The machine epsilon of this precision."""
        return EPSILON[self.dtype]

    def jit(self, owner: Any, method: str) -> Callable[..., Any]:
        """Return a method compiled by the backend, once per owner."""
        return compiled(self.backend.jit, owner, method)


def at_once(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, on JAX as one program: outside of a program it would compile every operation separately.

    >>> at_once(lambda x, y: x * y + 1.0, numpy.ones(1), 2.0)
    array([3.])
    """
    backend = backends.of(*args)
    return (backend.jit(function) if backend.name == "jax" else function)(*args)


class Whole:
    """An object each of whose methods is one program on JAX, compiled once for equal objects, see `at_once`.

    >>> from haarflow.core.groups.additive import U1
    >>> Whole(U1(), backends.get("numpy")).compose(numpy.ones(1), numpy.ones(1))
    array([2.])
    """

    def __init__(self, owner: Any, backend: Backend, methods: tuple[str, ...] = OPERATIONS):
        self._owner, self._backend, self._methods = owner, backend, methods

    def __getattr__(self, name: str) -> Any:
        """Return the owner's attribute, compiled if it is one of the methods."""
        if self._backend.name == "jax" and name in self._methods:
            return compiled(self._backend.jit, self._owner, name)
        return getattr(self._owner, name)  # any name: this object stands for its owner


@lru_cache(maxsize=512)
def compiled(jit: Callable[..., Any], owner: Any, method: str) -> Callable[..., Any]:
    """Return `jit(owner.method)`, cached by the owner, so that no law compiles it again."""
    result: Callable[..., Any] = jit(getattr(owner, method))  # named, so that equal owners share a program
    return result


def host_field(group: Group, shape: tuple[int, ...], style: str, generator: numpy.random.Generator) -> numpy.ndarray:
    """Return field values of a group of core in a style; raises ValueError for an unknown style or group."""
    if style not in STYLES:
        raise ValueError(f"unknown style of fields {style!r}: choose one of {', '.join(STYLES)}")
    if isinstance(group, SU):
        return host_matrices(group, shape, style, generator)
    if group.name == "Complex":
        real, imaginary = (host_field(Real(), shape, style, generator) for _ in range(2))
        return real + 1j * imaginary
    if group.name == "Signs":
        return numpy.ones(shape) if style == "cold" else generator.choice([-1.0, 1.0], shape)
    if group.name not in ("Real", "U1"):
        raise ValueError(f"fields can be drawn for the groups Real, Complex, U1, SU(N) and Signs, got {group.name!r}")
    angle = group.name == "U1"
    haar = generator.uniform(-math.pi, math.pi, shape) if angle else generator.standard_normal(shape)
    if style == "cold":
        return numpy.zeros(shape)
    if style == "near":
        return 1e-6 * haar
    if style == "huge":
        return haar + 2 * math.pi * generator.integers(-100, 101, shape) if angle else 30.0 * haar
    if style == "seam":
        knots = (math.pi if angle else 3.0) * numpy.arange(-4, 5) / 4
        result: numpy.ndarray = generator.choice(knots, shape) + generator.choice([-1e-9, 0.0, 1e-9], shape)
        return result
    return haar


class Law(NamedTuple):
    """One row of a layer's table: the law, how it is checked on a `Given`, and why it may not apply to an object.

    `check(obj, given)` returns a `Verdict`; `applies(obj)` returns None, or the reason as a clause. `sampled=True`
    marks a Monte Carlo law: it is checked once, from a fixed seed, and its reason states the probability of a chance
    failure. `shared_draws=True` marks a sampled law whose draws are identical on all backends, because NumPy makes them
    or another law compares them with NumPy's, and likewise what a backend computes from them. `programs=True` marks a
    law that compiles its own programs, which takes seconds on a compiling backend and reveals nothing there that
    another law does not. The quick profile checks the former only on NumPy and the latter only on backends that do not
    compile, if the run has any. `expensive(obj)`: an example may take minutes, and the quick profile checks only the
    default example. `first=True` marks a cheap law of what an object returns, without which the others make no sense:
    if it fails they are skipped.
    """

    law: Callable[..., Any]
    check: Callable[[Any, Given], Verdict]
    applies: Callable[[Any], str | None] = lambda obj: None
    sampled: bool = False
    programs: bool = False
    shared_draws: bool = False
    expensive: Callable[[Any], bool] = lambda obj: False
    first: bool = False

    @property
    def name(self) -> str:
        """The law's name, which is that of its function."""
        return self.law.__name__

    def verdict(self, obj: Any, given: Given) -> Verdict:
        """Return the verdict on one example.

        It is void if the law does not apply to the object, if it would need too much memory, and if the object needs
        automatic differentiation, which the backend does not support.
        """
        reason = self.applies(obj)
        if reason is not None:
            return void(self.law, reason)
        try:
            return self.check(obj, given)
        except (TooLarge, backends.NoAutodiff) as limit:
            return void(self.law, str(limit))


def precision_of(tree: Tree) -> str:
    """Return "float32" or "float64", the precision of a tree's first array."""
    arrays = [leaf for leaf in leaves(tree) if hasattr(leaf, "dtype")]  # a tree may also hold plain numbers
    return precision(arrays[0]) if arrays else "float64"
