"""Functions of host arrays inside compiled JAX programs, against `jax.pure_callback`."""

import numpy
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

from haarflow.backends.compiled import xla_calls  # noqa: E402
from tests.conftest import member  # noqa: E402


@pytest.fixture(autouse=True)
def double_precision():
    member("jax")


def moments(into, x, y):
    """Twice x and the sum of y over its last axis."""
    numpy.multiply(x, 2, out=into[0])
    into[1][...] = y.sum(axis=-1)


def both(x, y, lead=()):
    """What a foreign call and JAX's own call back make of x and y."""
    like = (jnp.zeros(x.shape, x.dtype), jnp.zeros(lead, y.dtype))

    def copied(x, y):
        into = tuple(numpy.empty(z.shape, z.dtype) for z in (x, y[..., 0]))
        moments(into, numpy.asarray(x), numpy.asarray(y))
        return into

    called = jax.jit(lambda x, y: xla_calls.call(moments, like, x, y))
    return called, jax.jit(lambda x, y: jax.pure_callback(copied, like, x, y, vmap_method="broadcast_all"))


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 3), (2, 1, 3, 4)])
def test_equal_to_a_call_back(dtype, shape, generator):
    x = jnp.asarray(generator.normal(size=shape) * 9).astype(dtype)
    y = jnp.asarray(generator.normal(size=5)).astype(dtype)
    for program in both(x, y):
        doubled, total = program(x, y)
        assert doubled.dtype == x.dtype and doubled.shape == shape
        assert numpy.array_equal(doubled, 2 * x)
        assert numpy.allclose(total, y.sum(), rtol=1e-6)


def test_mapped_and_scanned(generator):
    x, y = jnp.asarray(generator.normal(size=(4, 3))), jnp.asarray(generator.normal(size=5))
    called, back = both(x[0], y)
    for mine, theirs in zip(jax.vmap(called, (0, None))(x, y), jax.vmap(back, (0, None))(x, y), strict=True):
        assert numpy.array_equal(mine, theirs)

    def steps(program):
        return jax.jit(lambda x: jax.lax.scan(lambda x, _: (program(x, y)[0] / 3, None), x, None, length=20)[0])

    assert numpy.array_equal(steps(called)(x[0]), steps(back)(x[0]))


def test_arguments_are_only_read_and_results_are_the_programs_own(generator):
    x, y = jnp.asarray(generator.normal(size=3)), jnp.ones(2)
    before, program = numpy.array(x), both(x, y)[0]
    first = program(x, y)[0]
    second = program(first, y)[0]
    assert (
        numpy.array_equal(x, before) and numpy.array_equal(first, 2 * before) and numpy.array_equal(second, 4 * before)
    )


def test_an_exception_is_the_programs_error():
    def refuses(into, x):
        raise ValueError("a wish that cannot be granted")

    with pytest.raises(jax.errors.JaxRuntimeError, match="ValueError: a wish that cannot be granted"):
        jax.block_until_ready(jax.jit(lambda x: xla_calls.call(refuses, (x,), x))(jnp.ones(3)))
    assert xla_calls.call(lambda into, x: numpy.copyto(into[0], x), (jnp.ones(3),), jnp.ones(3))[0].sum() == 3.0


def test_no_two_programs_mean_each_others_functions():
    """The number that a program carries is drawn afresh: a program from elsewhere finds nothing, never another function."""
    before = set(xla_calls.FUNCTIONS)
    x = jnp.ones(2)
    jax.jit(lambda x: xla_calls.call(moments, (x, x[0]), x, x))(x)
    (new,) = set(xla_calls.FUNCTIONS) - before
    stranger = xla_calls.FUNCTIONS.pop(new)
    try:
        with pytest.raises(jax.errors.JaxRuntimeError, match="compiled in another process"):
            program = jax.jit(lambda x: jax.ffi.ffi_call(xla_calls.TARGET, (x, x[0]))(x, x, number=numpy.int64(new)))
            jax.block_until_ready(program(x))
    finally:
        xla_calls.FUNCTIONS[new] = stranger
