"""Random numbers beyond their laws: maps over keys, any seed and number of children, the border."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarflow import backends
from haarflow.core import random


def test_vmap_over_keys(autodiff_backend):
    keys = random.split(random.key(1, autodiff_backend), 4)
    mapped = autodiff_backend.vmap(lambda key: random.uniform(key, (3,)))(keys)
    assert numpy.array_equal(autodiff_backend.to_numpy(mapped), autodiff_backend.to_numpy(random.uniform(keys, (3,))))


@given(seed=st.integers(0, 2**64 - 1), count=st.integers(0, 40))
def test_streams_of_one_key_share_no_words(seed, count):
    """Children, folds and draws of one key: 5 x 40 words collide by luck with chance 5e-6, and derandomised never."""
    key = random.key(seed, backends.get("numpy"))
    children = random.split(key, count).ravel().tolist()
    folds = random.fold_in(key, count).tolist()
    words = random.words(key, (count,)).tolist()
    everything = children + folds + words
    assert len(set(everything)) == len(everything)


def test_uniforms_lie_strictly_inside_the_unit_interval(host):
    extreme = numpy.asarray([-1, 0, 2**31 - 1, -(2**31)], dtype=numpy.int32)
    shifted = random._logical_right(extreme, 6).astype(float)
    u = (shifted * 2.0**26 + shifted + 0.5) * 2.0**-52
    assert (u > 0).all() and (u < 1).all()
    assert u[0] == 1.0 - 2.0**-53 and u[1] == 2.0**-53


def test_bad_seeds_and_types_are_refused(host):
    with pytest.raises(ValueError, match="whole number in"):
        random.key(-1, host)
    with pytest.raises(ValueError, match="'float64' or 'float32'"):
        random.uniform(random.key(0, host), (2,), "float16")
