"""Wrong determinants, each with the laws that must catch it."""

from array_api_compat import array_namespace

from haarflow.core.broadcasting import of_type
from haarflow.core.lattice.geometry import shift
from haarflow.theories.fermions.determinants import dense, determinant, slices
from haarflow.theories.fermions.determinants.determinant import log_det, log_det_force
from haarflow.theories.fermions.staggered import staggered
from haarflow.theories.fermions.staggered.staggered import Staggered
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.laws.determinant import Form
from tests.mutants import Mutant
from tests.mutants.solvers import rewritten


def of(value=log_det, force=log_det_force):
    """Wilson's operator with a wrong value or force."""
    return lambda lattice: Form(Wilson(lattice), value, force)


def kappa_for_its_square(operator, field, kappa):
    """Schur's complement with one power of kappa."""
    form = operator.even_odd
    prepared = form.prepare(field)
    units = dense._units(field, operator.field_shape, form.packed_shape, prepared.odd)
    root = array_namespace(kappa).sqrt(kappa) if hasattr(kappa, "dtype") else kappa**0.5
    found = dense._determinant(dense._matrix(form.schur(prepared, root, units), form.packed_shape))
    return found.log_abs, found.sign


def periodic_slices(operator, field, kappa):
    """The boundary's sign forgotten."""
    found = determinant.by_slices(Wilson(operator.lattice, operator.n, antiperiodic=False), field, kappa)
    return found.log_abs, found.sign


def without_the_border(operator, field, kappa):
    """Slices of an open chain: the last one is not joined to the first."""
    chain = slices.chain(operator.links(field), kappa, operator.d, operator.n)
    return slices.eliminate(chain._replace(hops=0.0 * chain.hops), slices.pivoted)[:2]


def of_the_first_slice_alone(operator, field, kappa):
    """Slice 0 does not know what it lost through the others in its (-, +) quarter."""
    module = rewritten(slices, "n[0, ...] - corner", "n[0, ...]")
    chain = module.chain(operator.links(field), kappa, operator.d, operator.n)
    return module.eliminate(chain, module.pivoted)[:2]


def never_negative(operator, field, kappa):
    log_abs, sign = log_det(operator, field, kappa)
    return log_abs, sign * sign


def of_the_opposite_sign(operator, field, kappa):
    log_abs, sign = log_det(operator, field, kappa)
    return log_abs, -sign


def of_two_flavours(operator, field, kappa):
    log_abs, sign = log_det(operator, field, kappa)
    return 2.0 * log_abs, sign


def force_of_one_direction(operator, field, kappa):
    """The hop forward alone."""
    return 0.5 * log_det_force(operator, field, kappa)


def force_without_kappa(operator, field, kappa):
    force = log_det_force(operator, field, kappa)
    return force / (of_type(kappa[:, None, None, None], force) if hasattr(kappa, "dtype") else kappa)


def force_of_the_weight(operator, field, kappa):
    return -log_det_force(operator, field, kappa)


def without_the_spatial_spins(operator, field, kappa):
    """Q_k with 1 for 1 - gamma_k."""
    module = rewritten(slices, "g_mp - g_pm", "0.0 * g_mp")
    links = operator.links(field)
    chain = module.chain(links, kappa, operator.d, operator.n)
    found = module.eliminate(chain, module.pivoted, keep=True)
    return determinant._force(operator, links, kappa, module.diagonals(found, chain, operator.lattice))


def derivative_of_the_elimination_without_its_border(operator, field, kappa):
    """The derivative passes through a chain that has been cut."""
    log_abs, sign = log_det(operator, field, kappa)
    cut, _ = without_the_border(operator, field, kappa)
    backend = determinant.backends.of(field)
    return backend.stop_gradient(log_abs - cut) + cut, sign


def staggered_of(phases):
    """Staggered fermions whose hops are multiplied by further signs `(d, *lattice)` of the matrix's rows."""

    def value(operator, field, g):
        xp, sites = array_namespace(field), field[0, ...].shape
        signs = phases(operator)
        d = len(sites)
        size = 1
        for extent in sites:
            size *= extent
        units = xp.reshape(xp.eye(size, dtype=field.dtype), (size, *sites))
        eta = determinant.backends.of(field).asarray(signs, dtype=field.dtype)
        terms = [eta[mu, ...] * shift(units, mu, d) - shift(eta[mu, ...] * units, mu, d, -1) for mu in range(d)]
        hops = xp.matrix_transpose(xp.reshape(0.5 * sum(terms[1:], terms[0]), (size, size)))
        scale = of_type(g[:, None], field) if hasattr(g, "dtype") else g
        masses = scale * xp.reshape(field, (field.shape[0], size))
        sign, log_abs = xp.linalg.slogdet(hops + masses[..., None] * xp.eye(size, dtype=field.dtype))
        return log_abs, sign

    return lambda lattice: Form(Staggered(lattice), value, staggered.log_det_force)


def without_alternating_phase(operator):
    """eta_1 = 1 in place of (-1)^t."""
    phases = staggered._phases(operator).copy()
    phases[1] = 1.0
    return phases


def periodic_in_time(operator):
    return staggered._phases(Staggered(operator.lattice, antiperiodic=False))


def staggered_force_without_g(lattice):
    def force(operator, field, g):
        return staggered.site_diagonal(staggered.inverse(operator, field, g), operator.lattice)

    return Form(Staggered(lattice), staggered.log_det, force)


LATTICE = {"lattice": (4, 4), "seed": 1}  # with two negative determinants of six
MUTANTS = (
    Mutant(
        "kappa for kappa^2 in Schur's complement",
        "determinant",
        of(kappa_for_its_square),
        ("free_momenta", "dense_determinant"),
        LATTICE,
    ),
    Mutant(
        "slices periodic in time", "determinant", of(periodic_slices), ("free_momenta", "dense_determinant"), LATTICE
    ),
    Mutant(
        "slices of an open chain", "determinant", of(without_the_border), ("free_momenta", "dense_determinant"), LATTICE
    ),
    Mutant(
        "slice 0 without what it lost",
        "determinant",
        of(of_the_first_slice_alone),
        ("free_momenta", "dense_determinant"),
        LATTICE,
    ),
    Mutant("a determinant never negative", "determinant", of(never_negative), ("dense_determinant",), LATTICE),
    Mutant(
        "the opposite sign", "determinant", of(of_the_opposite_sign), ("free_momenta", "dense_determinant"), LATTICE
    ),
    Mutant(
        "a power of two flavours", "determinant", of(of_two_flavours), ("free_momenta", "dense_determinant"), LATTICE
    ),
    Mutant(
        "force of the forward hop alone",
        "determinant",
        of(force=force_of_one_direction),
        ("determinant_force",),
        LATTICE,
    ),
    Mutant("force without its kappa", "determinant", of(force=force_without_kappa), ("determinant_force",), LATTICE),
    Mutant(
        "force of the weight, not of ln det",
        "determinant",
        of(force=force_of_the_weight),
        ("determinant_force", "derivative_is_force"),
        LATTICE,
    ),
    Mutant(
        "spatial force without spins",
        "determinant",
        of(force=without_the_spatial_spins),
        ("determinant_force",),
        LATTICE,
    ),
    Mutant(
        "a derivative without the border",
        "determinant",
        of(derivative_of_the_elimination_without_its_border),
        ("derivative_is_force",),
        LATTICE,
    ),
    Mutant(
        "staggered phases without (-1)^t",
        "determinant",
        staggered_of(without_alternating_phase),
        ("free_masses", "dense_determinant"),
        LATTICE,
    ),
    Mutant(
        "staggered fermions periodic in time",
        "determinant",
        staggered_of(periodic_in_time),
        ("free_masses", "dense_determinant"),
        LATTICE,
    ),
    Mutant("staggered force without its g", "determinant", staggered_force_without_g, ("determinant_force",), LATTICE),
)
