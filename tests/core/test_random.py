"""Random numbers beyond their laws: maps over keys, any seed and number of children, the border."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarflow import backends
from haarflow.backends.kernels import threefry
from haarflow.core import random
from haarflow.core.laws.random import slow_threefry


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
    with pytest.raises(ValueError, match="integer in"):
        random.key(-1, host)
    with pytest.raises(ValueError, match="'float64' or 'float32'"):
        random.uniform(random.key(0, host), (2,), "float16")


@pytest.mark.parametrize("count", [1, 5, threefry.FEW, threefry.FEW + 1])
def test_words_of_few_and_of_many_counters_are_threefry(count):
    """On the host few words are whole numbers of Python, many are arrays: both are the slow twin's."""
    key, counters = numpy.asarray([-7, 2**31 - 1], dtype=numpy.int32), numpy.arange(-3, count - 3).astype(numpy.int32)
    wanted = slow_threefry(*key.view("uint32").tolist(), counters.view("uint32"), numpy.full(count, 4, "uint32"))
    found = threefry.threefry(key[:1], key[1:], counters, 4)
    assert all(numpy.array_equal(one.view("uint32"), two) for one, two in zip(found, wanted, strict=True))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_hosts_own_draws_are_the_plain_ones(engine):
    """Uniforms and derived keys made on the host equal those of the standard path, one key or several, any number."""
    pytest.importorskip(engine)
    own, plain = backends.get(engine), pytest.importorskip("array_api_strict")
    for rows in (random.key(2**63 + 5, own), random.split(random.key(3, own), 3)):
        same = plain.asarray(own.to_numpy(rows))
        pairs = [(random.uniform(rows, (shape,)), random.uniform(same, (shape,))) for shape in (1, 8, 300)]
        pairs += [(random.fold_in(rows, n), random.fold_in(same, n)) for n in (0, 7, 2**32 - 1)]
        numbers = numpy.arange(rows.ndim**2 - 1).reshape(-1)[:3] if rows.ndim > 1 else numpy.asarray(5)
        pairs.append(
            (
                random.fold_in(rows, own.asarray(numbers)),
                random.fold_in(same, plain.asarray(numbers, dtype=plain.int32)),
            )
        )
        assert all(numpy.array_equal(own.to_numpy(one), numpy.asarray(two)) for one, two in pairs)
