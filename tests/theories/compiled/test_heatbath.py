"""Compiled sweeps of the SU(N) heat bath against their plain twin by arrays: every group, shape, key and coupling."""

import math
from dataclasses import replace

import numpy
import pytest

from haarflow import backends
from haarflow.backends.compiled import vector
from haarflow.core import random
from haarflow.core.acceleration import kernels_of
from haarflow.core.chains.heatbath_sun import SUNHeatBath
from haarflow.theories import SUNGauge, with_parts
from haarflow.theories.compiled import heatbath

pytestmark = pytest.mark.skipif(not vector.is_present(), reason="compiled kernels need numba: haarflow[compiled]")

# Extents 2 and more, more and fewer chains than fill a register, all tries failing somewhere; small and large k.
CASES = {
    "su2 2d": (SUNGauge((4, 6), n=2), (3,), {"tries": 1}),
    "su2 4d": (SUNGauge((2, 4, 2, 2), n=2), (), {"overrelaxation": 2}),
    "su3 2d": (SUNGauge((2, 8), n=3), (2, 3), {"overrelaxation": 1}),
    "su3 one chain": (SUNGauge((6, 4), n=3), (), {"tries": 3}),
    "su3 3d": (SUNGauge((2, 4, 6), n=3), (5,), {"tries": 2}),
    "su3 many chains": (SUNGauge((2, 2), n=3), (70,), {}),
    "su4 2d": (SUNGauge((4, 2), n=4), (2,), {}),
}


def start(theory, batch, backend):
    """Haar links and a beta for each chain, from Haar measure to cold."""
    links = theory.group.haar(random.key(1, backends.get("numpy")), (*batch, *theory.field_shape))
    return backend.asarray(links), backend.asarray(numpy.linspace(0.0, 40.0, math.prod(batch)).reshape(batch))


def twin(kernel, key, links):
    """The sweeps by arrays: links and the fraction of steps left out."""
    theory = kernel.theory
    coupling = theory.conditional.strength(links, kernel.values["couplings"])
    found, failed = kernel.by_arrays(key, links, coupling)
    return found, failed / (len(theory.group.subgroups) * theory.d * math.prod(theory.lattice))


@pytest.mark.parametrize("keys", ["one key", "a key a chain"])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_sweeps_by_arrays(name, keys, host):
    """Links to rounding, which reflections with small |q| enlarge, and every failure counted."""
    theory, batch, words = CASES[name]
    links, beta = start(theory, batch, host)
    kernel = SUNHeatBath(theory, values={"couplings": {"beta": beta if batch else 6.0}}, **words)
    key = random.key(2**40 + 3, host)
    if keys != "one key" and batch:
        key = random.split(key, math.prod(batch)).reshape(*batch, 2)
    wanted, failed = twin(kernel, key, links)
    state, info = kernel.step(key, kernel.init(links))
    assert state.field.shape == links.shape and info["failed"].shape == batch
    assert numpy.abs(state.field - wanted).max() < 1e-9
    assert numpy.median(numpy.abs(state.field - wanted)) < 1e-14
    assert numpy.array_equal(info["failed"], failed)
    assert ("tries" not in words or words["tries"] > 1) or failed.max() > 0


@pytest.mark.parametrize("filled, cached", [(1, 1), (16, 2000), (64, 2**17)])
def test_blocks_of_chains_change_no_number(filled, cached, host, monkeypatch):
    """Blocks of as many chains as one register takes, of some and of all of them, the last one not full: bit for bit."""
    theory = SUNGauge((4, 2), n=2)
    links, beta = start(theory, (11,), host)
    kernel = SUNHeatBath(theory, values={"couplings": {"beta": beta}})
    plain = kernel.step(random.key(5, host), kernel.init(links))[0].field
    monkeypatch.setattr(heatbath, "FILLED", filled)
    monkeypatch.setattr(heatbath, "CACHED", cached)
    assert numpy.array_equal(kernel.step(random.key(5, host), kernel.init(links))[0].field, plain)
    assert numpy.abs(twin(kernel, random.key(5, host), links)[0] - plain).max() < 1e-9


def test_on_every_backend(backend, host):
    """From the engine's own arrays, compiled and under vmap where there is one."""
    theory = SUNGauge((2, 4), n=2)
    links, beta = start(theory, (2, 3), backend)
    keys = backend.asarray(random.split(random.key(7, host), 2), dtype="int32")

    def sweep(key, links, beta):
        kernel = SUNHeatBath(theory, overrelaxation=1, values={"couplings": {"beta": beta}})
        state, info = kernel.step(key, kernel.init(links))
        return state.field, info["failed"]

    wanted = [
        twin(SUNHeatBath(theory, overrelaxation=1, values={"couplings": {"beta": b}}), k, x)
        for k, x, b in zip(*(backend.to_numpy(x) for x in (keys, links, beta)), strict=True)
    ]
    for number, (field, failed) in enumerate(wanted):
        for way in (sweep, backend.jit(sweep)):
            found = [backend.to_numpy(x) for x in way(keys[number, ...], links[number, ...], beta[number, ...])]
            assert numpy.abs(found[0] - field).max() < 1e-11 and numpy.array_equal(found[1], failed)
    found = [backend.to_numpy(x) for x in backend.vmap(sweep)(keys, links, beta)]
    assert numpy.abs(found[0] - numpy.stack([field for field, _ in wanted])).max() < 1e-11
    assert numpy.array_equal(found[1], numpy.stack([failed for _, failed in wanted]))


def test_derivatives_are_those_of_the_plain_twin(backend, host):
    """Of the drawn links with respect to beta, at fixed uniform numbers."""
    if not backend.autodiff:
        pytest.skip("no autodiff")
    theory, key = SUNGauge((2, 2), n=2), random.key(3, backend)
    links, _ = start(theory, (2,), backend)
    xp = backend.xp

    def through(way):
        def total(beta):
            kernel = SUNHeatBath(theory, tries=1, values={"couplings": {"beta": beta}})
            return xp.sum(xp.real(way(kernel)) * backend.asarray(numpy.arange(64.0).reshape(2, 2, 2, 2, 2, 2)))

        slope = backend.jit(lambda beta: backend.value_and_grad(total)(beta)[1])
        return backend.to_numpy(slope(backend.asarray([2.0, 3.0])))

    found = through(lambda kernel: kernel.step(key, kernel.init(links))[0].field)
    wanted = through(lambda kernel: twin(kernel, key, links)[0])
    assert numpy.abs(found).min() > 1e-3 and numpy.abs(found - wanted).max() < 1e-10 * numpy.abs(wanted).max()


def test_declines_what_it_has_no_kernel_for(host):
    plain, key = SUNGauge((2, 2)), random.key(0, host)
    staple = lambda field, mu, couplings=None: 2.0 * plain.staple(field, mu)  # noqa: E731
    doubled = with_parts(plain, conditional=replace(plain.conditional, staple=staple))
    for theory in (SUNGauge((2, 2), n=5), SUNGauge((4, 4), rectangle=-1 / 12), SUNGauge((2, 3)), doubled):
        assert kernels_of(theory).sweep(key, start(theory, (1,), host)[0], 1.0, 4, 0, None) is None
    assert kernels_of(plain).sweep(key, start(plain, (1,), host)[0].astype("complex64"), 1.0, 4, 0, None) is None


def test_nothing_is_written_into_what_is_given_and_no_chains(host):
    theory = SUNGauge((2, 2), n=2)
    for batch in ((2,), (0,)):
        links, _ = start(theory, batch, host)
        links.flags.writeable, before = False, links.copy()
        kernel = SUNHeatBath(theory, values={"couplings": {"beta": 2.0}})
        state, info = kernel.step(random.key(0, host), kernel.init(links))
        assert state.field.shape == links.shape and info["failed"].shape == batch
        assert numpy.array_equal(links, before)
