"""What each test file costs: CPU seconds, what compilers take of them, and memory. `make costs` prints the dearest files and tests.

A plugin of pytest (`-p tests.support.costs`). Every test takes its costs along in its report, so those of xdist's workers come home
too. Seconds of compilers are wall seconds; CPU seconds are those of the process and of the children that it has waited for.
"""

import collections
import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from haarflow.benchmarks.harness.meter import resident

SHOWN = 40  # files, and half as many tests
STARTED = pytest.StashKey()
SPENT: collections.Counter = collections.Counter()  # seconds that the compilers of this process have taken
COSTS: dict[str, list[float]] = {}  # by test


class Cost(NamedTuple):
    """CPU seconds, seconds in JAX's tracing and XLA, in Numba and in the compiler of bodies; MiB kept, and at the peak."""

    cpu: float
    tracing: float
    xla: float
    numba: float
    bodies: float
    kept: float
    peak: float


def pytest_configure():
    """Listen to the compilers that are installed."""
    with contextlib.suppress(ImportError):
        import jax

        jax.monitoring.register_event_duration_secs_listener(_listen)
    with contextlib.suppress(ImportError):
        from numba.core import dispatcher

        from haarflow.backends.compiled import vector

        dispatcher.Dispatcher.compile = _timed(dispatcher.Dispatcher.compile, "numba")
        vector.Code.__init__ = _timed(vector.Code.__init__, "bodies")


def _listen(name, seconds, **_):
    SPENT["xla" if "backend_compile" in name else "tracing" if "jaxpr" in name else "other"] += seconds


def _timed(function, kind):
    """Return the function, its seconds added up under `kind`; those of a call within a call count once."""
    depth = [0]

    def run(*args, **words):
        begun, depth[0] = time.perf_counter(), depth[0] + 1
        try:
            return function(*args, **words)
        finally:
            depth[0] -= 1
            SPENT[kind] += 0.0 if depth[0] else time.perf_counter() - begun

    return run


def _now():
    return Cost(sum(os.times()[:4]), *(SPENT[kind] for kind in Cost._fields[1:5]), *resident())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    """Open the bill of a test; the peak of memory begins anew where the system lets it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    item.stash[STARTED] = _now()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """Put the bill into the report."""
    found = yield
    now = _now()
    spent = [after - before for before, after in zip(item.stash[STARTED], now, strict=True)]
    item.user_properties.append(("cost", [*spent[:-1], now.peak]))
    return found


def pytest_runtest_logreport(report):
    """Collect the bills."""
    if report.when == "teardown":
        COSTS[report.nodeid] = dict(report.user_properties)["cost"]


def pytest_terminal_summary(terminalreporter):
    """Print the files and the tests that took most CPU."""
    files = collections.defaultdict(list)
    for test, cost in COSTS.items():
        files[test.partition("::")[0]].append(cost)
    summed = {"ALL": _summed(COSTS.values()), **_dearest({file: _summed(bill) for file, bill in files.items()}, SHOWN)}
    for rows in (summed, _dearest(COSTS, SHOWN // 2)):
        terminalreporter.write_line("".join(f"{name:>9}" for name in Cost._fields))
        for name, cost in rows.items():
            terminalreporter.write_line("".join(f"{number:9.1f}" for number in cost) + f"  {name}")


def _summed(costs):
    *spent, peaks = zip(*costs, strict=True)
    return [*map(sum, spent), max(peaks)]


def _dearest(costs, number):
    return dict(sorted(costs.items(), key=lambda row: -row[1][0])[:number])
