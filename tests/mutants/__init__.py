"""Deliberately wrong objects, each of which must fail the laws meant for it: the proof that the laws bite."""

from collections.abc import Callable
from typing import Any, NamedTuple

from haarflow.theories.replaced import Replaced


class Mutant(NamedTuple):
    """A wrong object, its kind, and the laws that must catch it.

    `make(lattice)` returns the object; for the kind "backend" it returns a function that spoils a healthy record, so
    that one mutant serves every backend. `given` holds the words of `Given` other than the defaults.
    """

    name: str
    kind: str  # of haarflow.verification.objects.LAWS, or "flow"
    make: Callable
    laws: tuple[str, ...]
    given: dict[str, Any] = {}  # noqa: RUF012 (a constant, never written)


def kept(theory: Any, **parts: Any) -> Replaced:
    """A theory with some parts replaced and all others kept on purpose, wrong as they may be; `with_parts` would drop them."""
    return Replaced(theory, tuple(sorted(parts.items())))
