"""One law checked for one object on one backend: Hypothesis draws the fields of `Given` and shrinks failures.

The result names the law, the object, the backend, the largest residual over its tolerance, and for a failure the smallest
example as a line of Python that repeats it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import hypothesis
import numpy
from hypothesis import strategies as st

from haarflow import backends
from haarflow.core.laws import strategies
from haarflow.core.laws.law import VOID, Given, Law, Verdict
from haarflow.run.faults import fault
from haarflow.verification.entry import Entry

# Numbers of examples by profile for backends that compile each shape or are slow; others use core.laws.strategies.PROFILES.
COMPILED = {"quick": 1, "ci": 3, "deep": 30}
COMPILES = ("jax", "torch", "cupy", "standard")


class Result(NamedTuple):
    """The result of a law for an object on a backend; `passed` is None if it does not apply, and `reason` says why."""

    law: str
    object: str
    backend: str
    dtype: str
    residual: float | None
    tolerance: float | None
    passed: bool | None
    reason: str
    example: str | None = None

    @property
    def ratio(self) -> float | None:
        """The residual in units of the tolerance."""
        if self.residual is None or self.tolerance is None:
            return None
        return Verdict(self.law, "", self.residual, self.tolerance, "").ratio


class _Failed(Exception):
    """The law fails for this example; Hypothesis sees this and shrinks the example."""


def check(
    law: Law,
    entry: Entry,
    backend: Any,
    dtype: str = "float64",
    profile: str = "quick",
    member: str = "",
    drawn: bool = True,
    run: Collection[str] = (),
    barrier: Result | None = None,
) -> Result:
    """Return the result of one law for one entry; an exception in object or law is a failure with its message and line.

    `member` is the name under which the backend is listed, by default its own; without `drawn` only the plain example
    is checked. `run` lists the backends of the whole run, which may stand in for each other in the quick profile.
    `barrier` is the failure of a law that comes first, after which the others make no sense and are skipped.
    """
    name = member or backend.name
    stands = Result(law.name, entry.name, name, dtype, None, None, None, "")
    try:
        first = entry.make(entry.lattices[0])
        reason, expensive = law.applies(first), law.expensive(first)
    except Exception as error:
        return result_of(law, entry, name, dtype, None, fault(error))
    if reason is None and profile == "quick":
        reason = left_out(law, backend, drawn, run)
    if reason is None and barrier is not None and not law.first:
        reason = f"{barrier.law} does not hold: {barrier.reason}"
    if reason is not None:
        return stands._replace(reason=reason)
    found = Explored([], [])
    plain_only = law.sampled or (profile == "quick" and expensive)

    def once(given: Given) -> None:  # Hypothesis wants a function
        _once(law, entry, found, given)

    try:
        _explore(once, entry, backend, dtype, profile, drawn and not plain_only)
    except (_Failed, hypothesis.errors.Flaky):
        given, verdict, said = found.failures[-1]
        return result_of(law, entry, name, dtype, verdict, said)._replace(example=spoken(law, entry, name, given))
    informative = [verdict for verdict in found.verdicts if not verdict.void]
    if not informative:
        return stands._replace(reason=found.verdicts[0].reason.removeprefix(VOID))
    return result_of(law, entry, name, dtype, max(informative, key=lambda verdict: verdict.ratio), "")


def barrier(laws: Iterable[Law], entry: Entry, dtype: str = "float64") -> Result | None:
    """Return the first failure among the laws that come first, checked on NumPy, or None.

    An exception is not counted: the other laws raise it too, and report it.
    """
    for law in laws:
        if not law.first:
            continue
        try:
            obj = entry.make(entry.lattices[0])
        except Exception:
            return None
        verdict, said = attempt(law, obj, Given(entry.lattices[0], dtype=dtype))
        if verdict is not None and not verdict.passed:
            return result_of(law, entry, "numpy", dtype, verdict, said)
    return None


def _once(law: Law, entry: Entry, found: Explored, given: Given) -> None:
    """Check one example and record the outcome; a failure is raised so that Hypothesis can shrink it."""
    verdict, said = attempt(law, entry.make(given.lattice), given)
    if verdict is None or not verdict.passed:
        found.failures.append((given, verdict, said))
        raise _Failed
    found.verdicts.append(verdict)


def left_out(law: Law, backend: Any, drawn: bool, run: Collection[str]) -> str | None:
    """Return why the quick profile leaves a law to the other backends of a run, or None."""
    if law.sampled and not drawn:
        return "the quick profile runs Monte Carlo for one object of each class only"
    if "numpy" in run and law.sampled and backend.name == "standard":
        return "draws on strict arrays are those of NumPy, where they are checked"
    if "numpy" in run and law.shared_draws and backend.name != "numpy":
        return "draws are identical on all backends, so only NumPy is checked"
    if law.programs and backend.name == "jax" and any(not name.startswith("jax") for name in run):
        return "it compiles separate programs, which is left to the profile ci"
    return None


class Explored(NamedTuple):
    """The outcomes of the examples of one law."""

    verdicts: list[Verdict]
    failures: list[tuple[Given, Verdict | None, str]]


def result_of(law: Law, entry: Entry, name: str, dtype: str, verdict: Verdict | None, said: str) -> Result:
    """Return the result of a verdict, or of the exception raised instead."""
    if verdict is None:
        return Result(law.name, entry.name, name, dtype, math.inf, 0.0, False, said)
    return Result(
        law.name, entry.name, name, dtype, verdict.residual, verdict.tolerance, verdict.passed, verdict.reason
    )


def attempt(law: Law, obj: Any, given: Given) -> tuple[Verdict | None, str]:
    """Return the verdict on one example, or None and the exception raised."""
    try:
        with warnings.catch_warnings(), numpy.errstate(all="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            return law.verdict(obj, given), ""
    except Exception as error:
        return None, fault(error)


def _explore(once: Callable[..., Any], entry: Entry, backend: Any, dtype: str, profile: str, drawn: bool) -> None:
    """Run `once` on the plain example and on drawn ones; a Monte Carlo law only on the plain one, from seed 0."""
    plain = Given(entry.lattices[0], dtype=dtype, backend=backend)
    compiles = backend.name in COMPILES
    if not drawn or (compiles and COMPILED[profile] == 1):
        once(plain)
        return
    settings = hypothesis.settings(
        strategies.profile(profile),
        max_examples=COMPILED[profile] if compiles else strategies.PROFILES[profile]["max_examples"],
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
    )
    words = strategies.givens(st.sampled_from(entry.lattices), backend, dtype)
    settings(hypothesis.example(plain)(hypothesis.given(words)(once)))()


def spoken(law: Law, entry: Entry, name: str, given: Given) -> str:
    """Return a line of Python that repeats one example."""
    words = repr(replace(given, backend=backends.get("numpy")))
    source = entry.source or repr(entry.name)
    return f"haarflow.verify({source}, laws={law.name!r}, backend={name!r}, given={words})"
