"""Write nested dicts as TOML: the standard library reads it and does not write it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


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
