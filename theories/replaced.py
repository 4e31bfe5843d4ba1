"""A theory with some parts replaced: a new action drops the parts that described the old one."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, final

from haarflow.backends.types import Array, Couplings, Theory
from haarflow.core.acceleration import Accelerated, accelerated
from haarflow.core.parts import OPTIONAL, AngleWeight, LinkWeight, Local, SpinWeight, check_theory, described
from haarflow.theories.composite import Sum
from haarflow.theories.theory import no_subclass

NAMES = ("action", *OPTIONAL)
OF_THE_ACTION = ("force", "difference", "local", "conditional", "conjugates", "exact", "charge", "other_form")
# number of arguments before the couplings
BEFORE = {"action": 1, "force": 1, "observables": 1, "difference": 2, "check": 0, "exact": 0, "other_form": 0}


@final
@dataclass(frozen=True)
class Replaced:
    """A theory with other values of some parts, by name: what `with_parts` returns. The record itself drops no part."""

    theory: Theory
    parts: tuple[tuple[str, Any], ...]

    def __hash__(self) -> int:
        """Hash by the theory and the names: a part may be a dict."""
        return hash((self.theory, tuple(name for name, _ in self.parts)))

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    def __getattr__(self, name: str) -> Any:
        """Return a replaced part, or the theory's own attribute, at the defaults of replaced couplings."""
        if name.startswith("_") or name in ("theory", "parts"):  # while an instance is copied it has no fields yet
            raise AttributeError(name)
        parts = dict(self.parts)
        if name == "name":
            return described(self.theory).name
        if name in parts:
            if parts[name] is None:
                raise AttributeError(f"{described(self.theory).name} with other parts does not offer {name}")
            return parts[name]
        part = getattr(self.theory, name)  # any name: this record stands for the theory
        return _at_defaults(name, part, parts["couplings"]) if "couplings" in parts else part


def with_parts(theory: Theory, **parts: Any) -> Any:
    """Return a theory with some parts replaced, None for "not offered"; names are those of `haarflow.core.parts`.

    A new `action` drops the parts that described the old one (force, difference, local, conditional, conjugates, exact,
    charge, other_form) unless they are replaced too; the observable `action` is then the new one. New `couplings` are
    other defaults under the same names. Raises TypeError for an unknown part and for a part of the wrong type,
    ValueError for couplings of other names.

    >>> from haarflow.theories import Phi4
    >>> free = with_parts(Phi4((4, 4)), couplings={"m2": 1.0, "lam": 0.0})
    >>> free.check(), with_parts(Phi4((4, 4)), action=free.action).local
    Traceback (most recent call last):
        ...
    AttributeError: Phi4 with other parts does not offer local
    """
    for name in parts:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.5)
            hint = f": did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"a theory's parts are {', '.join(NAMES)}, got {name!r}{hint}")
    if "couplings" in parts and set(parts["couplings"]) != set(described(theory).couplings or {}):
        raise ValueError(
            f"new couplings must have the names {', '.join(described(theory).couplings or {})}, got "
            f"{', '.join(parts['couplings'])}"
        )
    if "action" in parts:
        parts = {**dict.fromkeys(OF_THE_ACTION), **_measured(theory, parts["action"]), **parts}
    return check_theory(Replaced(theory, tuple(sorted(parts.items()))))


def weight_of(theory: Theory) -> Any:
    """Return the theory that defines the weight e^{-S}, without kernels and replaced parts other than the action.

    >>> from haarflow.theories import Phi4
    >>> weight_of(accelerated(with_parts(Phi4((4, 4)), exact=None)))
    Phi4(lattice=(4, 4), parameterisation='m2')
    """
    if isinstance(theory, Accelerated):
        return weight_of(theory.plain)
    if isinstance(theory, Replaced) and "action" not in dict(theory.parts):
        return weight_of(theory.theory)
    return theory


def on_lattice(theory: Theory, lattice: tuple[int, ...]) -> Any | None:
    """Return the same theory on another lattice, or None if a replaced function or a part of it ties it to its own.

    >>> from haarflow.theories import Phi4
    >>> on_lattice(with_parts(Phi4((8, 8)), couplings={"m2": 1.0, "lam": 0.0}), (2, 1)).lattice
    (2, 1)
    """
    if isinstance(theory, Accelerated):
        moved = on_lattice(theory.plain, lattice)
        return moved if moved is None else accelerated(moved)
    if isinstance(theory, Sum):
        terms = [on_lattice(term, lattice) for term in theory.terms]
        return None if None in terms else Sum(tuple(terms))
    if isinstance(theory, Replaced):
        moved = on_lattice(theory.theory, lattice)
        tied = any(
            callable(part) or isinstance(part, (Local, AngleWeight, LinkWeight, SpinWeight)) for _, part in theory.parts
        )
        return None if tied or moved is None else Replaced(moved, theory.parts)
    movable = (
        is_dataclass(theory) and not isinstance(theory, type) and "lattice" in {one.name for one in fields(theory)}
    )
    return replace(theory, lattice=lattice) if movable else None  # type: ignore[type-var]


def _measured(theory: Theory, action: Callable[..., Array]) -> dict[str, Any]:
    """The theory's observables with the new action in place of the old one."""
    measure = described(theory).observables
    return {} if measure is None else {"observables": partial(_with_action, measure, action)}


def _with_action(
    measure: Callable[..., dict[str, Array]], action: Callable[..., Array], field: Array, couplings: Couplings = None
) -> dict[str, Array]:
    values = measure(field, couplings)
    return values | ({"action": action(field, couplings)} if "action" in values else {})


def _at_defaults(name: str, part: Any, defaults: Mapping[str, float]) -> Any:
    """A part of a theory whose couplings have other defaults."""
    if name in BEFORE:
        return partial(_filled, part, BEFORE[name], defaults)
    if isinstance(part, Local):
        return replace(part, density=partial(_filled, part.density, 1, defaults))
    if isinstance(part, AngleWeight):
        return replace(part, weight=partial(_filled, part.weight, 2, defaults))
    if isinstance(part, LinkWeight):
        staple, strength = (partial(_filled, f, n, defaults) for f, n in ((part.staple, 2), (part.strength, 1)))
        return replace(part, staple=staple, strength=strength)
    if isinstance(part, SpinWeight):
        bond = None if part.bond is None else partial(_filled, part.bond, 1, defaults)
        return replace(part, field=partial(_filled, part.field, 1, defaults), bond=bond)
    return part


def _filled(
    call: Callable[..., Any], before: int, defaults: Mapping[str, float], *args: Any, couplings: Couplings = None
) -> Any:
    """Call with these defaults for couplings that are not passed."""
    values = args[before] if len(args) > before else couplings
    if values is None or isinstance(values, Mapping):
        values = {**defaults, **(values or {})}
    return call(*args[:before], values)
