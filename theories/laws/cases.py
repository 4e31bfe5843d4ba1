"""What the laws of a theory share: its methods, compiled once, its couplings by size, and a bound on rounding errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Couplings, Theory
from haarflow.core.lattice import loops
from haarflow.core.laws import law
from haarflow.core.laws.coupling_values import couplings_at
from haarflow.core.laws.fields import element_shape
from haarflow.core.laws.law import EPSILON, Given, compiled, fits, precision_of, to_host
from haarflow.core.parts import AngleWeight, Local, described
from haarflow.theories.theory import field_shape

NUMBER, COPIES = 16, 16  # bytes of a complex number; copies of the fields that a law and an action make
UNITS = 8  # the error in ulp that is allowed to the terms of a sum
ROUNDING = (
    f"{UNITS} ulp of the terms, and the change of the result when every value of the field is shifted by {UNITS} ulp"
)


class FullTheory(Theory, Protocol):
    """A theory with every optional part; a law uses those that its `applies` has found."""

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' names and defaults."""
        ...

    @property
    def local(self) -> Local:
        """The action as a sum over sites."""
        ...

    @property
    def conditional(self) -> Any:
        """An `AngleWeight` or a `LinkWeight`, as the law asks for."""
        ...

    @property
    def conjugates(self) -> Mapping[str, Mapping[str, float]]:
        """The observables conjugate to each coupling, with their coefficients."""
        ...

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return F = dS along the group."""
        ...

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the per-configuration values by name."""
        ...

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return the exact expectation values by name."""
        ...

    def charge(self, field: Array) -> Array:
        """Return the topological charge."""
        ...

    def other_form(self, couplings: Couplings) -> tuple[FullTheory, dict[str, float], float]:
        """Return the theory in its other parameterisation, its couplings there, and the factor of the field."""
        ...


@dataclass(frozen=True)
class _Methods:
    """The methods of a theory that the laws call, all with the arguments (field, couplings); equal for equal theories."""

    theory: FullTheory

    def action(self, field: Array, couplings: Couplings = None) -> Array:
        """Return S."""
        return self.theory.action(field, couplings)

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return the theory's force."""
        return self.theory.force(field, couplings)

    def density(self, field: Array, couplings: Couplings = None) -> Array:
        """Return the density of a theory that offers it."""
        return self.theory.local.density(field, couplings)

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the observables."""
        return self.theory.observables(field, couplings)


METHODS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "action": lambda theory: _Methods(theory).action,
    "force": lambda theory: _Methods(theory).force,
    "density": lambda theory: _Methods(theory).density,
    "observables": lambda theory: _Methods(theory).observables,
}
PART = {"density": "local"}  # the part to which a method belongs, if their names differ


def bound(theory: FullTheory, method: str, field: Array) -> Callable[..., Any]:
    """Return a method of METHODS compiled by the field's backend, once per theory (that of an unhashable theory is not
    compiled)."""
    try:
        return compiled(backends.of(field).jit, _Methods(theory), method)
    except TypeError:
        return METHODS[method](theory)


def strength(couplings: Couplings) -> float:
    """Return 1 + the sum of the moduli of all couplings, the scale of a term of the action.

    >>> strength({"m2": -4.0, "lam": 8.0}), strength(None)
    (13.0, 1.0)
    """
    return 1.0 + sum(float(numpy.abs(to_host(value)).max()) for value in (couplings or {}).values())


def nearby(field: Array) -> Array:
    """Return the field with each value shifted by `UNITS` ulp with a random sign."""
    host = to_host(field)
    coins = numpy.random.default_rng(0).choice([-1.0, 1.0], host.shape)
    step = UNITS * EPSILON[precision_of(field)] * coins * numpy.abs(host)
    return backends.of(field).asarray((host + step).astype(host.dtype), dtype=field.dtype)


def rounding(theory: FullTheory, result: Array, moved: Array, precision: str, couplings: Couplings = None) -> float:
    """Return a bound on the rounding error of a result: `ROUNDING`, from the `result` and that of the `nearby` field.

    Terms are taken to be as large as the couplings, and as many as there are sites.
    """
    value, shifted = to_host(result).astype("float64"), to_host(moved).astype("float64")
    terms = strength(couplings) * math.prod(theory.lattice) + float(numpy.abs(value).max(initial=0.0))
    bound: float = UNITS * EPSILON[precision] * terms + 4.0 * float(numpy.abs(shifted - value).max(initial=0.0))
    return bound


def quantities(theory: FullTheory, field: Array, couplings: Couplings) -> dict[str, Array]:
    """Return the action and every observable by name."""
    values = {"S": bound(theory, "action", field)(field, couplings)}
    if described(theory).observables is not None:
        values |= bound(theory, "observables", field)(field, couplings)
    return values


def worst(
    theory: FullTheory,
    differences: Mapping[str, Any],
    values: Mapping[str, Any],
    moved: Mapping[str, Any],
    precision: str,
    couplings: Couplings,
) -> tuple[float, str]:
    """Return the largest difference in units of its quantity's rounding error, and the quantity's name.

    NaN counts as infinite.
    """
    ratios = {}
    for name, difference in differences.items():
        size = float(numpy.abs(to_host(difference)).max(initial=0.0))
        allowed = rounding(theory, values[name], moved[name], precision, couplings)
        ratios[name] = size / allowed if math.isfinite(size / allowed) else math.inf
    name = max(ratios, key=ratios.__getitem__, default="")
    return ratios.get(name, 0.0), name


def couplings_of(theory: FullTheory, given: Given) -> dict[str, float] | None:
    """Return the couplings at the size of `given`; None if the theory declares none."""
    return couplings_at(theory, given.size)


def numbers_of(theory: FullTheory, given: Given) -> dict[str, float]:
    """Return `couplings_of` as a dict, empty if the theory declares none."""
    return couplings_of(theory, given) or {}


def field_of(theory: FullTheory, given: Given) -> Array:
    """Return fields `(batch, *field_shape)` in the style of `given`; raises TooLarge if they exceed a law's memory."""
    check_size(theory, given)
    return given.field(theory.group, field_shape(theory))


def is_links(theory: FullTheory) -> bool:
    """Return whether the field lives on links: one element per direction before the lattice axes."""
    d = len(theory.lattice)
    return tuple(field_shape(theory)) == element_shape(theory.group, (d,), tuple(theory.lattice))


def loop_group(theory: FullTheory) -> Any:
    """Return the group that multiplies links in `core.loops`: angles are added without wrapping."""
    return theory.group if theory.group.matrix_axes else loops.COVER


def lacks(*names: str) -> Callable[[Any], str | None]:
    """Return the condition `applies` of a law that needs certain parts of a theory."""

    def applies(theory: FullTheory) -> str | None:
        missing = described(theory).missing(*names)
        return f"it declares no {' and no '.join(missing)}" if missing else None

    return applies


def lacks_weight(kind: Any, staple: bool = False) -> Callable[[Any], str | None]:
    """Return the condition `applies` of a law of a link's conditional weight: of a kind, and with the staple of an angle
    where `staple` is true."""

    def applies(theory: FullTheory) -> str | None:
        weight = described(theory).conditional
        if not isinstance(weight, kind):
            return f"it declares no conditional weight of the kind {kind.__name__}"
        unnamed = staple and isinstance(weight, AngleWeight) and weight.staple is None
        return "its conditional weight comes without a staple" if unnamed else None

    return applies


def spread(size: int, numbers: int) -> numpy.ndarray:
    """Return the indices of the `size` components that a law checks, each of which takes `numbers` numbers: all, or an
    evenly spaced selection of as many as fit into its memory.

    >>> spread(4, 10).tolist(), len(spread(2**20, 2**20)) < 100
    ([0, 1, 2, 3], True)
    """
    most = max(int(law.MEMORY // (COPIES * NUMBER * numbers)), 1)
    return numpy.arange(0, size, -(-size // most))


def check_size(theory: FullTheory, given: Given) -> None:
    """Raise TooLarge if a batch of a theory's fields, and the copies that a law makes, exceed a law's memory."""
    shape = field_shape(theory)
    fits(given.batch * COPIES * NUMBER * math.prod(shape), f"{given.batch} fields {shape} and their copies")


def runs_here(theory: FullTheory, method: str, field: Array) -> bool:
    """Return whether a theory has a method that the field's backend can run: a force by autodiff needs autodiff."""
    offered = described(theory)
    if offered.missing(PART.get(method, method)):
        return False
    if method != "force" or backends.of(field).autodiff:
        return True
    if offered.by_autodiff:
        return False
    try:
        theory.force(field)
    except backends.NoAutodiff:
        return False
    except Exception:  # any other error is for the law to report
        return True
    return True
