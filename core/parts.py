"""The parts of a theory: records that say what a kernel may use of it, and the one place that looks for them.

A theory has a lattice, a group and an action; all else is optional. A part is a value, never inherited: `described(theory)`
returns each one, or None where the theory does not offer it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Couplings, Theory
from haarflow.core.lattice.geometry import check_lattice

REQUIRED = ("lattice", "group", "action")
OPTIONAL = (
    "field_shape",
    "couplings",
    "check",
    "force",
    "difference",
    "local",
    "conditional",
    "symmetries",
    "observables",
    "labels",
    "derived",
    "summary",
    "conjugates",
    "exact",
    "charge",
    "other_form",
)


@dataclass(frozen=True)
class Local:
    """The action as a sum over sites: `density(field, couplings)` is `(*batch, term, *lattice)` and sums to S.

    A change of the field at x changes the density within `reach` sites of x along every axis, and nowhere else.
    """

    density: Callable[..., Array]
    reach: int


@dataclass(frozen=True)
class AngleWeight:
    """The conditional weight exp(a cos theta + b sin theta) of a U(1) link, all others held.

    `weight(field, mu, couplings) -> (a, b)` for the links along mu, each `(*batch, *lattice)`. `staple(field, mu)`, where
    given, is (Re A, Im A) with a = k Re A, b = -k Im A for one number k. `reach` is the longest side of a loop in links;
    `rectangular` says that every loop is a rectangle in a plane, one link wide.
    """

    weight: Callable[..., tuple[Array, Array]]
    staple: Callable[..., tuple[Array, Array]] | None = None
    reach: int = 1
    rectangular: bool = False


@dataclass(frozen=True)
class LinkWeight:
    """The conditional weight exp(b Re tr(U V)) of an SU(N) link, all others held.

    `staple(field, mu, couplings) -> V` for the links along mu, `(*batch, N, N, *lattice)`; `strength(field, couplings)
    -> b`, a number or `(*batch, 1, ..., 1)` over the sites. `plaquettes_only` says that V is the plain sum of the
    plaquettes' staples, which a sweep may form for the even or the odd sites alone. `reach` and `rectangular` as in
    `AngleWeight`.
    """

    staple: Callable[..., Array]
    strength: Callable[..., Any]
    plaquettes_only: bool = False
    reach: int = 1
    rectangular: bool = False


@dataclass(frozen=True)
class Symmetries:
    """Words of `core.lattice.symmetries.SYMMETRIES` under which the action and every observable are invariant, with exceptions.

    `odd`: name of an observable -> the words under which it changes sign; `tied`: those that turn it into another one.

    >>> Symmetries(("translation", "Z2"), odd={"m": ("Z2",)}).odd["m"]
    ('Z2',)
    """

    words: tuple[str, ...] = ()
    odd: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    tied: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


RECORDS: dict[str, tuple[type, ...]] = {
    "local": (Local,),
    "conditional": (AngleWeight, LinkWeight),
    "symmetries": (Symmetries, tuple),  # the words, where there are no exceptions
}


@dataclass(frozen=True)
class Described:
    """What a theory offers; a part is None where it is absent (or where the theory says None)."""

    theory: Any

    def part(self, name: str) -> Any:
        """Return a part by its name."""
        return getattr(self.theory, name, None)  # a user's theory declares what it likes of `OPTIONAL`

    def missing(self, *names: str) -> list[str]:
        """Return those of the names that the theory does not offer."""
        return [name for name in names if self.part(name) is None]

    @property
    def name(self) -> str:
        """The theory's name in messages: its own `name`, or that of its class."""
        return str(self.part("name") or type(self.theory).__name__)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field: the lattice where none is declared."""
        return tuple(self.part("field_shape") or self.theory.lattice)

    @property
    def couplings(self) -> Mapping[str, float] | None:
        """The couplings' names and defaults."""
        return self.part("couplings")

    @property
    def check(self) -> Callable[..., dict[str, Any]] | None:
        """The theory's own check of its couplings."""
        return self.part("check")

    @property
    def force(self) -> Callable[..., Array] | None:
        """F = dS along the group, field-shaped."""
        return self.part("force")

    @property
    def difference(self) -> Callable[..., Array] | None:
        """S(new) - S(old) as the theory forms it itself: `difference(new, old, couplings)`."""
        return self.part("difference")

    @property
    def local(self) -> Local | None:
        """The action as a sum over sites."""
        return self.part("local")

    @property
    def conditional(self) -> AngleWeight | LinkWeight | None:
        """The weight of one link, all others held."""
        return self.part("conditional")

    @property
    def symmetries(self) -> Symmetries:
        """Its symmetries, none where it declares none."""
        offered = self.part("symmetries") or ()
        return offered if isinstance(offered, Symmetries) else Symmetries(tuple(offered))

    @property
    def observables(self) -> Callable[..., dict[str, Array]] | None:
        """Per-configuration values by name."""
        return self.part("observables")

    @property
    def exact(self) -> Callable[..., dict[str, float]] | None:
        """What is known exactly."""
        return self.part("exact")

    @property
    def by_autodiff(self) -> bool:
        """Whether its force differentiates its action, which some backends cannot."""
        own = self.force
        return own is None or getattr(own, "__func__", None) is autodiff_force  # a method made of that function


def described(theory: Any) -> Described:
    """Return what a theory offers, every optional part or None.

    >>> from haarflow.theories import Phi4
    >>> described(Phi4((4, 4))).local.reach, described(Phi4((4, 4))).conditional
    (1, None)
    """
    return Described(theory)


def autodiff_force(theory: Theory, field: Array, couplings: Couplings = None) -> Array:
    """Return F = dS along the group by differentiating the action, shaped as the group's algebra elements.

    Write `force = autodiff_force` in the class body of a theory without a force of its own, or leave the force out. Raises
    `backends.NoAutodiff` on NumPy and CuPy.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.theories import Phi4
    >>> autodiff_force(Phi4((4, 4)), backend.xp.zeros((4, 4)))
    Traceback (most recent call last):
        ...
    haarflow.backends.protocol.NoAutodiff: value_and_grad needs automatic differentiation, which the numpy backend \
has not: choose jax or torch (pip install 'haarflow[jax]'), for example haarflow.backends.get('jax')
    """
    xp = array_namespace(field)

    def total(w: Array) -> Array:
        return xp.sum(theory.action(theory.group.update(field, w), couplings))

    zeros = getattr(theory.group, "zeros", xp.zeros_like)  # matrices: their algebra's elements have another shape
    return backends.of(field).value_and_grad(total)(zeros(field))[1]


def force_of(theory: Theory) -> Callable[..., Array]:
    """Return the theory's own force, or the one by autodiff where it has none, as `f(field, couplings)`."""
    own = described(theory).force
    return own if own is not None else lambda field, couplings=None: autodiff_force(theory, field, couplings)


def check_theory(theory: Any) -> Any:
    """Return the theory if kernels may use it, or raise TypeError that says what to change.

    It has `lattice`, `group` and `action`, its parts are the records of this module, and it does not take some of them
    from another theory's class while it replaces others: they would describe two different actions.

    >>> check_theory(3)
    Traceback (most recent call last):
        ...
    TypeError: a theory has lattice, group and action(field, couplings=None); int lacks lattice, group, action
    """
    offered = described(theory)
    missing = offered.missing(*REQUIRED)
    if missing:
        raise TypeError(
            f"a theory has lattice, group and action(field, couplings=None); {type(theory).__name__} lacks "
            + ", ".join(missing)
        )
    for name, kinds in RECORDS.items():
        if not isinstance(offered.part(name), (*kinds, type(None))):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(
                f"{offered.name} wants {wanted} (haarflow.core.parts) as its `{name}`, got {offered.part(name)!r}"
            )
    _refuse_inheritance(type(theory))
    check_lattice(theory.lattice)
    return theory


REMEDY = (
    "for an added term write Sum((theory, term)), to replace a part with_parts(theory, force=...), both from "
    "haarflow.theories"
)


def _refuse_inheritance(kind: type) -> None:
    """Raise TypeError for a class that replaces parts of a theory from which it is derived."""
    replaced: set[str] = set()
    for base in kind.__mro__:
        own = {"group", "action", *OPTIONAL} & set(vars(base))
        if vars(base).get("_is_protocol", False):
            continue
        if replaced and "action" in own:
            raise TypeError(
                f"{kind.__name__} is derived from the theory {base.__name__} and replaces its "
                f"{', '.join(sorted(replaced))}, while other parts still describe {base.__name__}: {REMEDY}"
            )
        replaced |= own
