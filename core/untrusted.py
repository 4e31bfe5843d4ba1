"""Files from elsewhere: the one place that turns what their content can cause into a sentence.

A damaged or hostile file makes parsers, and the objects that are built from its values, fail in any way. Only what depends on
nothing but the file stands inside `reading`; everywhere else an unexpected exception is a programming error and keeps its
traceback. The original exception remains the `__cause__`.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DEEPEST = 32  # levels of a table or list in a file; Python's recursion ends at some hundreds
LONGEST = 1 << 24  # bytes of a recipe or a summary

# what parsers and constructors raise on values that they do not expect; RuntimeError includes RecursionError
CAUSED = (ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], error: type[ValueError], what: str) -> Iterator[None]:
    """Turn what the content of `path` causes inside the block into one `error`: "PATH is damaged or not WHAT (...)".

    An `error` raised inside passes, and so does an error of the operating system, which is not of the file's making.

    >>> with reading("m.json", ValueError, "a JSON file"):
    ...     {}["definition"]
    Traceback (most recent call last):
    ValueError: m.json is damaged or not a JSON file (KeyError: 'definition'): copy or write it again
    """
    try:
        yield
    except error:
        raise
    except CAUSED as cause:
        if isinstance(cause, OSError) and cause.errno is not None:
            raise
        raise error(f"{path} is damaged or not {what} ({_reason(cause)}): copy or write it again") from cause


def _reason(cause: Exception) -> str:
    """An exception in a few words; the message of a ValueError is a sentence of its own."""
    words = " ".join(str(cause).split())
    short = words if len(words) <= 200 else f"{words[:200]}..."
    return (
        short if isinstance(cause, ValueError | OSError) and short else f"{type(cause).__name__}: {short}".rstrip(": ")
    )


def check_regular(path: str | os.PathLike[str], error: type[ValueError]) -> None:
    """Raise `error` for a pipe, a device, a socket or a folder, FileNotFoundError if there is nothing.

    Opening a pipe would wait for ever, reading a device may never end.

    >>> check_regular("/dev/zero", ValueError)
    Traceback (most recent call last):
    ValueError: /dev/zero is a device, not a file: give a file
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        raise error(f"{path} is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file: give a file")


def text(path: str | os.PathLike[str], error: type[ValueError], what: str, longest: int = LONGEST) -> str:
    """Return the UTF-8 text of a file of at most `longest` bytes."""
    check_regular(path, error)
    if (size := os.stat(path).st_size) > longest:
        raise error(f"{path} has {size} bytes, more than {what} can have ({longest}): give another file")
    with reading(path, error, what):
        return Path(path).read_text(encoding="utf-8")


def toml(path: str | os.PathLike[str], error: type[ValueError], what: str = "a TOML file") -> dict[str, Any]:
    """Return the table of a TOML file; raises `error` for anything else and for more than DEEPEST levels."""
    return parsed_toml(path, text(path, error, what), error, what)


def parsed_toml(
    path: str | os.PathLike[str], source: str, error: type[ValueError] = ValueError, what: str = "a TOML file"
) -> dict[str, Any]:
    """Return the table of a TOML text that stands in the file `path`; raises `error` as `toml` does.

    >>> parsed_toml("a.h5", "beta = 2.0")
    {'beta': 2.0}
    """
    with reading(path, error, what):
        return shallow(tomllib.loads(source))


def json_table(path: str | os.PathLike[str], error: type[ValueError], what: str = "a JSON file") -> dict[str, Any]:
    """Return the object of a JSON file; raises `error` for anything else and for more than DEEPEST levels."""
    source = text(path, error, what)
    with reading(path, error, what):
        return parsed_json(source)


def parsed_json(source: str) -> dict[str, Any]:
    """Return the object that a JSON text holds.

    Raises ValueError for other values, NaN and infinities, whole numbers beyond 64 bits, and more than DEEPEST levels.

    >>> parsed_json('{"a": [1]}')
    {'a': [1]}
    >>> parsed_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: the text is nested more than 32 levels deep
    """
    try:
        value = json.loads(source, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"the text is nested more than {DEEPEST} levels deep") from None
    if not isinstance(value, dict):
        raise ValueError(f"an object was wanted, got {type(value).__name__}")
    return shallow(value)


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"numbers are finite, got {word[:40]}")
    return number


def shallow(table: dict[str, Any]) -> dict[str, Any]:
    """Return the table itself; raises ValueError if it is too deep or holds a whole number beyond 64 bits.

    >>> shallow({"beta": 10**30})
    Traceback (most recent call last):
    ValueError: whole numbers have at most 64 bits, got one of 100
    """
    level: list[Any] = [table]
    for _ in range(DEEPEST):
        inner: list[Any] = []
        for entry in level:
            if isinstance(entry, int) and abs(entry) >= 1 << 63:
                raise ValueError(f"whole numbers have at most 64 bits, got one of {entry.bit_length()}")
            inner += entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ()
        if not inner:
            return table
        level = inner
    raise ValueError(f"the text is nested more than {DEEPEST} levels deep")


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value that was read has the type of an annotation; a whole number is a real one too.

    Containers are tuples and lists; annotations of other classes are compared by `isinstance`.

    >>> fits((4, 4), tuple[int, ...]), fits("4", int | None), fits(True, float)
    (True, False, False)
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is typing.Literal:
        return value in inner
    if origin in (tuple, list):
        if not isinstance(value, origin):
            return False
        kinds = [inner[0]] * len(value) if origin is list or inner[-1:] == (...,) else list(inner)
        return len(kinds) == len(value) and all(map(fits, value, kinds))
    if hint is None:
        return value is None
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)
