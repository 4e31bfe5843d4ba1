"""Recipes written as TOML with a comment beside every key; the standard library reads TOML but does not write it."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import typing
from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from haarflow.run.recipes import load
from haarflow.run.settings import Recipe

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def as_table(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as the nested dict that `recipes.check` accepts.

    >>> from haarflow.run.recipes import check, load
    >>> check(as_table(load("u1-tiny"))) == load("u1-tiny")
    True
    """
    table = json.loads(json.dumps(dataclasses.asdict(recipe)))
    for name, sampler in table["samplers"].items():
        table["samplers"][name] = {"kind": sampler.pop("kind"), **sampler}
    return {name: value for name, value in table.items() if value not in ({}, [], None)}


def to_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML text with a comment beside every key."""
    return dumps(as_table(recipe), _comments(recipe))


def _comments(value: Any, path: tuple[str, ...] = ()) -> dict[str, str]:
    """The descriptions of a dataclass's fields by dotted path, those of the dataclasses in it included."""
    comments: dict[str, str] = {}
    for name, annotation in typing.get_type_hints(type(value), include_extras=True).items():
        if not name.startswith("__"):
            comments[".".join((*path, name))] = _description(annotation)
            comments |= _comments_below(getattr(value, name), (*path, name))  # a field's value has no other way
    return comments


def _comments_below(child: Any, path: tuple[str, ...]) -> dict[str, str]:
    if dataclasses.is_dataclass(child):
        return {".".join(path): (type(child).__doc__ or "").strip(), **_comments(child, path)}
    comments: dict[str, str] = {}
    for key, grandchild in child.items() if isinstance(child, dict) else ():
        if dataclasses.is_dataclass(grandchild):
            comments |= _comments_below(grandchild, (*path, key))
    return comments


def _description(annotation: Any) -> str:
    notes = typing.get_args(annotation)[1:] if typing.get_origin(annotation) is typing.Annotated else ()
    return next((note.description or "" for note in notes if isinstance(note, FieldInfo)), "")


def template(source: str) -> str:
    """Return a commented template made from a recipe: every key with its meaning.

    >>> template("u1-tiny").splitlines()[0]
    '# Made from the recipe u1-tiny.'
    """
    recipe = dataclasses.replace(load(source), versions={})
    head = (
        f"# Made from the recipe {source}.\n"
        "# To run it:                    haarflow run FILE\n"
        "# To change values for one run: haarflow run FILE theory.beta=2.5 lattice=[8,8]\n"
        "# To omit a table:              haarflow run FILE samplers.hmc=false\n\n"
    )
    return head + to_toml(recipe)


def dumps(table: Mapping[str, Any], comments: Mapping[str, str] | None = None) -> str:
    """Return a nested dict as TOML text, with `comments[dotted path]` beside the keys.

    >>> print(dumps({"beta": 2.0, "train": {"steps": 3}}, {"train.steps": "optimiser steps"}), end="")
    beta = 2.0
    <BLANKLINE>
    [train]
    steps = 3  # optimiser steps
    """
    return "\n".join(_lines(table, (), comments or {})) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...], comments: Mapping[str, str]) -> list[str]:
    lines = []
    for name, value in table.items():
        if not isinstance(value, Mapping):
            comment = comments.get(".".join((*path, name)), "")
            lines.append(f"{_key(name)} = {_value(value)}" + (f"  # {comment}" if comment else ""))
    for name, value in table.items():
        if isinstance(value, Mapping):
            here = (*path, name)
            comment = comments.get(".".join(here), "")
            body = _lines(value, here, comments)
            only_tables = bool(value) and all(isinstance(child, Mapping) for child in value.values())
            head = [] if only_tables else ["", *([f"# {comment}"] if comment else []), f"[{'.'.join(map(_key, here))}]"]
            lines += head + body
    return lines


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"TOML holds numbers, strings, booleans, lists and tables, got {value!r}")
