"""Laws of solvers: the residual is the true one, nothing unconverged goes as a number, configurations do not meet.

All maps are random matrices with a known spectrum, made on the host, where the references are computed in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy
from array_api_compat import array_namespace

from haarflow.backends.types import Array
from haarflow.core.laws.law import Given, Law, Verdict, judge, largest, to_host
from haarflow.core.solvers.cg import cg
from haarflow.core.solvers.lanczos import Ends
from haarflow.core.solvers.rational import Rational
from haarflow.core.solvers.solution import Solution

TOLERANCE = {"float64": 1e-9, "float32": 2e-5}
SCALES = {"zero": 0.0, "small": 1e-12, "one": 1.0, "large": 1e12}
STEPS = 400


class Solver(NamedTuple):
    """A solver as the laws see it: `solve(apply, b, tolerance, max_steps, batch_axes)` for maps that may have to be `positive`.

    With `shifts`, one of them zero, it solves (A + sigma) x = b for all of them, on a first axis of the result. The maps of the laws act on
    fields of both precisions.
    """

    solve: Callable[..., Solution]
    positive: bool = True
    shifts: tuple[float, ...] = ()


class Approximation(NamedTuple):
    """A maker of rational functions that approximate 1/sqrt(x): `make(n, lowest, highest)`."""

    make: Callable[[int, float, float], Rational]


class Spectrum(NamedTuple):
    """A finder of the ends of a spectrum: `find(apply, start, steps, batch_axes)`."""

    find: Callable[..., Ends]


def spectral(given: Given, conditions: tuple[float, ...], positive: bool, salt: int = 0) -> numpy.ndarray:
    """Return matrices `(len(conditions), n, n)` with those condition numbers, complex for even seeds; n is the lattice's volume.

    Positive ones are U D U^+, others U D V^+ near U D U^+, with D between 1/condition and 1.

    >>> numpy.linalg.cond(spectral(Given((2, 2)), (1.0, 100.0), positive=True)).round(8).tolist()
    [1.0, 100.0]
    """
    n, host = math.prod(given.lattice), given.generator(20 + salt)
    shape = (len(conditions), n, n)
    z = host.standard_normal(shape) + (1j * host.standard_normal(shape) if given.seed % 2 == 0 else 0.0)
    turn = host.standard_normal(shape) * (0.1 / math.sqrt(n))
    left = numpy.linalg.qr(z)[0]
    right = left if positive else left @ numpy.linalg.qr(numpy.eye(n) + turn)[0]
    inside = numpy.sort(host.uniform(0.0, 1.0, (len(conditions), n)), axis=1)
    inside = (inside - inside[:, :1]) / numpy.maximum(inside[:, -1:] - inside[:, :1], 1e-9)
    values = numpy.asarray(conditions)[:, None] ** (inside - 1.0)
    result: numpy.ndarray = (left * values[:, None, :]) @ right.conj().swapaxes(-1, -2)
    return result


def sources(given: Given, matrices: numpy.ndarray, salt: int = 0) -> numpy.ndarray:
    """Return right-hand sides `(batch, *lattice)` of the size that the example asks for; the first one may be zero."""
    host, shape = given.generator(40 + salt), (len(matrices), *given.lattice)
    b = host.standard_normal(shape) + (1j * host.standard_normal(shape) if numpy.iscomplexobj(matrices) else 0.0)
    if given.size == "zero":
        b[0] = 0.0
    return b * (SCALES[given.size] or 1.0)


class Solved(NamedTuple):
    """A result on the host: `x (shift, batch, n)`, the rest `(shift, batch)`, and the true relative residuals."""

    x: Any
    converged: Any
    residual: Any
    steps: Any
    true: numpy.ndarray
    slack: numpy.ndarray  # rounding of a residual, in its units


def solved(
    solver: Solver,
    given: Given,
    matrices: numpy.ndarray,
    b: numpy.ndarray,
    tolerance: float,
    steps: int,
    grid: float = 0.0,
) -> Solved:
    """Return what the solver gives on the backend, beside residuals in double precision; the map rounds x to a `grid`."""
    a, rhs = given.array(matrices), given.array(b)
    result = _program(given.backend.jit, solver, tolerance, steps, grid)(a, rhs)
    shifts, count = solver.shifts or (0.0,), len(b)
    x = to_host(result.x).astype("complex128").reshape(len(shifts), count, -1)
    converged, residual, taken = (to_host(part).reshape(len(shifts), count) for part in result[1:])
    exact_a, exact_b = to_host(a).astype("complex128"), to_host(rhs).astype("complex128").reshape(count, -1)
    moved = exact_a[None] + numpy.asarray(shifts)[:, None, None, None] * numpy.eye(exact_b.shape[1])
    size = numpy.linalg.norm(exact_b, axis=-1)
    size = numpy.where(size > 0.0, size, 1.0)
    seen = numpy.round(x.real / grid) * grid if grid else x
    true = numpy.linalg.norm(exact_b - (moved @ seen[..., None])[..., 0], axis=-1) / size
    reach = numpy.linalg.norm(moved, axis=(-2, -1)) * numpy.linalg.norm(x, axis=-1) / size + 1.0
    return Solved(x, converged, residual, taken, true, 8.0 * given.epsilon * reach)


@lru_cache(maxsize=64)
def _program(
    jit: Callable[..., Any], solver: Solver, tolerance: float, steps: int, grid: float
) -> Callable[..., Solution]:
    def run(a: Array, b: Array) -> Solution:
        def apply(x: Array) -> Array:
            xp = array_namespace(x)
            x = xp.round(x * (1.0 / grid)) * grid if grid else x
            rows = xp.reshape(x, (a.shape[0], a.shape[1], 1))
            return xp.reshape(xp.matmul(xp.astype(a, x.dtype), rows), x.shape)

        return solver.solve(apply, b, tolerance, steps, 1)

    program: Callable[..., Solution] = jit(run)
    return program


def true_residual(solver: Solver, given: Given) -> Verdict:
    """residual = |b - A x| / |b|, recomputed, also where the map is so coarse that a recursion's own residual drifts away.

    The map rounds x to multiples of 2^-20, in single precision 2^-8, as one of lower precision would.

    >>> from haarflow.core.solvers.cg import cg
    >>> true_residual(Solver(cg), Given((4, 3))).passed
    True
    """
    real = Given(given.lattice, 2 * given.seed + 1, dtype=given.dtype, backend=given.backend)
    matrices, grid = (
        spectral(real, (4.0, 100.0, 30.0), solver.positive),
        2.0 ** {"float64": -20, "float32": -8}[given.dtype],
    )
    b = sources(real, matrices)
    found = solved(solver, real, matrices, b, TOLERANCE[given.dtype], 60, grid if not solver.shifts else 0.0)
    fault = numpy.abs(found.residual - found.true) / found.slack
    return judge(true_residual, fault, 1.0, "rounding of one product, 8 u (|A| |x| + |b|)", matrices=matrices, b=b)


def equals_dense(solver: Solver, given: Given) -> Verdict:
    """x = A^{-1} b by the dense solve, for every shift: |x - A^{-1} b| <= cond(A) tolerance |x|.

    >>> from haarflow.core.solvers.bicgstab import bicgstab
    >>> equals_dense(Solver(bicgstab, positive=False), Given((4, 3))).passed
    True
    """
    conditions = (1.0, 20.0, 5.0)
    matrices = spectral(given, conditions, solver.positive)
    b, tolerance = sources(given, matrices), TOLERANCE[given.dtype]
    found = solved(solver, given, matrices, b, tolerance, STEPS)
    rhs = numpy.asarray(to_host(given.array(b)), dtype="complex128").reshape(len(b), -1, 1)
    shifts = numpy.asarray(solver.shifts or (0.0,))[:, None, None, None]
    exact_a = to_host(given.array(matrices)).astype("complex128") + shifts * numpy.eye(rhs.shape[1])
    exact = numpy.linalg.solve(exact_a, rhs[None])[..., 0]
    size = numpy.linalg.norm(exact, axis=-1)
    fault = numpy.linalg.norm(found.x - exact, axis=-1) / numpy.where(size > 0.0, size, 1.0)
    bound = 1.1 * numpy.asarray(conditions) * (tolerance + 8 * given.epsilon)
    return judge(equals_dense, fault / bound, 1.0, "the condition number times the tolerance", matrices=matrices, b=b)


def says_unconverged(solver: Solver, given: Given) -> Verdict:
    """converged is true where the recomputed residual is at most the tolerance, and nowhere else; steps stay in their budget.

    Two steps are enough for A = 1 and for no other configuration; a singular map has no solution at any number of steps. The
    residual of this law is the number of wrong words.

    >>> from haarflow.core.solvers.cg import cg
    >>> says_unconverged(Solver(cg), Given((4, 3))).passed
    True
    """
    matrices = spectral(given, (1.0, 1e3, 1e3), solver.positive)
    matrices[0] = numpy.eye(matrices.shape[1])
    matrices[2] = matrices[2] - matrices[2][:, :1] * (numpy.arange(matrices.shape[1]) == 0)  # its first column is zero
    if solver.positive:
        matrices[2] = numpy.diag(numpy.arange(matrices.shape[1]) > 0)
    b, tolerance = sources(given, matrices), TOLERANCE[given.dtype]
    few = solved(solver, given, matrices, b, tolerance, 2)
    many = solved(solver, given, matrices, b, tolerance, 60)
    wrong = 0
    for found, budget in ((few, 2), (many, 60)):
        sure = numpy.abs(found.true - tolerance) > found.slack
        wrong += int(((found.converged != (found.true <= tolerance)) & sure).sum()) + int((found.steps > budget).sum())
        wrong += int((~found.converged[:, 0]).sum())
    wrong += int(few.converged[:, 1].sum()) if not solver.shifts else 0
    singular = solver.shifts.index(0.0) if solver.shifts else 0
    wrong += int(few.converged[singular, 2]) + int(many.converged[singular, 2])
    return judge(says_unconverged, wrong, 0.0, "words, not numbers", matrices=matrices, b=b)


def rows_apart(solver: Solver, given: Given) -> Verdict:
    """A configuration's numbers do not depend on its neighbours, bit for bit: each is frozen once it has converged.

    >>> from haarflow.core.solvers.cg import cg
    >>> rows_apart(Solver(cg), Given((4, 3))).passed
    True
    """
    ours, tolerance = spectral(given, (30.0, 2.0, 1.0), solver.positive), TOLERANCE[given.dtype]
    others = spectral(given, (30.0, 300.0, 10.0), solver.positive, salt=1)
    others[0], b, c = ours[0], sources(given, ours), sources(given, ours, salt=1)
    b[0] = c[0] = b[0] if given.size != "zero" else b[1]
    one, two = (solved(solver, given, a, rhs, tolerance, STEPS) for a, rhs in ((ours, b), (others, c)))
    faults = [largest(getattr(one, name)[:, 0] - getattr(two, name)[:, 0]) for name in ("x", "residual", "steps")]
    return judge(
        rows_apart, max(faults), 0.0, "the same program on the same numbers", ours=ours, others=others, b=b, c=c
    )


def batch_as_single(solver: Solver, given: Given) -> Verdict:
    """A batch takes the steps and gives the solutions of its configurations alone.

    Steps may differ by one, where rounding decides about the last.

    >>> from haarflow.core.solvers.cg import cg
    >>> batch_as_single(Solver(cg), Given((4, 3))).passed
    True
    """
    conditions = (30.0, 2.0, 8.0)
    matrices, tolerance = spectral(given, conditions, solver.positive), TOLERANCE[given.dtype]
    b = sources(given, matrices)
    batch = solved(solver, given, matrices, b, tolerance, STEPS)
    fault = 0.0
    for row in range(len(b)):
        alone = solved(solver, given, matrices[row : row + 1], b[row : row + 1], tolerance, STEPS)
        size = max(numpy.linalg.norm(alone.x[:, 0], axis=-1).max(), numpy.finfo("float64").tiny)
        bound = 2.0 * conditions[row] * (tolerance + 8 * given.epsilon)
        fault = max(fault, float(numpy.linalg.norm(batch.x[:, row] - alone.x[:, 0], axis=-1).max()) / (size * bound))
        fault = max(fault, float(numpy.abs(batch.steps[:, row] - alone.steps[:, 0]).max()) / 1.5)
    return judge(batch_as_single, fault, 1.0, "twice the condition number times the tolerance", matrices=matrices, b=b)


def one_space(solver: Solver, given: Given) -> Verdict:
    """Shifts share one Krylov space: each converges after the steps that `cg` takes for it alone, or one more.

    The residual is the number of steps beyond. Shifted recursions that went wrong would be mended by refinement, at the price
    of steps.

    >>> from haarflow.core.solvers.multishift import multishift
    >>> solve = lambda apply, b, tolerance, steps, axes: multishift(apply, b, (0.0, 0.5), tolerance, steps, axes)
    >>> one_space(Solver(solve, shifts=(0.0, 0.5)), Given((4, 3))).passed
    True
    """
    matrices, tolerance = spectral(given, (30.0, 2.0, 8.0), positive=True), TOLERANCE[given.dtype]
    b = sources(given, matrices)
    shared, excess = solved(solver, given, matrices, b, tolerance, STEPS), 0.0
    for index, shift in enumerate(solver.shifts):
        moved = matrices + shift * numpy.eye(matrices.shape[1])
        alone = solved(Solver(cg), given, moved, b, tolerance, STEPS)
        excess = max(excess, float((shared.steps[index] - alone.steps[0]).max()))
    return judge(one_space, max(excess, 0.0), 1.0, "one step, where rounding decides", matrices=matrices, b=b)


def bounded_error(approximation: Approximation, given: Given) -> Verdict:
    """max |sqrt(x) R(x) - 1| on the interval is the stated error, and the sum over poles is the product over zeros and poles.

    >>> from haarflow.core.solvers.rational import zolotarev
    >>> bounded_error(Approximation(zolotarev), Given(seed=1)).passed
    True
    """
    host = given.generator(60)
    n, lowest, highest = int(host.integers(1, 9)), 10.0 ** host.uniform(-4, -2), 10.0 ** host.uniform(-2, 2)
    found = approximation.make(n, lowest * highest, highest)
    x = highest * numpy.geomspace(lowest, 1.0, 4001)
    product = numpy.asarray([found(float(one)) for one in x]) * numpy.sqrt(x)
    poles = (
        found.scale * (1.0 + sum(r / (x + p) for r, p in zip(found.residues, found.poles, strict=True))) * numpy.sqrt(x)
    )
    rounding = 1e-12 * max(1.0, 1e-3 / lowest)
    reached = abs(largest(product - 1.0) - found.error) / (1e-3 * found.error + rounding)
    fault = max(reached, largest(poles - product) / rounding)
    reason = "a thousandth of the error, for the distance of 4001 points, and rounding"
    return judge(bounded_error, fault, 1.0, reason, n=n, lowest=lowest * highest, highest=highest)


def ends_of_spectrum(spectrum: Spectrum, given: Given) -> Verdict:
    """The ends found are those of the dense spectrum, for n steps or more; after fewer they lie inside, as far off as said.

    >>> from haarflow.core.solvers.lanczos import spectrum_ends
    >>> ends_of_spectrum(Spectrum(spectrum_ends), Given((4, 3))).passed
    True
    """
    matrices = spectral(given, (1.0, 5.0, 50.0), positive=True) - 0.3 * numpy.eye(math.prod(given.lattice))
    matrices[0] = 0.7 * numpy.eye(matrices.shape[1])  # one vector exhausts its space
    start = sources(Given(given.lattice, given.seed), matrices)
    exact = numpy.linalg.eigvalsh(to_host(given.array(matrices)).astype("complex128"))
    rounding, faults = 64 * len(exact[0]) * given.epsilon, []
    for steps, enough in ((3, False), (3 * len(exact[0]), True)):
        ends = _ends(spectrum, given, matrices, start, steps)
        faults += [exact[:, 0] - ends.lowest, ends.highest - exact[:, -1]]
        for value, error in ((ends.lowest, ends.lowest_error), (ends.highest, ends.highest_error)):
            faults.append(numpy.abs(exact - value[:, None]).min(axis=1) - error)
        faults += [ends.lowest - exact[:, 0], exact[:, -1] - ends.highest] if enough else []
    return judge(ends_of_spectrum, max(0.0, max(float(f.max()) for f in faults)), rounding, "64 n u", matrices=matrices)


def _ends(spectrum: Spectrum, given: Given, matrices: numpy.ndarray, start: numpy.ndarray, steps: int) -> Ends:
    def run(a: Array, start: Array) -> Ends:
        xp = array_namespace(a)
        apply = lambda x: xp.reshape(xp.matmul(a, xp.reshape(x, (*a.shape[:2], 1))), x.shape)  # noqa: E731
        return spectrum.find(apply, start, steps, 1)

    return Ends(*map(to_host, given.backend.jit(run)(given.array(matrices), given.array(start))))


def _of(kind: type) -> Callable[[Any], str | None]:
    return lambda obj: None if isinstance(obj, kind) else f"it is a {type(obj).__name__.lower()}"


def _shifted(obj: Any) -> str | None:
    return None if isinstance(obj, Solver) and obj.shifts else "it has no shifts"


SOLVER_LAWS: tuple[Law, ...] = (
    *(
        Law(law, law, _of(Solver))
        for law in (true_residual, equals_dense, says_unconverged, rows_apart, batch_as_single)
    ),
    Law(one_space, one_space, _shifted),
    Law(bounded_error, bounded_error, _of(Approximation)),
    Law(ends_of_spectrum, ends_of_spectrum, _of(Spectrum)),
)
