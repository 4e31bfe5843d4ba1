"""Jackknife and bootstrap against the formulas of the other errors."""

import numpy
import pytest

from haarflow.core.statistics import bootstrap, gamma_method, jackknife, reweight
from tests.support.series import gaussian_weights


def test_error_bars_agree_with_resampling():
    x, log_w = gaussian_weights(4000)

    def ratio(log_w, x):
        w = numpy.exp(log_w)
        return (w * x).sum() / w.sum()

    found = reweight(log_w, x)
    for other in (jackknife(ratio, log_w, x, blocks=100), bootstrap(ratio, log_w, x, resamples=300)):
        assert other.value == pytest.approx(found.value)
        assert other.error == pytest.approx(found.error, rel=0.25)
    w = numpy.exp(log_w)
    assert gamma_method((w * x, w), lambda a, b: a / b).error == pytest.approx(found.error, rel=0.1)


def test_resampling_wants_two_draws_of_one_length():
    for wrong in ((numpy.ones(1),), (numpy.ones(3), numpy.ones(4))):
        with pytest.raises(ValueError, match="one length"):
            jackknife(numpy.mean, *wrong)
    with pytest.raises(ValueError, match="two blocks"):
        jackknife(numpy.mean, numpy.ones(5), blocks=1)
