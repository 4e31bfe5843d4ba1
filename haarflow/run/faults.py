"""Where an exception was raised: in the user's own code, by a `raise` of this library, or by a mistake in it."""

from __future__ import annotations

import dis
import linecache
import os
import sys
import traceback
from types import FrameType

# An exception of a user's object passes through these packages; none of their lines is the user's.
ARRAYS = ("jax", "jaxlib", "torch", "numpy", "cupy", "scipy", "numba", "array_api_compat", "array_api_strict")
TOOLS = ("hypothesis", "equinox", "opt_einsum", "typer", "click", "rich", "pydantic", "pydantic_core", "h5py")
SPREAD = ("dask", "distributed", "tornado", "mpi4py", "submitit", "cloudpickle")
NOT_THE_USERS = frozenset((*sys.stdlib_module_names, *ARRAYS, *TOOLS, *SPREAD, "haarflow"))


def fault(error: BaseException) -> str:
    """Return an exception as a sentence: its type, the first line of its message, and the user's line that raised it.

    That line is the last frame outside this library, the standard library and the array packages, or the last frame of
    all if there is none.

    >>> try:
    ...     {}["b"]
    ... except KeyError as error:
    ...     print(fault(error).split(" (")[0])
    KeyError: 'b'
    """
    message = str(error).strip()
    sentence = f"{type(error).__name__}: {message.splitlines()[0] if message else ''}".rstrip(": ")
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({_shown(error.filename)}:{error.lineno}: {(error.text or '').strip()})"
    frames = _users_frames(error) or list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return sentence
    frame, line = frames[-1]
    name = frame.f_code.co_filename
    text = linecache.getline(name, line, frame.f_globals).strip()
    return f"{sentence} ({_shown(name)}:{line}, in {frame.f_code.co_name}: {text})"


def in_users_code(error: BaseException) -> bool:
    """Return whether an exception was raised in a user's code, or in a call made from there.

    >>> in_users_code(ValueError("never raised"))
    False
    """
    return bool(_users_frames(error))


def raised_on_purpose(error: BaseException) -> bool:
    """Return whether a `raise` of this library made the exception, whose message is then a sentence for a person.

    An exception that an expression or another package made is a mistake in this library. One that comes back from a worker
    process is known by the text of its traceback.

    >>> from haarflow.core import random
    >>> from haarflow.backends import numpy as backend
    >>> try:
    ...     random.key(-1, backend)
    ... except ValueError as error:
    ...     print(raised_on_purpose(error))
    True
    >>> try:
    ...     random.key("seed", backend)
    ... except ValueError as error:
    ...     print(raised_on_purpose(error))
    False
    """
    if type(error.__cause__).__name__ == "_RemoteTraceback":
        lines = [line.strip() for line in str(error.__cause__).splitlines()]
        places = [index for index, line in enumerate(lines[:-1]) if line.startswith('File "')]
        return bool(places) and lines[places[-1] + 1].startswith("raise ")
    trace, last = error.__traceback__, None
    while trace is not None:
        trace, last = trace.tb_next, trace
    if last is None or _top(last.tb_frame) != "haarflow":
        return False
    return dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] == "RAISE_VARARGS"


def _users_frames(error: BaseException) -> list[tuple[FrameType, int]]:
    return [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _top(frame) not in NOT_THE_USERS]


def _top(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _shown(name: str) -> str:
    """A file's path, relative to the current folder if it is inside it."""
    relative = os.path.relpath(name) if os.path.isabs(name) else name
    return name if relative.startswith(os.pardir) else relative
