"""Where an exception was raised, as a user looks for it: the last line of code of their own."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from types import FrameType

# An exception of a user's object passes through these; none of their lines is the user's.
ENGINES = ("jax", "jaxlib", "torch", "numpy", "cupy", "scipy", "numba", "array_api_compat", "array_api_strict")
NOT_THE_USERS = frozenset((*sys.stdlib_module_names, *ENGINES, "haarflow", "hypothesis", "equinox", "opt_einsum"))


def fault(error: BaseException) -> str:
    """Return an exception in a sentence: its type, its message, and the line of the user's code that raised it.

    That is the last frame outside of this library, of the standard library and of the array packages; where there is
    none, the last frame of all.

    >>> try:
    ...     {}["b"]
    ... except KeyError as error:
    ...     print(fault(error).split(" (")[0])
    KeyError: 'b'
    """
    words = f"{type(error).__name__}: {error}".rstrip(": ")
    frames = list(traceback.walk_tb(error.__traceback__))
    users = [(frame, line) for frame, line in frames if _top(frame) not in NOT_THE_USERS]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{words} ({_shown(error.filename)}:{error.lineno}: {(error.text or '').strip()})"
    if not frames:
        return words
    frame, line = (users or frames)[-1]
    name = frame.f_code.co_filename
    text = linecache.getline(name, line, frame.f_globals).strip()
    return f"{words} ({_shown(name)}:{line}, in {frame.f_code.co_name}: {text})"


def _top(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _shown(name: str) -> str:
    """A file's name, from the current folder where it is inside of it."""
    relative = os.path.relpath(name) if os.path.isabs(name) else name
    return name if relative.startswith(os.pardir) else relative
