"""Theories made of others: sums of actions.

Every term keeps its own couplings, its own check and its own kernels; a sum offers a part only where all terms have it,
so that no kernel sees half of the action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from array_api_compat import array_namespace

from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Couplings, Tree
from haarflow.core.axes import spread
from haarflow.core.chains.accept import action_difference
from haarflow.core.parts import (
    AngleWeight,
    LinkWeight,
    Local,
    SpinWeight,
    Symmetries,
    check_theory,
    described,
    force_of,
)
from haarflow.core.spaces import Space
from haarflow.theories.theory import check_couplings, checked, no_subclass


@final
@dataclass(frozen=True)
class Sum:
    """The theory of the action S = S_1 + S_2 + ..., for terms on one lattice, with fields of the same spaces.

    A coupling that two terms name is one coupling. `local` and `conditional` are there where every term has them, of
    one kind; `exact` is not known. Observables are those of all terms, the first term's where names meet, and `action`
    the sum. Raises TypeError for a term that is no theory, ValueError without terms, for terms that do not fit and for
    a coupling of two defaults.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge, SUNGauge
    >>> plain = U1Gauge((4, 4))
    >>> float(Sum((plain, plain)).action(np.zeros((2, 4, 4)), {"beta": 1.0}))
    -32.0
    >>> Sum((plain, SUNGauge((4, 4), n=2)))
    Traceback (most recent call last):
        ...
    ValueError: the terms of a sum have one group, got U1() of U1Gauge and SU(n=2, d=2) of SUNGauge
    """

    terms: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(check_theory(term) for term in self.terms))
        if not self.terms:
            raise ValueError("a sum of theories has one term or more, got none")
        first = self.terms[0]
        for term in self.terms[1:]:
            _agree("lattice", first, term, tuple(first.lattice), tuple(term.lattice))
            _agree_on_fields(first, term)
        _merged_defaults(self.terms)

    def __init_subclass__(cls, **options: Any) -> None:
        raise no_subclass(cls)

    @property
    def name(self) -> str:
        """The names of the terms."""
        return " + ".join(described(term).name for term in self.terms)

    @property
    def lattice(self) -> tuple[int, ...]:
        """The terms' lattice."""
        return tuple(self.terms[0].lattice)

    @property
    def group(self) -> Any:
        """The terms' group."""
        return self.terms[0].group

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one field."""
        return described(self.terms[0]).field_shape

    @property
    def spaces(self) -> Tree:
        """The terms' spaces."""
        return described(self.terms[0]).spaces

    @property
    def couplings(self) -> dict[str, float]:
        """The names and defaults of all terms' couplings."""
        return _merged_defaults(self.terms)

    def check(self, couplings: Couplings = None) -> dict[str, Any]:
        """Return all couplings as each term checks its own; raises as they do, and ValueError for an unknown name."""
        values = check_couplings(self, couplings)
        for term in self.terms:
            values |= checked(term, _own(term, values))
        return values

    def action(self, field: Tree, couplings: Couplings = None) -> Array:
        """Return S_1 + S_2 + ..., of the batch's shape."""
        return _total([term.action(field, own) for term, own in self._shares(couplings)])

    @property
    def force(self) -> Any:
        """The sum of the forces, `f(field, couplings)`; None where a term has none of its own: then S is differentiated."""
        return None if any(described(term).by_autodiff for term in self.terms) else self._force

    def difference(self, new: Tree, old: Tree, couplings: Couplings = None) -> Array:
        """Return S(new) - S(old), each term's as it forms it."""
        return _total([action_difference(term, new, old, own) for term, own in self._shares(couplings)])

    @property
    def local(self) -> Local | None:
        """The densities one after the other along the axis of terms, with the largest reach."""
        reaches = [local.reach for term in self.terms if (local := described(term).local) is not None]
        return Local(self._density, max(reaches)) if len(reaches) == len(self.terms) else None

    @property
    def conditional(self) -> AngleWeight | LinkWeight | SpinWeight | None:
        """The product of the terms' conditional weights, where all are of one kind."""
        weights: list[Any] = [described(term).conditional for term in self.terms]
        kinds = {type(weight) for weight in weights}
        if len(kinds) > 1 or None in weights:
            return None
        if kinds == {SpinWeight}:
            return SpinWeight(self._local_field)
        loops = {"reach": max(w.reach for w in weights), "rectangular": all(w.rectangular for w in weights)}
        if kinds == {AngleWeight}:
            return AngleWeight(self._angle_weight, **loops)
        return LinkWeight(self._staple, _one, **loops)

    @property
    def symmetries(self) -> Symmetries:
        """The words that all terms share, with the exceptions of each."""
        every = [described(term).symmetries for term in self.terms]
        words = tuple(word for word in every[0].words if all(word in other.words for other in every))
        return Symmetries(words, _united([each.odd for each in every]), _united([each.tied for each in every]))

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the terms' observables by name, and `action`, the sum's."""
        values: dict[str, Array] = {}
        for term, own in reversed(self._shares(couplings)):
            measure = described(term).observables
            values |= {} if measure is None else measure(field, own)
        return values | {"action": self.action(field, couplings)}

    @property
    def labels(self) -> dict[str, str]:
        """What a report calls the terms' observables."""
        return self._joined("labels")

    @property
    def derived(self) -> dict[str, Any]:
        """The terms' derived quantities."""
        return self._joined("derived")

    def _joined(self, part: str) -> dict[str, Any]:
        return {name: value for term in self.terms[::-1] for name, value in (described(term).part(part) or {}).items()}

    @property
    def summary(self) -> tuple[str, ...]:
        """The names of all terms' reports, each once."""
        return tuple(dict.fromkeys(name for term in self.terms for name in described(term).part("summary") or ()))

    @property
    def conjugates(self) -> dict[str, dict[str, float]] | None:
        """dS/dc of every coupling, where each term says its own by observables that no other term names too."""
        every = [described(term).part("conjugates") for term in self.terms]
        if None in every:
            return None
        named = [name for each in every for numbers in each.values() for name in numbers]
        shadowed = len(named) != len(set(named))
        return None if shadowed else {c: numbers for each in every for c, numbers in each.items()}

    def _shares(self, couplings: Couplings) -> list[tuple[Any, Couplings]]:
        """Every term with its own couplings."""
        values = None if couplings is None else check_couplings(self, couplings)
        return [(term, _own(term, values)) for term in self.terms]

    def _force(self, field: Tree, couplings: Couplings = None) -> Tree:
        first, *others = [force_of(term)(field, own) for term, own in self._shares(couplings)]
        return tree_map(lambda *forces: _total(list(forces)), first, *others)

    def _density(self, field: Array, couplings: Couplings = None) -> Array:
        parts = [described(term).part("local").density(field, own) for term, own in self._shares(couplings)]
        return array_namespace(*parts).concat(parts, axis=-len(self.lattice) - 1)

    def _angle_weight(self, field: Array, mu: int, couplings: Couplings = None) -> tuple[Array, Array]:
        pairs = [described(term).part("conditional").weight(field, mu, own) for term, own in self._shares(couplings)]
        return _total([a for a, _ in pairs]), _total([b for _, b in pairs])

    def _local_field(self, spins: Array, couplings: Couplings = None) -> Array:
        return _total([described(term).part("conditional").field(spins, own) for term, own in self._shares(couplings)])

    def _staple(self, field: Array, mu: int, couplings: Couplings = None) -> Array:
        weights = [(described(term).part("conditional"), own) for term, own in self._shares(couplings)]
        return _total([spread(w.strength(field, own), 2) * w.staple(field, mu, own) for w, own in weights])


def _own(term: Any, couplings: Couplings) -> Couplings:
    """A term's own couplings; None where none are given, or where it declares none."""
    names = described(term).couplings
    if couplings is None or names is None:
        return None
    return {name: couplings[name] for name in names if name in couplings}


def _agree(what: str, first: Any, term: Any, wanted: Any, got: Any) -> None:
    if wanted != got:
        raise ValueError(
            f"the terms of a sum have one {what}, got {wanted} of {described(first).name} and {got} of "
            f"{described(term).name}"
        )


def _agree_on_fields(first: Any, term: Any) -> None:
    """Raise ValueError unless both terms have fields of the same spaces."""
    wanted, got = described(first).spaces, described(term).spaces
    if isinstance(wanted, Space) and isinstance(got, Space):
        _agree("group", first, term, wanted.group, got.group)
        _agree("field_shape", first, term, wanted.shape, got.shape)
    _agree("set of spaces", first, term, wanted, got)


def _merged_defaults(terms: tuple[Any, ...]) -> dict[str, float]:
    merged: dict[str, float] = {}
    for term in terms:
        for name, value in (described(term).couplings or {}).items():
            if merged.setdefault(name, value) != value:
                raise ValueError(
                    f"the terms of a sum share the coupling {name}, which is {merged[name]} by default in one and {value} in "
                    "another: give them one default, with_parts(term, couplings={...})"
                )
    return merged


def _united(tables: list[Mapping[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: tuple(dict.fromkeys(word for table in tables for word in table.get(name, ()))) for name in names}


def _total(terms: list[Any]) -> Any:
    return sum(terms[1:], terms[0])


def _one(field: Array, couplings: Couplings = None) -> float:
    """The strength of a sum's staples, which carry their own."""
    return 1.0
