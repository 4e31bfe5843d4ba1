"""Bodies compiled for vector registers against NumPy: arithmetic, sines, products and exponentials of small matrices."""

import math
import subprocess
import sys

import numpy
import pytest

from haarflow import backends
from haarflow.backends.compiled import functions, vector
from haarflow.core import random
from haarflow.core.groups.sun import SU
from haarflow.theories.compiled import gauge_bodies, matrices

pytestmark = pytest.mark.skipif(not vector.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

LANES = 12


def numbers(*shape):
    return numpy.random.default_rng(len(shape)).normal(size=shape)


def stored(m):
    """Matrices `(n, n, lanes)` as rows of components."""
    return numpy.stack([m.real, m.imag], axis=2).reshape(-1, m.shape[-1]).copy()


def restored(rows, n):
    parts = rows.reshape(n, n, 2, -1)
    return parts[:, :, 0] + 1j * parts[:, :, 1]


def test_arithmetic_with_numbers_and_folded_zeros():
    def body(x, y):
        y[0] = 2.0 - x[0] * x[1] + 3.0 * x[1] - (-x[0])
        y[1] = 0.0 * x[0] + 1.0 * x[1] + 0.0
        y[2] = (4.0 * x[0]).rounded()
        y[3] = x[0].largest(x[1])
        y[4] = x[0].nan_beyond(0.5)
        y[5] = 7.0

    x = numbers(2, LANES)
    y = numpy.zeros((6, LANES))
    vector.compiled(body, rows=2, stride=8 * LANES)(x, y)
    a, b = x
    wanted = [
        2.0 - a * b + 3.0 * b + a,
        b,
        numpy.round(4.0 * a),
        numpy.maximum(a, b),
        numpy.where(a <= 0.5, 0, numpy.nan),
    ]
    assert numpy.allclose(y[:5], wanted, rtol=0, atol=1e-15, equal_nan=True) and (y[5] == 7.0).all()
    assert numpy.isnan(y[4]).any() and not numpy.isnan(y[4]).all()


def test_no_number_but_zero_and_one_is_folded():
    """Sums, differences and products with -2 ... 2 are those of NumPy, whichever of them emit no instruction."""
    small = (-2.0, -1.0, 0.0, 1.0, 2.0)

    def body(x, y):
        for place, c in enumerate(small):
            y[4 * place], y[4 * place + 1] = x[0] + c, x[0] - c
            y[4 * place + 2], y[4 * place + 3] = c - x[0], c * x[0]

    x, y = numbers(1, LANES), numpy.zeros((4 * len(small), LANES))
    vector.compiled(body, rows=2, stride=8 * LANES)(x, y)
    wanted = [part for c in small for part in (x[0] + c, x[0] - c, c - x[0], c * x[0])]
    assert numpy.allclose(y, wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "register", [vector.Register("float32", 8), vector.Register("float32", 2), vector.Register("float64", 1)]
)
def test_registers_of_other_types_and_widths(register):
    """Interleaved numbers are split, two rows with strides of their own are added, and the result is interleaved again."""

    def body(into, pairs, x, y):
        real, imaginary = pairs.pairs()
        y.prefetch(64)
        into.put_pairs(real + 2.0 * x[1], imaginary - y[1])

    lanes, apart = 16, 24
    pairs, x, y = (numbers(*shape).astype(register.number) for shape in ((1, 2 * lanes), (2, lanes), (3, apart)))
    found = numpy.zeros((1, 2 * lanes), dtype=register.number)
    strides = (0, 0, register.bytes * lanes, register.bytes * apart)
    code = vector.compiled(body, rows=4, stride=strides, paired=2, register=register)
    code(found[:, :lanes], pairs, x, y)
    assert numpy.allclose(found[0, ::2], pairs[0, ::2] + 2 * x[1], rtol=0, atol=1e-6)
    assert numpy.allclose(found[0, 1::2], pairs[0, 1::2] - y[1, :lanes], rtol=0, atol=1e-6)


def test_the_larger_passes_over_nan():
    x, y = numpy.asarray([[numpy.nan] * 4, [1.0, 2.0, 3.0, 4.0]]), numpy.zeros((1, 4))
    vector.compiled(lambda x, y: y.__setitem__(0, x[0].largest(x[1])), rows=2, stride=32)(x, y)
    assert y[0].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_fixed_row_gathers_over_all_lanes():
    x, total = numbers(1, LANES), numpy.zeros((1, LANES))
    vector.compiled(lambda x, total: total.__setitem__(0, total[0] + x[0]), rows=2, stride=8 * LANES, fixed=1)(x, total)
    assert numpy.allclose(total[0, : vector.WIDTH], x.reshape(-1, vector.WIDTH).sum(0), rtol=0, atol=1e-15)
    assert (total[0, vector.WIDTH :] == 0.0).all()


def test_sine():
    x = numpy.concatenate([numpy.linspace(-7, 7, 1001), math.pi * numpy.arange(-500, 501), numbers(102) * 1e3])
    x = x[: len(x) // 4 * 4].reshape(1, -1)
    y = numpy.zeros_like(x)
    vector.compiled(lambda x, y: y.__setitem__(0, gauge_bodies.sine_of(x[0])), rows=2, stride=0)(x, y)
    assert numpy.abs(y - numpy.sin(x)).max() < 4e-16


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("adjoint", [False, True])
def test_products(n, adjoint):
    a, b = (numbers(n, n, LANES, k)[..., 0] + 1j * numbers(n, n, LANES, k)[..., -1] for k in (2, 3))
    into = numpy.ones((2 * n * n, LANES))

    def body(x, y, z):
        left, right = matrices.Stored(x, n), matrices.Stored(y, n)
        matrices.product(left.dagger() if adjoint else left, right, z, add=True)
        matrices.product(left, right.dagger(), x)  # the first factor's rows are read before they are written

    def product(a, b):
        return numpy.einsum("ijl,jkl->ikl", a, b)

    def dagger(m):
        return numpy.conj(numpy.swapaxes(m, 0, 1))

    rows = stored(a)
    vector.compiled(body, rows=3, stride=8 * LANES)(rows, stored(b), into)
    wanted = product(dagger(a) if adjoint else a, b) + 1 + 1j
    assert numpy.abs(restored(into, n) - wanted).max() < 1e-14
    assert numpy.abs(restored(rows, n) - product(a, dagger(b))).max() < 1e-14


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("size", [0.0, 1e-9, 0.3, 1.0, 5.0, 20.0])
def test_exponentials_and_coordinates(n, size):
    """Both series where they are meant for, degenerate spectra included, against the group's own functions."""
    group = SU(n, 1)
    w = numbers(n * n - 1, LANES)
    w[:, 0] = 0.0
    w[:, 1] = 0.0
    w[-1, 1] = 1.0  # two eigenvalues equal
    w = size * w / numpy.maximum(1.0, numpy.sqrt((w**2).sum(0)))
    one = numpy.ones((1, LANES))
    unit = stored(numpy.broadcast_to(numpy.eye(n)[..., None], (n, n, LANES)) + 0j)
    bodies = gauge_bodies.su(n)
    for body in (bodies.near, bodies.far) if size <= gauge_bodies.NEAR else (bodies.far,):
        u = unit.copy()
        vector.compiled(body, rows=3, stride=8 * LANES)(u, w, one)
        assert numpy.abs(restored(u, n) - group.exp(w)).max() < 1e-15 * (10 + 10 * size)
    m = numbers(n, n, LANES) + 1j * numbers(n, n, LANES)[::-1]
    found = numpy.zeros((n * n - 1, LANES))

    def body(x, y):
        for a, part in enumerate(matrices.coordinates_of_i_times(matrices.Stored(x, n).loaded().rows)):
            y[a] = part

    vector.compiled(body, rows=2, stride=8 * LANES)(stored(m), found)
    assert numpy.abs(found - group.coordinates(1j * m)).max() < 1e-14


@pytest.mark.parametrize("count", [1, 2, 7, 511, 512, 513, 5000])
def test_normal_numbers(count):
    """Those of an engine without a kernel, for one key and for several; there an angle's rounding moves them by 2e-15."""
    key, strict = random.key(2**63 + 5, backends.get("numpy")), pytest.importorskip("array_api_strict")
    for keys in (key, random.split(key, 3)):
        found = random.normal(keys, (count,))
        assert found.shape == (*keys.shape[:-1], count)
        assert numpy.abs(found - numpy.asarray(random.normal(strict.asarray(keys), (count,)))).max() < 1e-14


def test_logarithms_and_turns():
    """To two units of the last place, at the ends of (0, 1), around quarter turns and where the series begins anew."""
    near = numpy.asarray([0.0, 0.25, 1.0 / 3.0, 0.5, 2.0 / 3.0, 0.75, 1.0])[:, None] + 2.0**-52 * numpy.arange(
        -8.0, 9.0
    )
    inside = near[(near > 0.0) & (near < 1.0)]
    x = numpy.concatenate([inside, 2.0 ** -numpy.arange(1.0, 53.0), numpy.linspace(0.001, 0.999, 997)])
    x = numpy.concatenate([x, numpy.full(-len(x) % 4, 0.5)])[None]

    def body(x, y):
        y[0] = functions.logarithm(x[0])
        y[1], y[2] = functions.sine_and_cosine_of_turns(x[0])

    y = numpy.zeros((3, x.shape[1]))
    vector.compiled(body, rows=2, stride=8 * x.shape[1])(x, y)
    assert (numpy.abs(y[0] - numpy.log(x[0])) <= 2.0 * numpy.spacing(numpy.abs(y[0]))).all()
    wanted = numpy.exp(2j * math.pi * x[0])
    assert max(numpy.abs(y[1] - wanted.imag).max(), numpy.abs(y[2] - wanted.real).max()) < 1e-15


def test_what_is_lost_beside_one():
    """ln(1 + y) for y > -1 and 1 - e^{-x} on [0, 4], relative errors, from the smallest numbers on."""
    y = numpy.concatenate([-(2.0 ** -numpy.arange(1.0, 1001.0)), numpy.linspace(-0.999, 3.0, 1000)])[None]
    x = numpy.concatenate([2.0 ** -numpy.arange(0.0, 1000.0), numpy.linspace(1e-3, 4.0, 1000)])[None]

    def body(given, found):
        found[0] = functions.logarithm_beside_one(given[0])
        found[1] = functions.one_minus_exponential(given[1])

    found = numpy.zeros((2, x.shape[1]))
    vector.compiled(body, rows=2, stride=8 * x.shape[1])(numpy.concatenate([y, x]), found)
    numpy.testing.assert_allclose(found, [numpy.log1p(y[0]), -numpy.expm1(-x[0])], rtol=1e-15, atol=0)


def test_others_are_computed_where_a_lane_is_zero():
    """All four lanes take the others' numbers as soon as one of them is zero; lanes without a zero keep their own."""

    def body(x, y):
        (y[0],) = x[0].where_any_zero([x[1]], lambda: [x[1] + 10.0])
        y[1] = x[0].below(x[1], 1.0, 2.0)

    x = numpy.asarray([[1.0, 0.0, 1.0, 1.0, 1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]])
    y = numpy.zeros((2, 8))
    vector.compiled(body, rows=2, stride=64)(x, y)
    assert y[0].tolist() == [11.0, 12.0, 13.0, 14.0, 5.0, 6.0, 7.0, 8.0]
    assert y[1].tolist() == [2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]


def test_a_loop_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path):
    """Numba itself sees a change of a function's own file alone, and would run what the other was before."""
    written = (
        "from haarflow.backends.compiled.loops import loop\n{imports}\n@loop\ndef {name}(x):\n    return {value}\n"
    )

    def write(name, value, imports=""):
        (tmp_path / f"{name}_loops.py").write_text(written.format(name=name, value=value, imports=imports))

    def found():
        code = "import outer_loops; print(outer_loops.outer(1.0))"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        return float(done.stdout)

    write("inner", "x + 1.0")
    write("middle", "inner(x)", "from inner_loops import inner\n")
    write("outer", "middle(x)", "from middle_loops import middle\n")
    assert found() == 2.0
    kept = sorted(tmp_path.glob("__pycache__/outer_loops.*.nbi"))
    assert kept and found() == 2.0 and kept == sorted(tmp_path.glob("__pycache__/outer_loops.*.nbi"))
    write("inner", "x + 2.0")
    assert found() == 3.0


def test_the_same_body_is_compiled_once():
    """Caches of compiled bodies may be dropped without a loss: code cannot be freed, and is found again by its text."""
    kept = len(vector.ADDRESSES)
    bodies = [lambda x, y, factor=factor: y.__setitem__(0, factor * x[0]) for factor in (2.25, 2.25, 2.75)]
    first, again, other = (vector.compiled(body, rows=2, stride=32) for body in bodies)
    assert len(vector.ADDRESSES) == kept + 2 and first.address == again.address != other.address
    x, y = numpy.ones((1, 4)), numpy.zeros((1, 4))
    for code, factor in ((first, 2.25), (again, 2.25), (other, 2.75)):
        code(x, y)
        assert (y == factor).all()


@pytest.mark.parametrize("number", ["float64", "float32"])
def test_one_number_stands_in_all_lanes(number):
    register = vector.Register(number, 4)
    x, y, factors = numbers(1, LANES).astype(number), numpy.zeros((1, LANES), number), numpy.asarray([5.0, 3.0], number)

    def body(x, y, factors):
        y[0] = factors.everywhere(register.bytes) * x[0]

    stride = LANES * register.bytes
    vector.compiled(body, 3, stride, fixed=1, register=register)(x, y, factors)
    numpy.testing.assert_allclose(y, 3.0 * x, rtol=1e-6 if number == "float32" else 1e-15, atol=0)
