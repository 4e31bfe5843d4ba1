"""Wrong solvers, rational approximations and ends of spectra, each with the laws that must catch it."""

import inspect
from dataclasses import dataclass
from types import ModuleType

from array_api_compat import array_namespace

from haarflow.core.laws.solvers import Approximation, Solver, Spectrum
from haarflow.core.solvers import lanczos, multishift
from haarflow.core.solvers.cg import cg, cg_pass
from haarflow.core.solvers.rational import zolotarev
from haarflow.core.solvers.rows import counts, norm, rows_of
from haarflow.core.solvers.solution import Solution
from haarflow.verification.solver_objects import SHIFTS
from tests.mutants import Mutant


def rewritten(module, right, wrong):
    """The module with one expression replaced by another; it must stand there exactly once."""
    source = inspect.getsource(module)
    assert source.count(right) == 1, f"{right!r} stands {source.count(right)} times in {module.__name__}"
    made = ModuleType(module.__name__ + "_mutant")
    exec(compile(source.replace(right, wrong), module.__name__, "exec"), made.__dict__)
    return made


def always_converged(apply, b, tolerance, max_steps, batch_axes):
    found = cg(apply, b, tolerance, max_steps, batch_axes)
    return found._replace(converged=found.converged | ~found.converged)


def residual_of_the_recursion(apply, b, tolerance, max_steps, batch_axes):
    """Believes that the recursion has reached what it aimed at, unless the steps are used up."""
    system = rows_of(apply, b, batch_axes)
    size = norm(system.b)
    x, steps = cg_pass(system.apply, system.b, tolerance * size, counts(system.b, max_steps))
    done = steps < max_steps
    xp = array_namespace(b)
    residual = xp.where(done, tolerance * xp.ones_like(size), xp.ones_like(size))
    return Solution(system.field(x), done, residual, steps)


def one_space_for_the_batch(apply, b, tolerance, max_steps, batch_axes):
    """The batch is one system: its configurations share step sizes."""
    xp, found = array_namespace(b), cg(apply, b, tolerance, max_steps)
    rows = xp.zeros(b.shape[:batch_axes], dtype=xp.int32)
    return Solution(found.x, found.converged & (rows == 0), found.residual + 0.0 * rows, found.steps + rows)


def never_frozen(apply, b, tolerance, max_steps, batch_axes):
    """All configurations take the steps of the slowest."""
    found, system = cg(apply, b, tolerance, max_steps, batch_axes), rows_of(apply, b, batch_axes)
    xp = array_namespace(b)
    budget = xp.zeros_like(counts(system.b)) + xp.astype(xp.max(found.steps), xp.int32)
    return found._replace(x=system.field(cg_pass(system.apply, system.b, 0.0 * norm(system.b), budget)[0]))


def norm_for_its_square(apply, b, tolerance, max_steps, batch_axes):
    found = cg(apply, b, tolerance**0.5, max_steps, batch_axes)
    return found


def shifted(right, wrong):
    """Multi-shift CG with one expression replaced."""
    module = rewritten(multishift, right, wrong)

    def solve(apply, b, tolerance, max_steps, batch_axes):
        return module.multishift(apply, b, SHIFTS, tolerance, max_steps, batch_axes)

    return lambda lattice: Solver(solve, shifts=SHIFTS)


def first_shift_for_all(apply, b, tolerance, max_steps, batch_axes):
    return multishift.multishift(apply, b, SHIFTS[:1] * len(SHIFTS), tolerance, max_steps, batch_axes)


def of_a_solver(solve):
    return lambda lattice: Solver(solve, shifts=SHIFTS if solve is first_shift_for_all else ())


@dataclass(frozen=True)
class Changed:
    """Zolotarev's approximation with some entries changed."""

    change: object

    def __call__(self, n, lowest, highest):
        return self.change(zolotarev(n, lowest, highest))


def exchanged(found):
    return found._replace(zeros=found.poles, poles=found.zeros)


def of_one_pole_more(found):
    return found._replace(error=zolotarev(len(found.poles) + 1, *found.interval).error)


def residues_without_signs(found):
    return found._replace(residues=tuple(map(abs, found.residues[:-1])) + (-found.residues[-1],))


def on_the_unit_interval(n, lowest, highest):
    return zolotarev(n, lowest / highest)


def ends_by(right, wrong):
    """Lanczos' recursion with one expression replaced."""
    return lambda lattice: Spectrum(rewritten(lanczos, right, wrong).spectrum_ends)


def of_an_approximation(make):
    return lambda lattice: Approximation(make)


MUTANTS = (
    Mutant("the residual of the recursion", "solver", of_a_solver(residual_of_the_recursion), ("true_residual",)),
    Mutant("always converged", "solver", of_a_solver(always_converged), ("says_unconverged",)),
    Mutant(
        "one Krylov space for the batch",
        "solver",
        of_a_solver(one_space_for_the_batch),
        ("batch_as_single", "rows_apart"),
    ),
    Mutant("configurations never frozen", "solver", of_a_solver(never_frozen), ("rows_apart",)),
    Mutant(
        "the norm where its square belongs",
        "solver",
        of_a_solver(norm_for_its_square),
        ("equals_dense", "says_unconverged"),
    ),
    Mutant("the first shift for all", "solver", of_a_solver(first_shift_for_all), ("equals_dense",)),
    Mutant(
        "a shift's update one step late",
        "solver",
        shifted("x + times(alpha * q, p)", "x + times(alpha * state[3], p)"),
        ("one_space",),
    ),
    Mutant("a shift's direction with q for q^2", "solver", shifted("beta * q * q", "beta * q"), ("one_space",)),
    Mutant("zeros and poles exchanged", "solver", of_an_approximation(Changed(exchanged)), ("bounded_error",)),
    Mutant("the error of one pole more", "solver", of_an_approximation(Changed(of_one_pole_more)), ("bounded_error",)),
    Mutant(
        "a residue of the wrong sign",
        "solver",
        of_an_approximation(Changed(residues_without_signs)),
        ("bounded_error",),
    ),
    Mutant("an interval that ends at one", "solver", of_an_approximation(on_the_unit_interval), ("bounded_error",)),
    Mutant("Lanczos without the vector before", "solver", ends_by(" - times(beta, before)", ""), ("ends_of_spectrum",)),
    Mutant(
        "a spectrum's ends said to be exact",
        "solver",
        ends_by("errors[:, 0], errors[:, -1]", "0.0 * errors[:, 0], 0.0 * errors[:, -1]"),
        ("ends_of_spectrum",),
    ),
    Mutant(
        "nothing for an exhausted space",
        "solver",
        ends_by("xp.where(alive, alpha, mean)", "alpha"),
        ("ends_of_spectrum",),
    ),
)
