"""Means within a sector: twins that leave out all other draws, and too few draws."""

import numpy
import pytest

from haarflow.core.statistics import gamma_method, reweight, within

RNG = numpy.random.default_rng(5)


def ratio(a, b):
    return a / b


def series(inside):
    values = RNG.normal(size=inside.shape)
    return values, [values * inside, inside]


def test_weighted_draws_within_are_those_that_are_left_without_the_others():
    """The delta method of <O delta>/<delta> is that of <O> over the draws with delta = 1, but for tau_int as it is found."""
    inside, log_w = 1.0 * (RNG.uniform(size=20_000) < 0.3), 0.5 * RNG.normal(size=20_000)
    values, products = series(inside)
    found, twin = within(ratio, products, inside, log_w), reweight(log_w[inside > 0], values[inside > 0])
    assert found.value == pytest.approx(twin.value, abs=1e-12) and found.note == twin.note == ""
    assert found.error / (2.0 * found.tau_int) ** 0.5 == pytest.approx(twin.error, rel=1e-3)
    assert abs(found.tau_int - 0.5) < 4.0 * found.tau_error


def test_a_chain_is_the_gamma_method_of_the_ratio():
    inside = 1.0 * (RNG.uniform(size=(4, 500)) < 0.5)
    _, products = series(inside)
    assert within(ratio, products, inside) == gamma_method(products, ratio)


def test_all_draws_within_are_the_plain_mean():
    inside = numpy.ones((4, 500))
    values, products = series(inside)
    found, plain = within(ratio, products, inside), gamma_method(values)
    assert found.value == pytest.approx(plain.value, abs=1e-14) and found.error == pytest.approx(plain.error, rel=1e-6)


@pytest.mark.parametrize("log_w", [None, numpy.zeros((4, 500))])
def test_few_draws_have_no_error_and_none_no_value(log_w):
    inside = numpy.zeros((4, 500))
    none = within(ratio, series(inside)[1], inside, log_w)
    assert none.value is None and none.error is None and none.note == "no draw lies in this sector"
    inside[:, 100] = inside[0, 200] = 1.0
    values, products = series(inside)
    few = within(ratio, products, inside, log_w)
    assert few.value == pytest.approx(values[inside > 0].mean()) and few.error is None
    assert "effective draws, below 10: the error is not known" in few.note


def test_a_sector_of_one_heavy_draw_has_no_error():
    """A hundred draws lie within, but one weight is a thousand times the others."""
    inside, log_w = numpy.zeros(5000), numpy.zeros(5000)
    inside[:100], log_w[7] = 1.0, numpy.log(1e3)
    values, products = series(inside)
    found = within(ratio, products, inside, log_w)
    assert found.error is None and found.value == pytest.approx((999 * values[7] + values[:100].sum()) / 1099)
