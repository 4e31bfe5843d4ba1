"""Wrong backends, functions that spoil a record, with the laws that must catch them."""

import math
from dataclasses import replace

from haarflow import backends
from tests.mutants import Mutant


def spoiled(**functions):
    """A mutant's `make`: the record with some functions made from its own."""
    return lambda lattice: lambda record: replace(record, **{name: f(record) for name, f in functions.items()})


def conv_shifted(record):
    return lambda x, w: record.xp.roll(record.conv(x, w), 1, axis=-1)


def conv_turned(record):
    return lambda x, w: record.conv(x, record.xp.flip(w, axis=tuple(range(2, w.ndim))))


def conv_that_writes(record):
    def conv(x, w):
        x *= 1.5
        return record.conv(x, w)

    return conv


def net_without_the_last_bias(record):
    return lambda x, w, b, f: record.conv_net(x, w, [*b[:-1], None], f)


def matmul_in_the_other_order(record):
    return lambda a, b, d: record.matmul(b, a, d)


def sincos_reduced_once(record):
    return lambda x: record.sincos(x - 2 * math.pi * record.xp.floor(x / (2 * math.pi)))


def sincos_by_a_short_series(record):
    def sincos(x):
        sine, cosine = record.sincos(0.5 * x)
        return 2.0 * sine * cosine * (1.0 - 1e-6 * sine * sine), cosine * cosine - sine * sine

    return sincos


def scan_backwards(record):
    def scan(f, init, xs=None, length=None):
        carry, ys = record.scan(f, init, xs, length)
        return carry, backends.tree.tree_map(lambda y: record.xp.flip(y, axis=0), ys)

    return scan


def other_branch(record):
    """The branch that the predicate does not name."""
    return lambda predicate, then, otherwise: record.cond(predicate, otherwise, then)


def while_once_more(record):
    return lambda cond, body, init: body(record.while_loop(cond, body, init))


def vmap_of_the_first(record):
    return lambda f: lambda *args: record.vmap(f)(*(record.xp.stack([a[0, ...]] * a.shape[0], axis=0) for a in args))


def asarray_that_writes(record):
    def asarray(x, dtype=None):
        array = record.asarray(x, dtype)
        if getattr(x, "size", 0) > 1 and type(x).__module__ == "numpy":
            x *= 2
        return array

    return asarray


def asarray_in_single(record):
    return lambda x, dtype=None: record.asarray(record.asarray(x, "float32"), dtype or record.dtype)


def gradient_doubled(record):
    def value_and_grad(f, has_aux=False):
        def both(*args):
            value, grad = record.value_and_grad(f, has_aux=has_aux)(*args)
            return value, backends.tree.tree_map(lambda g: 2.0 * g, grad)

        return both

    return value_and_grad


def jit_that_retraces(record):
    return lambda f: lambda *args: record.jit(lambda *again: f(*again))(*args)


def jit_in_single(record):
    def jit(f):
        cast = lambda x: record.xp.astype(record.xp.astype(x, record.xp.float32), x.dtype)  # noqa: E731
        return record.jit(lambda *args: f(*(cast(x) for x in args)))

    return jit


BACKENDS = (
    Mutant("conv shifted by one", "backend", spoiled(conv=conv_shifted), ("convolution",)),
    Mutant("conv with the kernel turned", "backend", spoiled(conv=conv_turned), ("convolution",)),
    Mutant("conv that writes into its argument", "backend", spoiled(conv=conv_that_writes), ("inputs_unchanged",)),
    Mutant("net without its last bias", "backend", spoiled(conv_net=net_without_the_last_bias), ("convolution_net",)),
    Mutant("matmul b a", "backend", spoiled(matmul=matmul_in_the_other_order), ("small_matrices",)),
    Mutant("sincos reduced by one 2 pi", "backend", spoiled(sincos=sincos_reduced_once), ("sine_and_cosine",)),
    Mutant("sincos of six digits", "backend", spoiled(sincos=sincos_by_a_short_series), ("sine_and_cosine",)),
    Mutant("scan stacks backwards", "backend", spoiled(scan=scan_backwards), ("scanning",)),
    Mutant("while once more", "backend", spoiled(while_loop=while_once_more), ("looping",)),
    Mutant("the other branch", "backend", spoiled(cond=other_branch), ("branching",)),
    Mutant("vmap of the first row", "backend", spoiled(vmap=vmap_of_the_first), ("mapping",)),
    Mutant("asarray changes the host", "backend", spoiled(asarray=asarray_that_writes), ("border",)),
    Mutant("asarray by way of float32", "backend", spoiled(asarray=asarray_in_single), ("border",)),
    Mutant("gradient doubled", "backend", spoiled(value_and_grad=gradient_doubled), ("derivatives",)),
    Mutant("jit retraces", "backend", spoiled(jit=jit_that_retraces), ("traced_once",)),
    Mutant("jit in single precision", "backend", spoiled(jit=jit_in_single), ("compiled_as_eager",)),
)
