"""The parts of a theory: records that say what a kernel may use of it, and the one place that looks for them.

A theory has a lattice, an action, and a group (or `spaces`, where a field has several arrays); all else is optional. A
part is a value, never inherited: `described(theory)` returns each one, or None where the theory does not offer it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, NamedTuple

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import flatten, leaves
from haarflow.backends.types import Array, Couplings, Theory, Tree
from haarflow.core.groups.matrices import complex_array
from haarflow.core.groups.signs import has_algebra
from haarflow.core.lattice.geometry import check_lattice
from haarflow.core.spaces import Space, paths

REQUIRED = ("lattice", "group", "action")
OPTIONAL = (
    "field_shape",
    "spaces",
    "couplings",
    "check",
    "force",
    "difference",
    "local",
    "conditional",
    "symmetries",
    "observables",
    "labels",
    "correlators",
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

    `weight(field, mu, couplings) -> (a, b)` for the links along mu, each `(*batch, *lattice)`. `staple(field, mu)`,
    where given, is (Re A, Im A) with a = k Re A, b = -k Im A for one number k. `reach` is the longest side of a loop in
    links; `rectangular` says that every loop is a rectangle in a plane, one link wide.
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


@dataclass(frozen=True)
class SpinWeight:
    """The conditional weight exp(h s) of a spin s = +1 or -1, all others held.

    `field(spins, couplings) -> h`, `(*batch, *lattice)`, the local field at every site, which depends on nearest
    neighbours alone. `bond(spins, couplings) -> k`, where given, says that S = -k sum_x sum_mu s(x) s(x+mu) with k >=
    0, a number or `(*batch, 1, ..., 1)` over the sites: cluster moves then exist.
    """

    field: Callable[..., Array]
    bond: Callable[..., Any] | None = None


RECORDS: dict[str, tuple[type, ...]] = {
    "local": (Local,),
    "conditional": (AngleWeight, LinkWeight, SpinWeight),
    "symmetries": (Symmetries, tuple),  # the words, where there are no exceptions
}


class Described(NamedTuple):
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
    def spaces(self) -> Tree:
        """Group and shape of each array of a field: its own, or the one space of its group and `field_shape`."""
        try:
            return _spaces(self.theory)
        except TypeError:  # a theory that cannot be hashed
            return self.own_spaces()

    def own_spaces(self) -> Tree:
        """Return `spaces` as the theory makes them."""
        own = self.part("spaces")
        return Space(self.theory.group, self.field_shape) if own is None else own

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field: the lattice where none is declared.

        Raises TypeError where a field has several parts, each of its own shape.
        """
        own = self.part("spaces")
        if own is None:
            return tuple(self.part("field_shape") or self.theory.lattice)
        if isinstance(own, Space):
            return tuple(own.shape)
        raise TypeError(
            f"{self.name} has fields of the parts {', '.join(paths(own))}, and what was asked for works on a single array"
        )

    @property
    def couplings(self) -> Mapping[str, float] | None:
        """The couplings' names and defaults."""
        own: Mapping[str, float] | None = self.part("couplings")
        return own

    @property
    def check(self) -> Callable[..., dict[str, Any]] | None:
        """The theory's own check of its couplings."""
        own: Callable[..., dict[str, Any]] | None = self.part("check")
        return own

    @property
    def force(self) -> Callable[..., Tree] | None:
        """F = dS along the group, shaped as the momenta."""
        own: Callable[..., Tree] | None = self.part("force")
        return own

    @property
    def difference(self) -> Callable[..., Array] | None:
        """S(new) - S(old) as the theory forms it itself: `difference(new, old, couplings)`."""
        own: Callable[..., Array] | None = self.part("difference")
        return own

    @property
    def local(self) -> Local | None:
        """The action as a sum over sites."""
        own: Local | None = self.part("local")
        return own

    @property
    def conditional(self) -> AngleWeight | LinkWeight | SpinWeight | None:
        """The weight of one link or spin, all others held."""
        own: AngleWeight | LinkWeight | SpinWeight | None = self.part("conditional")
        return own

    @property
    def symmetries(self) -> Symmetries:
        """Its symmetries, none where it declares none."""
        offered = self.part("symmetries") or ()
        return offered if isinstance(offered, Symmetries) else Symmetries(tuple(offered))

    @property
    def observables(self) -> Callable[..., dict[str, Array]] | None:
        """Per-configuration values by name."""
        own: Callable[..., dict[str, Array]] | None = self.part("observables")
        return own

    @property
    def exact(self) -> Callable[..., dict[str, float]] | None:
        """What is known exactly."""
        own: Callable[..., dict[str, float]] | None = self.part("exact")
        return own

    @property
    def by_autodiff(self) -> bool:
        """Whether its force differentiates its action, which some backends cannot."""
        own = self.force
        return own is None or getattr(own, "__func__", None) is autodiff_force  # a method made of that function


@lru_cache(maxsize=256)
def _spaces(theory: Any) -> Tree:
    """The spaces of a theory, which every step of a chain asks for several times."""
    return Described(theory).own_spaces()


def described(theory: Any) -> Described:
    """Return what a theory offers, every optional part or None.

    >>> from haarflow.theories import Phi4
    >>> described(Phi4((4, 4))).local.reach, described(Phi4((4, 4))).conditional
    (1, None)
    """
    return Described(theory)


def autodiff_force(theory: Theory, field: Tree, couplings: Couplings = None) -> Tree:
    """Return F = dS along the group by differentiating the action, shaped as the group's algebra elements.

    For a complex field F = dS/d Re phi + i dS/d Im phi. A field of several parts has a force of the same parts.

    Write `force = autodiff_force` in the class body of a theory without a force of its own, or leave the force out.
    Raises `backends.NoAutodiff` on NumPy and CuPy.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.theories import Phi4
    >>> autodiff_force(Phi4((4, 4)), backend.xp.zeros((4, 4)))
    Traceback (most recent call last):
        ...
    haarflow.backends.protocol.NoAutodiff: ...
    """
    spaces = leaves(described(theory).spaces)
    elements, rebuild = flatten(field)
    xp = array_namespace(*elements)

    def total(coordinates: list[Any]) -> Array:
        moved = [space.group.update(*pair) for space, *pair in zip(spaces, elements, _joined(coordinates), strict=True)]
        return xp.sum(theory.action(rebuild(moved), couplings))

    zeros = _coordinates([space.group.zeros(u) for space, u in zip(spaces, elements, strict=True)])
    return rebuild(_joined(backends.of(*elements).value_and_grad(total)(zeros)[1]))


def _coordinates(algebra: list[Array]) -> list[Any]:
    """Algebra elements by real coordinates, pairs where they are complex: libraries differ in what they call the gradient
    with respect to a complex number.
    """
    xp = array_namespace(*algebra)
    return [(xp.real(w), xp.imag(w)) if xp.isdtype(w.dtype, "complex floating") else w for w in algebra]


def _joined(coordinates: list[Any]) -> list[Array]:
    return [complex_array(*w) if isinstance(w, tuple) else w for w in coordinates]


def force_of(theory: Theory) -> Callable[..., Tree]:
    """Return the theory's own force, or the one by autodiff where it has none, as `f(field, couplings)`."""
    own = described(theory).force
    return partial(autodiff_force, theory) if own is None else own


def check_theory(theory: Any) -> Any:
    """Return the theory if kernels may use it, or raise TypeError that says what to change.

    It has `lattice`, `action`, and a `group` or `spaces`; its parts are the records of this module, and it does not
    take some of them from another theory's class while it replaces others: they would describe two different actions.

    >>> check_theory(3)
    Traceback (most recent call last):
        ...
    TypeError: a theory has lattice, group and action(field, couplings=None); int lacks lattice, group, action
    """
    offered = described(theory)
    missing = offered.missing(*REQUIRED)
    if offered.part("spaces") is not None and "group" in missing:
        missing.remove("group")
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
    kind: Any = type(theory)
    _refuse_inheritance(kind)
    check_lattice(theory.lattice)
    _check_spaces(offered)
    return theory


def one_space(theory: Any, what: str) -> Space:
    """Return the space of a theory whose field is a single array.

    Raises TypeError for a field of several parts: `what` says who moves single arrays only.

    >>> from haarflow.theories import Phi4
    >>> one_space(Phi4((4, 4)), "local moves").shape
    (4, 4)
    """
    offered = described(theory)
    spaces = offered.spaces
    if not isinstance(spaces, Space):
        raise TypeError(
            f"{what} move a field of one array, and the field of {offered.name} has the parts {', '.join(paths(spaces))}: "
            "use HMC"
        )
    return spaces


def check_moves(theory: Any, what: str) -> None:
    """Raise TypeError for a theory whose fields cannot be moved continuously, as those of discrete spins; `what` says who would.

    >>> from haarflow.theories.spins.ising import Ising
    >>> check_moves(Ising((4, 4)), "HMC")
    Traceback (most recent call last):
        ...
    TypeError: HMC moves fields along the algebra of a group, and the values of Ising are discrete: use a heat bath or cluster moves
    """
    offered = described(theory)
    if not all(has_algebra(space.group) for space in leaves(offered.spaces)):
        raise TypeError(
            f"{what} moves fields along the algebra of a group, and the values of {offered.name} are discrete: use a heat "
            "bath or cluster moves"
        )


def _check_spaces(offered: Described) -> None:
    spaces = offered.spaces
    if not leaves(spaces) or not all(isinstance(space, Space) for space in paths(spaces).values()):
        raise TypeError(
            f"{offered.name} wants a Space(group, shape) (haarflow.core.spaces), or a NamedTuple of them, as its `spaces`, "
            f"got {spaces!r}"
        )


REMEDY = (
    "for an added term write Sum((theory, term)), to replace a part with_parts(theory, force=...), both from "
    "haarflow.theories"
)


@lru_cache(maxsize=256)
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
