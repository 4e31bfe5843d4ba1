"""Modes: shares of draws, of weight and of the target, and the modes that a model misses. Seeds are fixed."""

import math

import numpy
import pytest

from haarflow.core.statistics import modes


def signs(shares, seed=0):
    """Chains `(chain, 200)` of signs, positive with these probabilities."""
    rng = numpy.random.default_rng(seed)
    return numpy.where(rng.uniform(size=(len(shares), 200)) < numpy.asarray(shares)[:, None], 1, -1)


def test_a_mode_that_is_never_drawn_is_missing():
    found = modes(numpy.ones(1000), numpy.zeros(1000), {"hmc": signs([0.5] * 4)})
    minus, plus = found
    assert (minus.label, minus.model.value, minus.weighted.value) == (-1, 0.0, 0.0) and minus.missing == ("hmc",)
    assert plus.model.value == 1.0 and plus.missing == ()
    assert abs(minus.chains["hmc"].value - 0.5) < 4 * minus.chains["hmc"].error < 0.1


def test_chains_that_stay_in_a_mode_count_once_each():
    """64 chains, half in each well: the error of the share is that of 64 draws, and the mode is missing all the same."""
    found = modes(numpy.ones(1000), numpy.zeros(1000), {"hmc": signs([0.0, 1.0] * 32)})
    assert found[0].chains["hmc"].error == pytest.approx(0.5 / 8, rel=0.02) and found[0].missing == ("hmc",)
    assert found[0].weighted.error is None and found[0].model.error == pytest.approx(1 / 2000)  # none found of 1000
    few = modes(numpy.ones(1000), numpy.zeros(1000), {"hmc": signs([0.0, 1.0])})
    assert few[0].missing == ()  # two chains are no evidence


def test_a_rare_mode_that_weights_make_up_for_is_not_missing():
    """One draw in ten is negative and has nine times the weight: shares of weight are 1/2, within 4 sigma."""
    rng = numpy.random.default_rng(1)
    labels = numpy.where(rng.uniform(size=4000) < 0.1, -1, 1)
    minus, _ = modes(labels, numpy.where(labels < 0, math.log(9.0), 0.0), {"hmc": signs([0.5] * 8)})
    assert abs(minus.model.value - 0.1) < 4 * minus.model.error < 0.03
    assert abs(minus.weighted.value - 0.5) < 4 * minus.weighted.error < 0.1 and minus.missing == ()


def test_labels_of_another_shape_and_of_no_mode_are_refused():
    with pytest.raises(ValueError, match="got 3 labels and 2 weights"):
        modes([1, 1, -1], [0.0, 0.0])
    with pytest.raises(ValueError, match="whole numbers"):
        modes([0.5, 1.0], [0.0, 0.0])
    with pytest.raises(ValueError, match="whole numbers"):
        modes([math.nan, 1.0], [0.0, 0.0])
