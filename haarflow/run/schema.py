"""How the tables of a recipe are declared: frozen dataclasses, one field per key, each with bounds and a description.

The description of a field is the comment that `haarflow new` writes beside it.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from typing import Annotated, Any, Literal

from pydantic import Field

from haarflow.theories.catalogue import Coupling, Option, Row

STRICT = {"extra": "forbid"}


# names of recipes and samplers become names of files
NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
NAMED = "a name begins with a letter or a digit and has at most 64 letters, digits, dots, hyphens and underscores"


def count(text: str, least: int = 1) -> Any:
    """Return the field of an integer that is at least `least` and at most 2^40."""
    return Field(ge=least, le=1 << 40, description=text)


def number(text: str, **bounds: Any) -> Any:
    """Return the field of a finite real number."""
    return Field(allow_inf_nan=False, description=text, **bounds)


def theory_settings(name: str, row: Row) -> type:
    """Return the dataclass of [theory] for a row of the catalogue: `name`, the couplings, the options.

    >>> from haarflow.theories.catalogue import THEORIES
    >>> theory_settings("u1", THEORIES["u1"])(beta=2.0).beta
    2.0
    """
    kinds = _types(row.make)
    fields: list[Any] = [("name", Annotated[Literal[name], Field(description=f"{name}: {row.formula}")], name)]
    fields += [_coupling(word, entry) for word, entry in row.couplings.items()]
    fields += [_option(word, kinds.get(word, Any), entry, row.defaults[word]) for word, entry in row.options.items()]
    space = {"__pydantic_config__": STRICT, "__doc__": f"{row.title}, {row.formula}.", "row": row}
    return dataclasses.make_dataclass("Theory", fields, namespace=space, frozen=True, kw_only=True)


def _coupling(name: str, entry: Coupling) -> tuple[Any, ...]:
    kind = Annotated[float, number(entry.what, **_bounds(entry))]
    return (name, kind) if entry.default is None else (name, kind, float(entry.default))


def _option(name: str, kind: Any, entry: Option, default: Any) -> tuple[Any, ...]:
    finite = {"allow_inf_nan": False} if kind is float else {}
    annotated = Annotated[kind, Field(description=entry.what, **_bounds(entry), **finite)]
    return (name, annotated) if entry.required or default is inspect.Parameter.empty else (name, annotated, default)


def _bounds(entry: Coupling | Option) -> dict[str, Any]:
    return {} if entry.least is None else {"ge": entry.least}


def _types(make: Any) -> dict[str, Any]:
    """The types of the arguments of a class, a function or a partial of one."""
    make = getattr(make, "func", make)
    return typing.get_type_hints(make)
