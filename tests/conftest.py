"""The backend fixture: every function of fields runs on every backend, hostile ones included.

Each xdist worker uses one thread, and JAX runs in 64-bit mode from the start, as on the command line, so that the order
of tests does not matter. Between tests compiled programs are dropped when they fill the memory; with MEMORY_BAR in the
environment the default run fails if a worker took more than `memory.BAR`.
"""

import gc
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # of the workers: arenas of idle threads keep what others have freed
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import hypothesis
import numpy
import pytest

from haarflow import backends
from haarflow.backends import members
from tests.support import gauge_twins, memory

hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=10)
hypothesis.settings.register_profile("deep", deadline=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

ENGINES = ("strict", "jax", "torch", "cupy")
LAWS = Path(__file__).parent / "laws"

ABSENT = {name: reason for name in ENGINES if (reason := members.absence(name))}
MEMBERS = ("numpy", "readonly", *[name for name in ENGINES if name not in ABSENT])


WATCH = memory.Watch()
PEAKS: dict[str, float] = {}
DEFAULT = "not engines and not statistical and not slow"  # addopts of pyproject.toml


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark as a run of their own what further engines add: laws and mutants on another backend than NumPy, which shows what they
    find first and in the least time, and all but the first case of a test on JAX, which compiles every case anew.
    """
    compiled = set()
    for item in items:
        given = item.callspec.params.values() if hasattr(item, "callspec") else ()
        names, test = {one for one in given if isinstance(one, str)}, item.nodeid.partition("[")[0]
        if {"readonly", *ENGINES} & names if item.path.is_relative_to(LAWS) else "jax" in names and test in compiled:
            item.add_marker("engines")
        if "jax" in names:
            compiled.add(test)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Leave what was imported out of every later search for garbage: it stays, and takes a twentieth of the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown():
    """Drop compiled programs if the process has grown."""
    WATCH.look()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Record the peak memory of an xdist worker that has finished."""
    PEAKS[node.gateway.id] = getattr(node, "workeroutput", {}).get("peak", 0.0)


def pytest_sessionfinish(session):
    """Report the peak memory of a worker, or of this process if there are none; with MEMORY_BAR set, fail above the bar."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["peak"] = WATCH.peak
        return
    if not PEAKS:
        PEAKS["this process"] = WATCH.peak
    default = session.config.option.markexpr == DEFAULT and not memory.sees_gpu()
    barred = default and "MEMORY_BAR" in os.environ
    if barred and max(PEAKS.values()) > memory.BAR and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """Print which backends were not tested and the peak memory of every worker."""
    for name, reason in ABSENT.items():
        terminalreporter.write_line(f"NOT TESTED: {name}: {reason}", yellow=True)
    peaks = ", ".join(f"{name} {peak:.0f} MiB" for name, peak in sorted(PEAKS.items()))
    above = max(PEAKS.values(), default=0.0) > memory.BAR
    terminalreporter.write_line(f"PEAK MEMORY: {peaks} (bar of the default run: {memory.BAR:.0f})", red=above)


def member(name):
    """Return one backend of the fixture, or skip with the reason in the summary."""
    if name in ABSENT:
        pytest.skip(f"backend {name} not tested: {ABSENT[name]}")
    if name.startswith("torch"):
        import torch

        torch.set_num_threads(1)
    return members.member(name)


@pytest.fixture(params=MEMBERS)
def backend(request):
    """Every backend in turn."""
    return member(request.param)


@pytest.fixture(params=("jax", "torch"))
def autodiff_backend(request):
    """The backends with automatic differentiation."""
    return member(request.param)


@pytest.fixture
def host():
    """The NumPy backend, which the others are compared with."""
    return backends.get("numpy")


@pytest.fixture
def generator():
    """A seeded NumPy generator for test inputs."""
    return numpy.random.default_rng(20231)


@pytest.fixture(scope="module")
def tiny():
    """The smallest gauge field that every file format can hold."""
    return gauge_twins.random_links(numpy.random.default_rng(6), (2, 2, 2, 2))


@pytest.fixture(scope="module")
def tiny_files(tiny):
    """That field in every format: name -> bytes."""
    return gauge_twins.files_of(tiny)
