"""What a flow, a prior or a part of them may say of itself beside its maps, with what holds where it says nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from haarflow.backends.types import Group


class Traits(NamedTuple):
    """The optional part of the contract of flows and priors, by name; the defaults hold for what is not declared.

    `symmetries`, `periods` and `displacement` are those of flows/symmetries.py; `condition` names the couplings that it
    is told; `integrated` says that its log-determinant is that of continuous time, `refined(k)` is it in k times as
    many steps; `trained` says that its parameters are fixed; `fixed` are couplings by which it is defined, as a hopping
    series by kappa; `moves(lattice)` gives a coupling's active elements; `net_precision` is that of its networks,
    "field" or "float32"; `onto` is the group of the fields it makes where that is discrete: it is then no bijection,
    but maps many draws of the prior onto one field, and its log_det is minus the logarithm of their share; `hasenbusch` are the hopping
    parameters of the factors of its pseudofermions, none for a single field.
    """

    symmetries: tuple[str, ...] = ()
    periods: tuple[int, ...] = ()
    displacement: tuple[int, ...] = ()
    condition: tuple[str, ...] | None = ()
    integrated: bool = False
    refined: Callable[[int], Any] | None = None
    trained: bool = False
    fixed: dict[str, float] | None = None
    moves: Callable[[tuple[int, ...]], Any] | None = None
    net_precision: str = "field"
    onto: Group | None = None
    hasenbusch: tuple[float, ...] | None = None


def traits(obj: Any) -> Traits:
    """Return what an object declares.

    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> traits(QuarticTail(2)).symmetries, traits(QuarticTail(2)).periods
    (('translation', 'reflection', 'hypercubic', 'Z2'), ())
    """
    # a user's flow inherits nothing from this library: each of these may be missing
    found: list[Any] = [getattr(obj, name, default) for name, default in Traits._field_defaults.items()]
    return Traits(*found)


def parts_of(obj: Any) -> list[Any]:
    """Return the values of a dataclass's fields, those of tuples one by one; none for another object.

    >>> from haarflow.flows.flow import Translate
    >>> parts_of(Translate((1, 2)))
    [1, 2, 0]
    """
    if not dataclasses.is_dataclass(obj) or isinstance(obj, type):
        return []
    values = [getattr(obj, entry.name) for entry in dataclasses.fields(obj)]  # a field's value has no other way
    return [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
