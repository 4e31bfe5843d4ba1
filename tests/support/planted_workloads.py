"""Works for tests of the bench: `haarflow bench --work tests.support.planted_workloads:NAME`."""

from haarflow.benchmarks.harness.workloads import Job, action, force


def right_and_fast(problem, backend):
    """The action on every engine."""
    return action(problem, backend)


def wrong_on_strict(problem, backend):
    """The force, a part in a million off on one engine: what a lost digit looks like."""
    job = force(problem, backend)
    factor = 1.0 + 1e-6 if backend.name == "standard" else 1.0
    return Job(lambda: factor * job.call(), job.items, job.unit)


def not_finite(problem, backend):
    """A force of nothing but NaN, equal everywhere."""
    job = force(problem, backend)
    return Job(lambda: float("nan") * job.call(), job.items, job.unit)


def breaks(problem, backend):
    """A work that raises an error where it is built."""
    raise RuntimeError("planted")
