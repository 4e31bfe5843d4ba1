"""Random numbers: the published Threefry vectors, the same bits on every backend, and streams that never meet."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haarflow import backends
from haarflow.core import random

VECTORS = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def signed(word):
    return numpy.asarray([word], dtype=numpy.uint32).view(numpy.int32)


@pytest.mark.parametrize(("key", "counter", "expected"), VECTORS)
def test_published_vectors(backend, key, counter, expected):
    words = random.threefry(*[backend.asarray(signed(word)) for word in (*key, *counter)])
    assert tuple(int(backend.to_numpy(word)[0]) & 0xFFFFFFFF for word in words) == expected


def draws(backend, seed):
    key = random.key(seed, backend)
    batched = random.fold_in(random.split(key, 3), 11)
    return {
        "split": random.split(key, 4),
        "fold": random.fold_in(batched, backend.asarray(numpy.asarray([5, -6, 7]))),
        "words": random.words(key, (2, 5)),
        "uniform64": random.uniform(batched, (2, 3)),
        "uniform32": random.uniform(batched, (5,), "float32"),
        "normal64": random.normal(batched, (7,)),
    }


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 12345])
def test_the_same_bits_on_every_backend(backend, host, seed):
    for name, drawn in draws(backend, seed).items():
        expected = draws(host, seed)[name]
        found = backend.to_numpy(drawn)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        if name.startswith("normal"):
            assert numpy.max(numpy.abs(found - expected)) < 4e-15
        else:
            assert numpy.array_equal(found, expected)


def test_the_same_bits_when_compiled(autodiff_backend, host):
    compiled = autodiff_backend.jit(lambda key: random.uniform(random.fold_in(key, 3), (4, 4)))
    expected = random.uniform(random.fold_in(random.key(9, host), 3), (4, 4))
    assert numpy.array_equal(autodiff_backend.to_numpy(compiled(random.key(9, autodiff_backend))), expected)


def test_batched_keys_draw_what_each_key_draws_alone(host):
    keys = random.split(random.key(1, host), 4)
    together = random.uniform(keys, (3,))
    assert numpy.array_equal(together, numpy.stack([random.uniform(keys[i, :], (3,)) for i in range(4)]))


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


def test_moments(host):
    """10^6 draws: each mean within 4.5 sigma (chance of luck 7e-6 each, seed fixed)."""
    n = 10**6
    u = random.uniform(random.key(3, host), (n,))
    z = random.normal(random.key(4, host), (n,))
    assert abs(u.mean() - 0.5) < 4.5 * numpy.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 4.5 * numpy.sqrt(1 / 180 / n)
    assert abs(z.mean()) < 4.5 / numpy.sqrt(n)
    assert abs((z**2).mean() - 1) < 4.5 * numpy.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 4.5 * numpy.sqrt(96 / n)
    assert abs((z[1:] * z[:-1]).mean()) < 4.5 / numpy.sqrt(n)


def test_bad_seeds_and_types_are_refused(host):
    with pytest.raises(ValueError, match="whole number in"):
        random.key(-1, host)
    with pytest.raises(ValueError, match="'float64' or 'float32'"):
        random.uniform(random.key(0, host), (2,), "float16")
