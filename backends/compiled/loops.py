"""Calls of compiled bodies from Numba's loops: `call(address, end, addresses)`.

A loop knows a body only by its address, so it is compiled once for all bodies and cached on disk.
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

_untyped: Any = cgutils  # a module of Numba without annotations


def loop(function: Any) -> Any:
    """Compile a function with Numba, cached on disk where a cache folder can be written."""
    try:
        compiled = numba.njit(cache=True, error_model="numpy", nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        return numba.njit(error_model="numpy", nogil=True)(function)
    _remove_stale(compiled)
    return compiled


def _remove_stale(compiled: Any) -> None:
    """Remove cached code of a loop older than any file of the loops it calls: Numba compares with the loop's own file only."""
    newest = max(Path(file).stat().st_mtime for file in _files(compiled, set()))
    for cached in Path(compiled.stats.cache_path).glob(f"*.{compiled.py_func.__qualname__}-*.nb[ic]"):
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            if cached.stat().st_mtime < newest:
                cached.unlink()


def _files(compiled: Any, seen: set[Any]) -> set[str]:
    """The files of a loop and of all loops that it calls, directly or not."""
    code, known = compiled.py_func.__code__, compiled.py_func.__globals__
    seen.add(compiled)
    # only what Numba has compiled carries its Python function
    called = [known[name] for name in code.co_names if hasattr(known.get(name), "py_func")]
    return {code.co_filename}.union(*(_files(one, seen) for one in called if one not in seen))


def _generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    address, end, rows = arguments
    integers = [end, *_untyped.unpack_tuple(builder, rows)]
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * len(integers))
    builder.call(builder.inttoptr(address, kind.as_pointer()), integers)
    return context.get_dummy_value()


def _typed(typing: Any, address: Any, end: Any, rows: Any) -> Any:
    """Run the body at `address` on the rows at a tuple of addresses."""
    return types.void(types.intp, types.intp, rows), _generate


call: Any = intrinsic(_typed)


def _generate_prefetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    byte, integer = ir.IntType(8), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), integer, integer, integer])
    function = _untyped.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    pointer = builder.inttoptr(arguments[0], byte.as_pointer())
    builder.call(function, [pointer, integer(0), integer(3), integer(1)])
    return context.get_dummy_value()


def _typed_prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address."""
    return types.void(types.intp), _generate_prefetch


prefetch: Any = intrinsic(_typed_prefetch)
