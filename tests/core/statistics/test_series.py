"""What becomes a series of real numbers, and what is refused instead of being changed."""

import decimal

import numpy
import pytest

from haarflow.core.statistics import bootstrap, ess, gamma_method, jackknife, log_z, reweight
from haarflow.core.statistics.series import real_numbers

LOOP = numpy.random.default_rng(0).normal(size=(1000, 2)) @ numpy.array([1.0, 1j])


@pytest.mark.parametrize(
    "use",
    [
        gamma_method,
        lambda z: gamma_method((z, z.real), lambda a, b: a / b),
        lambda z: reweight(numpy.zeros(len(z)), z),
        lambda z: reweight(z, z.real),
        ess,
        log_z,
        lambda z: jackknife(numpy.mean, z),
        lambda z: bootstrap(numpy.mean, z),
        lambda z: gamma_method((z.real,), lambda a: 1j * a),
    ],
)
def test_an_imaginary_part_is_never_dropped(use):
    with pytest.raises(ValueError, match=r"\.real and.*\.imag"):
        use(LOOP)


def test_a_real_function_of_complex_means_has_a_jackknife():
    """|<z>| of a unit Gaussian around 3: the error of the real part, 1/sqrt(1000)."""
    found = jackknife(lambda z: abs(z.mean()), LOOP + 3.0)
    assert found.error == pytest.approx(1 / numpy.sqrt(1000), rel=0.25)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (numpy.ma.masked_array([1.0, 2.0, 999.0], mask=[0, 0, 1]), "masked"),
        ([numpy.ma.masked_array([1.0, 999.0], mask=[0, 1])] * 2, "masked"),
        ([1.0, None, 2.0], "object"),
        ([decimal.Decimal(1)] * 3, "object"),
        (["1.5", "2.5"], "<U"),
        (numpy.asarray(["2026-01-01", "2026-01-02"], dtype="M8[D]"), "datetime"),
        ([2**60, 2**60 + 1], "2\\^53"),
        (numpy.asarray([2**63], dtype=numpy.uint64), "2\\^53"),
        (numpy.asarray([-(2**60)]), "2\\^53"),
        ([[1.0, 2.0], [3.0]], "several lengths"),
        (iter([1.0, 2.0]), "object"),
    ],
)
def test_what_a_float_would_change_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        real_numbers(values)


@pytest.mark.parametrize(
    "values",
    [
        [True, False],
        numpy.asarray([1, 0], dtype=numpy.uint8),
        numpy.asarray([1, 0], dtype=numpy.float32),
        numpy.ma.masked_array([1.0, 0.0]),
        (1, 0.0),
    ],
)
def test_real_numbers_of_all_kinds_are_taken(values):
    assert real_numbers(values).tolist() == [1.0, 0.0]


def test_arrays_of_other_backends_are_taken(backend):
    assert real_numbers(backend.asarray([1.0, 0.5])).tolist() == [1.0, 0.5]


def test_tensors_under_differentiation_are_taken():
    torch = pytest.importorskip("torch")
    x = torch.linspace(0.0, 1.0, 12, dtype=torch.float64, requires_grad=True)
    assert gamma_method(x).value == pytest.approx(0.5) and gamma_method([x, x[:9]]).value < 0.5
