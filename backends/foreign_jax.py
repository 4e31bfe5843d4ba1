"""Functions of NumPy arrays inside compiled JAX programs, on XLA's own buffers: its typed foreign function interface.

`jax.pure_callback` copies what goes in and what comes out; a foreign call hands over the places of the buffers, in a sixth of
its time for small ones (10 and 58 microseconds). One handler in Python serves all: it reads XLA's record of a call (the structures of
xla/ffi/api/c_api.h, version 0.x, which grow at their ends alone) and looks the function up by the number that the program carries.
Numbers are random, so that no program compiled elsewhere ever means another function here.
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

from haarflow.backends.types import Array

TARGET = "haarflow_on_host"
MAJOR, MINOR = 0, 1  # of the interface: what is read here has stood there since
METADATA, INTERNAL = 1, 13  # XLA_FFI_Extension_Metadata, XLA_FFI_Error_Code_INTERNAL
NAMES = {4: "int32", 5: "int64", 11: "float32", 12: "float64", 15: "complex64", 18: "complex128"}
TYPES = {number: numpy.dtype(name) for number, name in NAMES.items()}  # XLA_FFI_DataType

FUNCTIONS: dict[int, Callable] = {}


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


class _ErrorWords(ctypes.Structure):
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
        ("error", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_ErrorWords))),
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


def call(function: Callable, like: tuple[Any, ...], *arrays: Array) -> tuple[Array, ...]:
    """Return what `function(into, *arrays)` writes into the arrays `into`, shaped and typed as `like`, in a JAX program.

    An exception of the function becomes the program's error.

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
    shapes = tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in like)
    return tuple(ffi.ffi_call(TARGET, shapes, vmap_method="broadcast_all")(*arrays, number=numpy.int64(number)))


@cache
def _registered() -> None:
    ffi.register_ffi_target(TARGET, ffi.pycapsule(_handler), platform="cpu")


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_Call))
def _handler(found: Any) -> int | None:
    """What XLA calls, with a null pointer for success; first of all it asks which version of its interface was meant."""
    frame = found.contents
    if frame.extension and frame.extension.contents.type == METADATA:
        version = ctypes.cast(frame.extension, ctypes.POINTER(_MetadataExtension)).contents.metadata.contents.version
        version.major, version.minor = MAJOR, MINOR
        return None
    try:
        number = frame.attributes.scalars[0].contents.value[0]
        if number not in FUNCTIONS:
            raise LookupError(
                "this program was compiled in another process, whose functions are not here: compile it again"
            )
        FUNCTIONS[number](_arrays(frame.results), *_arrays(frame.arguments))
    except BaseException as error:  # it must not leave XLA's thread
        message = f"{type(error).__name__}: {error}".encode()
        words = _ErrorWords(ctypes.sizeof(_ErrorWords), None, message, INTERNAL)
        return frame.api.contents.error(ctypes.byref(words))
    return None


def _arrays(found: _Buffers) -> list[numpy.ndarray]:
    """XLA's buffers as NumPy arrays, without a copy."""
    return [_array(found.buffers[number].contents) for number in range(found.count)]


def _array(buffer: _Buffer) -> numpy.ndarray:
    shape, dtype = tuple(buffer.dims[: buffer.rank]), TYPES[buffer.type]
    size = math.prod(shape) * dtype.itemsize
    return numpy.ndarray(shape, dtype, (ctypes.c_char * size).from_address(buffer.data) if size else None)
