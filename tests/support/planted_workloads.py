"""Workloads for tests of the bench: `haarflow bench --work tests.support.planted_workloads:NAME`."""

from haarflow.benchmarks.harness.workloads import Job, action, force


def right_and_fast(problem, backend):
    """The action on every backend."""
    return action(problem, backend)


def wrong_on_strict(problem, backend):
    """The force, off by one part in a million on one backend, as if digits had been lost."""
    job = force(problem, backend)
    factor = 1.0 + 1e-6 if backend.name == "standard" else 1.0
    return Job(lambda: factor * job.call(), job.items, job.unit)


def not_finite(problem, backend):
    """A force that is NaN everywhere, on every backend."""
    job = force(problem, backend)
    return Job(lambda: float("nan") * job.call(), job.items, job.unit)


def breaks(problem, backend):
    """A workload that raises an error when it is built."""
    raise RuntimeError("planted")
