"""The sentences of a recipe's errors: the path, what is wrong, and the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from haarflow.run.schema import NAMED

Errors = list[str]  # lines "path: what is wrong"

# pydantic's words for what a key must be -> ours
EXPECTED = {
    "an object": "a table",
    "a valid array": "a list",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid string": "a string",
    "a valid boolean": "true or false",
}


class RecipeError(ValueError):
    """A recipe that cannot be run; the message lists every error with its path."""


def hint(word: str, known: Iterable[str]) -> str:
    """Return ", did you mean ...?" if a known name is close.

    >>> hint("leapfrgo", ["leapfrog", "omelyan"])
    ", did you mean 'leapfrog'?"
    """
    near = difflib.get_close_matches(word[:80], list(known), n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else ""


def line(error: Any, path: str, keys: Iterable[str]) -> str:
    """The message for one of pydantic's errors in a table of these keys."""
    path = ".".join(filter(None, (path, *map(str, error["loc"]))))
    kind, got = error["type"], error["input"]
    if kind == "unexpected_keyword_argument":
        return no_such_key(path, keys)
    if kind == "missing":
        return f"{path} is missing"
    if kind == "literal_error":
        known = tuple(word.strip("'") for word in error["ctx"]["expected"].replace(" or ", ", ").split(", "))
        return (
            f"{path}: {got!r:.80} is not known; choose one of {', '.join(filter(None, known))}{hint(str(got), known)}"
        )
    if kind == "string_pattern_mismatch":
        return f"{path}: {NAMED}, got {got!r:.80}"
    wanted = error["msg"].removeprefix("Input should be ")
    return f"{path} must be {EXPECTED.get(wanted, wanted)}, got {got!r:.80}"


def no_such_key(path: str, keys: Iterable[str]) -> str:
    """The message for a key that is none of a table's."""
    keys = list(keys)
    return (
        f"{path}: there is no such key{hint(path.rpartition('.')[2], keys) or '; the keys here are ' + ', '.join(keys)}"
    )
