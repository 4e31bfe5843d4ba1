"""Functions of NumPy arrays called from compiled JAX programs, on XLA's own buffers: its typed foreign function interface.

`jax.pure_callback` copies arguments and results; a foreign call passes the addresses of the buffers and takes a sixth of
the time for small ones (10 against 58 microseconds). One handler in Python serves all calls: it reads XLA's record of a call
(the structures of xla/ffi/api/c_api.h, version 0.x, to which later versions only append) and looks up the function by a
number stored in the program. The numbers are random, so that a program compiled in another process never names a function
of this one by accident.
"""

from __future__ import annotations

import ctypes
import math
import secrets
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy
from jax import ffi

from haarflow.backends.alone import alone
from haarflow.backends.types import Array

TARGET = "haarflow_on_host"
MAJOR, MINOR = 0, 1  # of the interface: the fields read here exist since this version
METADATA, INTERNAL = 1, 13  # XLA_FFI_Extension_Metadata, XLA_FFI_Error_Code_INTERNAL
NAMES = {4: "int32", 5: "int64", 11: "float32", 12: "float64", 15: "complex64", 18: "complex128"}
TYPES = {number: numpy.dtype(name) for number, name in NAMES.items()}  # XLA_FFI_DataType

# functions of JAX without annotations
_shape: Callable[..., Any] = jax.ShapeDtypeStruct
_capsule: Callable[..., Any] = ffi.pycapsule

FUNCTIONS: dict[int, Callable[..., None]] = {}


class _Extension(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("type", ctypes.c_int), ("next", ctypes.c_void_p))


class _Version(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
    )


class _Metadata(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("version", _Version), ("traits", ctypes.c_uint32))


class _MetadataExtension(ctypes.Structure):
    _fields_ = (("base", _Extension), ("metadata", ctypes.POINTER(_Metadata)))


class _Buffer(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("type", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("rank", ctypes.c_int64),
        ("dims", ctypes.POINTER(ctypes.c_int64)),
    )


class _Buffers(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("types", ctypes.c_void_p),
        ("buffers", ctypes.POINTER(ctypes.POINTER(_Buffer))),
    )


class _Scalar(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("value", ctypes.POINTER(ctypes.c_int64)))


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("types", ctypes.c_void_p),
        ("names", ctypes.c_void_p),
        ("scalars", ctypes.POINTER(ctypes.POINTER(_Scalar))),
    )


class _ErrorReport(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("code", ctypes.c_int),
    )


class _Api(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("version", _Version),
        ("internal", ctypes.c_void_p),
        ("error", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_ErrorReport))),
    )


class _Call(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.POINTER(_Extension)),
        ("api", ctypes.POINTER(_Api)),
        ("context", ctypes.c_void_p),
        ("stage", ctypes.c_int),
        ("arguments", _Buffers),
        ("results", _Buffers),
        ("attributes", _Attributes),
    )


def call(function: Callable[..., None], like: tuple[Any, ...], *arrays: Array) -> tuple[Array, ...]:
    """Return what `function(into, *arrays)` writes into the arrays `into`, with the shapes and types of `like`, in a JAX program.

    An exception raised by the function becomes an error of the program.

    >>> import jax.numpy as jnp
    >>> def double(into, x):
    ...     into[0][...] = 2 * x
    >>> x = jnp.arange(3, dtype="int32")
    >>> jax.jit(lambda x: call(double, (x,), x))(x)[0].tolist()
    [0, 2, 4]
    """
    _registered()
    number = secrets.randbits(62)
    FUNCTIONS[number] = function
    shapes = tuple(_shape(x.shape, x.dtype) for x in like)
    return tuple(ffi.ffi_call(TARGET, shapes, vmap_method="broadcast_all")(*arrays, number=numpy.int64(number)))


@cache
def _registered() -> None:
    ffi.register_ffi_target(TARGET, _capsule(_handler), platform="cpu")


def _answer(pointer: Any) -> Any:
    """Answer a call of XLA, with a null pointer for success; its first call asks which version of the interface is meant."""
    frame = pointer.contents
    if frame.extension and frame.extension.contents.type == METADATA:
        version = ctypes.cast(frame.extension, ctypes.POINTER(_MetadataExtension)).contents.metadata.contents.version
        version.major, version.minor = MAJOR, MINOR
        return None
    try:
        number = frame.attributes.scalars[0].contents.value[0]
        if number not in FUNCTIONS:
            raise LookupError(
                "this program was compiled in another process, whose functions this one does not have: compile it again"
            )
        with alone():
            FUNCTIONS[number](_arrays(frame.results), *_arrays(frame.arguments))
    except BaseException as error:  # it must not leave XLA's thread
        message = f"{type(error).__name__}: {error}".encode()
        report = _ErrorReport(ctypes.sizeof(_ErrorReport), None, message, INTERNAL)
        return frame.api.contents.error(ctypes.byref(report))
    return None


_handler = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Call))(_answer)


def _arrays(buffers: _Buffers) -> list[numpy.ndarray]:
    """XLA's buffers as NumPy arrays, without a copy."""
    return [_array(buffers.buffers[index].contents) for index in range(buffers.count)]


def _array(buffer: _Buffer) -> numpy.ndarray:
    shape, dtype = tuple(buffer.dims[: buffer.rank]), TYPES[buffer.type]
    size = math.prod(shape) * dtype.itemsize
    return numpy.ndarray(shape, dtype, (ctypes.c_char * size).from_address(buffer.data) if size else None)
