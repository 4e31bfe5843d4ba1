"""Calls of compiled bodies from Numba's loops: `call(address, end, places)`.

The loops know a body by its address alone, so that they compile once for all bodies and are kept on disk.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


def loop(function: Any) -> Any:
    """Compile a function by Numba, kept on disk where there is a place for it."""
    try:
        found = numba.njit(cache=True, error_model="numpy", nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        return numba.njit(error_model="numpy", nogil=True)(function)
    _forget_stale(found)
    return found


def _forget_stale(compiled: Any) -> None:
    """Remove what is kept of a loop and is older than a file of the loops that it calls: Numba looks at its own file alone."""
    newest = max(Path(file).stat().st_mtime for file in _files(compiled, set()))
    for kept in Path(compiled.stats.cache_path).glob(f"*.{compiled.py_func.__qualname__}-*.nb[ic]"):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if kept.stat().st_mtime < newest:
                kept.unlink()


def _files(compiled: Any, seen: set[Any]) -> set[str]:
    """The files of a loop and of all that it calls, directly or not."""
    code, known = compiled.py_func.__code__, compiled.py_func.__globals__
    seen.add(compiled)
    called = [known[name] for name in code.co_names if hasattr(known.get(name), "py_func")]
    return {code.co_filename}.union(*(_files(one, seen) for one in called if one not in seen))


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    address, end, places = arguments
    words = [end, *cgutils.unpack_tuple(builder, places)]
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * len(words))
    builder.call(builder.inttoptr(address, kind.as_pointer()), words)
    return context.get_dummy_value()


def _typed(typing: Any, address: Any, end: Any, places: Any) -> Any:
    """Run the body at `address` on the rows at a tuple of places."""
    return types.void(types.intp, types.intp, places), _generate


call: Any = intrinsic(_typed)


def _generate_prefetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    byte, number = ir.IntType(8), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    place = builder.inttoptr(arguments[0], byte.as_pointer())
    builder.call(function, [place, number(0), number(3), number(1)])
    return context.get_dummy_value()


def _typed_prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address."""
    return types.void(types.intp), _generate_prefetch


prefetch: Any = intrinsic(_typed_prefetch)
