"""Laws of densities: priors and models are normalised, and their draws follow the density that they report.

Integrals over at most LARGEST variables use a rank-1 lattice rule with random shifts,

    int q = mean over shifts s and points k of q(y(u)) |dy/du|,   u = k (1, a, a^2, ...)/N + s modulo 1,

which converges fast for smooth periodic integrands, with an error estimated from the spread over the shifts. Angles
cover the circle; real fields are whitened by the covariance of some draws and mapped by y = ln(u/(1 - u)), which makes
every density with light tails smooth and periodic. The links of a gauge field on a spanning tree are set to one, since
the density does not depend on them. For more variables Monte Carlo is used: E_q[p/q] = 1 for a normalised density p.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.protocol import Backend
from haarflow.backends.tree import paths
from haarflow.backends.types import Array, Condition, Group, Params, Prior
from haarflow.core import random
from haarflow.core.groups.signs import log_mass
from haarflow.core.laws import law
from haarflow.core.laws.fields import algebra_shape
from haarflow.core.laws.law import Verdict, Whole, fits, in_double, judge, precision_of, to_host
from haarflow.flows.coordinates import components, lattice_of, matrix_valued, on_links
from haarflow.flows.flow import Model
from haarflow.flows.laws.cases import ROUNDING, largest_of, reach, size, worst
from haarflow.flows.laws.footprint import NUMBER
from haarflow.flows.modelfile import open_model, save_model
from haarflow.flows.traits import parts_of

DRAWS = 4096
FEWEST = 512  # draws below which a mean is not informative
COPIES = 8  # of the draws, made by a law
POINTS, GENERATOR, SHIFTS = 1021, 89, 16
LARGEST = 5
WIDTH = 0.8  # of the map to the line, in units of the standard deviation
LEAST_ERROR, LARGEST_ERROR = 1e-10, 2e-2
NARROW = 0.8  # width of the comparison density in units of the draws'
PULLS = "5 standard errors, a chance failure has probability 6e-7 per number; the seed is fixed"


def integrates_to_one(
    density: Callable[..., Any],
    field_shape: tuple[int, ...],
    group: Group,
    draws: Any = None,
    gauge: bool = False,
    like: Any = None,
) -> Verdict:
    """int q(y) dy = 1 over the whole manifold.

    `density` returns log q of fields `(n, *field_shape)` on the backend of `like` (default NumPy); `draws` from it,
    needed for real fields, determine the integration range; `gauge` says that it is gauge invariant. Raises ValueError
    for more than five variables.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.priors import Gaussian
    >>> prior = Gaussian((2,), sigma=0.7)
    >>> draws = prior.sample(random.key(0, backend), 100)
    >>> integrates_to_one(prior.log_density, (2,), prior.group, draws).passed
    True
    """
    free = free_components(field_shape, group, gauge)
    if len(free) > LARGEST:
        raise ValueError(f"the integral is over at most {LARGEST} variables, got {len(free)}")
    u = lattice_rule(len(free))
    if group.name == "Real":
        rows, log_volume = _whitened(u, to_host(draws).astype("float64").reshape(-1, len(free)))
    else:
        rows, log_volume = 2 * math.pi * (u - 0.5), numpy.zeros(len(u))
    fields = numpy.zeros((len(u), math.prod(field_shape)))
    fields[:, free] = rows
    backend = backends.get("numpy") if like is None else backends.of(like)
    dtype = "float64" if like is None else like.dtype
    log_q = to_host(density(backend.asarray(fields.reshape(-1, *field_shape), dtype=dtype))).astype("float64")
    totals = numpy.exp(log_q + log_volume).reshape(SHIFTS, POINTS).mean(axis=1)
    error = float(totals.std(ddof=1)) / math.sqrt(SHIFTS)
    rounding = 1e3 * float(numpy.finfo("float64" if like is None else precision_of(like)).eps)
    allowed = min(8 * error + max(LEAST_ERROR, rounding), LARGEST_ERROR)
    reason = f"8 errors from {SHIFTS} random shifts (chance failure 1e-6), at most {LARGEST_ERROR}"
    return judge(integrates_to_one, totals.mean() - 1.0, allowed, reason, integral=float(totals.mean()), error=error)


def draws_have_the_density(y: Array, log_q: Array, others: Array, group: Group) -> Verdict:
    """E_q[p/q] = 1 for a normalised p: the Haar measure for links, a normal density narrower than q for real fields.

    `y` `(n, *field_shape)` are draws and `log_q` `(n,)` their density as the model reports it; `others` are further
    draws, from whose covariance p is made.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.priors import Gaussian
    >>> prior, (a, b) = Gaussian((2,)), random.split(random.key(0, backend))
    >>> y = prior.sample(a, 1000)
    >>> draws_have_the_density(y, prior.log_density(y), prior.sample(b, 1000), prior.group).passed
    True
    """
    log_p: Array = -log_mass(group, math.prod(y.shape[1:]))
    if group.name == "Real":
        rows = in_double(y).reshape(y.shape[0], -1)
        root = NARROW * numpy.linalg.cholesky(_covariance(to_host(others).reshape(others.shape[0], -1)))
        noise = numpy.linalg.solve(root, rows.T).T
        log_norm = numpy.sum(numpy.log(numpy.diag(root))) + 0.5 * rows.shape[1] * math.log(2 * math.pi)
        log_p = -0.5 * numpy.sum(noise**2, axis=1) - log_norm
    weights = numpy.exp(log_p - to_host(log_q).astype("float64"))
    measured = {
        "mean": float(weights.mean()),
        "ess": float(weights.sum() ** 2 / (len(weights) * numpy.sum(weights**2))),
    }
    return judge(draws_have_the_density, largest_pull(weights[:, None], 1.0), 5.0, PULLS, **measured)


def sample_is_its_density(model: Any, params: Params, key: Array, n: int, condition: Condition = None) -> Verdict:
    """sample returns (y, log q) with log q = log_density(y), and fields of the prior's shape.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.flow import Model
    >>> from haarflow.flows.priors import Gaussian
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> model, key = Model(Gaussian((2,)), QuarticTail(1)), random.key(0, backend)
    >>> sample_is_its_density(model, model.init(key), key, 3).passed
    True
    """
    y, log_q = model.sample(params, key, n, condition)
    if tuple(y.shape) != (n, *model.field_shape) or tuple(log_q.shape) != (n,):
        return judge(
            sample_is_its_density,
            math.inf,
            0.0,
            f"the fields have the shape {(n, *model.field_shape)}, got {y.shape}",
        )
    again = model.log_density(params, y, condition)

    def density(y: Array) -> tuple[Array, Array]:
        return y, model.log_density(params, y, condition)

    allowed = reach(density, y, model.group, (y, again)).log_det
    off = worst(to_host(again) - to_host(log_q), allowed)
    return judge(sample_is_its_density, off.residual, off.allowed, ROUNDING, y=y, params=params)


def file_keeps_the_model(model: Any, params: Params, backend: Backend) -> Verdict:
    """open_model(save_model(model, params)) = (model, params), bit for bit, also on another backend.

    Custom classes are passed to `open_model`.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.flow import Model
    >>> from haarflow.flows.priors import Gaussian
    >>> from haarflow.flows.scalar.tails import QuarticTail
    >>> model = Model(Gaussian((2,)), QuarticTail(1))
    >>> file_keeps_the_model(model, model.init(random.key(0, backend)), backend).residual
    0.0
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(path, model, params)
        opened = [open_model(path, target, definition=_classes(model)) for target in (backend, backends.get("numpy"))]
    saved = paths(params)
    faults = [float(one.model != model) for one in opened]
    for one in opened:
        read = paths(one.params)
        faults.append(float(read.keys() != saved.keys()))
        faults += [float(not _same_bits(read[name], leaf)) for name, leaf in saved.items() if name in read]
    return judge(file_keeps_the_model, largest_of(faults), 0.0, "bit for bit")


def prior_draws(prior: Prior, key: Array, n: int, dtype: str = "float64") -> Verdict:
    """sample(key, n) is `(n, *field_shape)`, finite, in range and equal to NumPy's; so is log_density, also field by field.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.priors import Gaussian
    >>> prior_draws(Gaussian((2,)), random.key(0, backend), 3).passed
    True
    """
    backend, host = backends.of(key), backends.get("numpy")
    x = backend.jit(lambda key: prior.sample(key, n, dtype))(key)
    shape = (n, *prior.field_shape)
    if tuple(x.shape) != shape or precision_of(x) != dtype or not math.isfinite(size(x)):
        return judge(prior_draws, math.inf, 0.0, f"draws are finite, {dtype} and of the shape {shape}")
    expected = prior.sample(host.asarray(to_host(key)), n, dtype)
    log_density, host_x = Whole(prior, backend, ("log_density",)).log_density, to_host(x)
    log_r = to_host(log_density(x)).astype("float64")
    one_by_one = [float(to_host(log_density(backend.asarray(row, dtype=x.dtype)))) for row in host_x]
    unit = 64 * float(numpy.finfo(dtype).eps)
    terms = math.prod(prior.field_shape) * max(size(x), 1.0) ** 2 + size(log_r)
    outside = size(prior.group.project(host_x) - host_x)
    faults = [size(in_double(x) - expected) / max(size(x), 1.0), outside if outside > 1e-5 else 0.0]
    faults += [size(log_r - prior.log_density(expected)) / terms, size(log_r - numpy.asarray(one_by_one)) / terms]
    return judge(prior_draws, largest_of(faults), unit, "64 ulp of the terms", x=x)


def prior_moments(prior: Prior, x: Array) -> Verdict:
    """E[df + f d log r] = 0 over draws of the prior: integration by parts, with polynomials or plane waves f.

    For real fields f is x_i and x_i^3, differentiated along each of the first components: E[x_i d_j log r] = -delta_ij
    determines the covariance; for angles f is cos and sin of theta and 2 theta; for matrices the entries of the first
    elements and their squares. Derivatives of log r are differences of fourth order. The law does not depend on the
    normalisation.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.flows.priors import Gaussian
    >>> prior = Gaussian((2,))
    >>> prior_moments(prior, prior.sample(random.key(0, backend), 1000)).passed
    True
    """
    host = in_double(x)
    count = min(components(prior.group, prior.field_shape), 6)
    slopes = numpy.stack([_slope(prior, x, host, component) for component in range(count)], axis=1)
    if matrix_valued(prior.group):
        return judge(prior_moments, largest_pull(_matrix_moments(prior, host, slopes), 0.0), 5.0, PULLS)
    flat, columns = host.reshape(host.shape[0], -1), []
    for i in range(count):
        for j in range(count):
            a, b, same = flat[:, i], slopes[:, j], float(i == j)
            if prior.group.name == "Real":
                columns += [a * b + same, a**3 * b + 3 * same * a**2]
            else:
                for k in (1, 2):
                    columns += [numpy.cos(k * a) * b - same * k * numpy.sin(k * a)]
                    columns += [numpy.sin(k * a) * b + same * k * numpy.cos(k * a)]
    return judge(prior_moments, largest_pull(numpy.stack(columns, axis=1), 0.0), 5.0, PULLS)


def free_components(
    field_shape: tuple[int, ...], group: Any, gauge: bool, lattice: tuple[int, ...] | None = None
) -> numpy.ndarray:
    """Return the components on which a density may depend: all, or those of the links outside a spanning tree.

    >>> from haarflow.core.groups.additive import U1
    >>> len(free_components((2, 2, 2), U1(), True)), len(free_components((2, 2, 2), U1(), False))
    (5, 8)
    """
    shape = algebra_shape(group, tuple(field_shape))
    everything = numpy.arange(math.prod(shape))
    if not gauge or not on_links(group, tuple(field_shape), lattice):
        return everything
    lattice, d = lattice or lattice_of(group, tuple(field_shape)), field_shape[0]
    reached, tree = {(0,) * d}, set()
    for _ in range(math.prod(lattice)):
        for site in sorted(reached):
            for mu in range(d):
                end = tuple((x + (axis == mu)) % lattice[axis] for axis, x in enumerate(site))
                if end not in reached:
                    reached.add(end)
                    inner = [(a,) for a in range(group.dim)] if matrix_valued(group) else [()]
                    tree |= {int(numpy.ravel_multi_index((mu, *a, *site), shape)) for a in inner}
    return numpy.asarray([component for component in everything if component not in tree])


def count_free(field_shape: tuple[int, ...], group: Group, gauge: bool, lattice: tuple[int, ...]) -> int:
    """Return the number of `free_components` without listing them: a spanning tree has one link less than sites.

    >>> from haarflow.core.groups.additive import U1
    >>> count_free((2, 2, 2), U1(), True, (2, 2)), count_free((2, 2, 2), U1(), False, (2, 2))
    (5, 8)
    """
    everything = components(group, tuple(field_shape))
    if not gauge or not on_links(group, tuple(field_shape), lattice):
        return everything
    sites = math.prod(lattice)
    return everything - (sites - 1) * (everything // (sites * len(lattice)))


def lattice_rule(variables: int) -> numpy.ndarray:
    """Return the points `(SHIFTS * POINTS, variables)` of a Korobov rule in the unit cube, randomly shifted."""
    vector = numpy.asarray([pow(GENERATOR, power, POINTS) for power in range(variables)])
    grid = numpy.arange(POINTS)[:, None] * vector % POINTS / POINTS
    shifts = numpy.random.default_rng(2039).uniform(size=(SHIFTS, 1, variables))
    result: numpy.ndarray = ((grid + shifts) % 1.0).reshape(-1, variables)
    return result


def largest_pull(columns: numpy.ndarray, expected: float) -> float:
    """Return the largest |mean - expected| in units of its error over the columns of `(n, columns)`; NaN counts as infinite."""
    off = numpy.abs(columns.mean(axis=0) - expected)
    error = columns.std(axis=0, ddof=1) / math.sqrt(len(columns))
    rounding = 1e-10 * (1 + numpy.abs(columns).max(axis=0))
    return largest_of(float(pull) for pull in off / numpy.maximum(error, rounding))


def _whitened(u: numpy.ndarray, draws: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """The real variables y at points u of the unit cube, and log |dy/du|."""
    u = numpy.clip(u, 1e-12, 1 - 1e-12)
    root = WIDTH * numpy.linalg.cholesky(_covariance(draws))
    y = draws.mean(axis=0) + numpy.log(u / (1 - u)) @ root.T
    return y, numpy.sum(numpy.log(numpy.diag(root))) - numpy.sum(numpy.log(u * (1 - u)), axis=1)


def _covariance(rows: numpy.ndarray) -> numpy.ndarray:
    plain = numpy.atleast_2d(numpy.cov(rows.T))
    result: numpy.ndarray = plain + 1e-9 * numpy.trace(plain) * numpy.eye(len(plain))
    return result


def _slope(prior: Prior, x: Array, host: numpy.ndarray, component: int, step: float = 1e-2) -> numpy.ndarray:
    """d log r along one component, `(n,)`, by differences of fourth order."""
    backend = backends.of(x)
    log_density = Whole(prior, backend, ("log_density",)).log_density

    def log_r(k: int) -> numpy.ndarray:
        moved = _along(prior.group, host, component, k * step)
        return to_host(log_density(backend.asarray(moved, dtype=x.dtype))).astype("float64")

    result: numpy.ndarray = (8 * (log_r(1) - log_r(-1)) - (log_r(2) - log_r(-2))) / (12 * step)
    return result


def _along(group: Group, fields: numpy.ndarray, component: int, step: float) -> numpy.ndarray:
    """Fields `(n, *field_shape)` displaced by a step along one component."""
    unit = numpy.zeros((1, components(group, fields.shape[1:])))
    unit[0, component] = step
    if matrix_valued(group):
        result: numpy.ndarray = group.update(fields, unit.reshape(1, *algebra_shape(group, fields.shape[1:])))
        return result
    return fields + unit.reshape(1, *fields.shape[1:])


def _matrix_moments(prior: Any, host: numpy.ndarray, slopes: numpy.ndarray) -> numpy.ndarray:
    """df + f d log r `(n, columns)`, f the entries of the elements at the first sites and directions, and their squares."""
    group, columns, step = prior.group, [], 1e-2
    corner = (slice(None), *(slice(0, 1),) * (len(prior.field_shape) - 2 - group.d), ...)

    def entries(fields: numpy.ndarray) -> numpy.ndarray:
        first = fields[corner][(..., *(slice(0, 2),) * group.d)].reshape(len(fields), -1)
        parts = numpy.concatenate([first.real, first.imag], axis=1)
        return numpy.concatenate([parts, parts**2], axis=1)

    values = entries(host)
    for component in range(slopes.shape[1]):
        ahead, behind = (
            {k: entries(_along(group, host, component, k * sign * step)) for k in (1, 2)} for sign in (1, -1)
        )
        df = (8 * (ahead[1] - behind[1]) - (ahead[2] - behind[2])) / (12 * step)
        columns.append(df + values * slopes[:, component, None])
    return numpy.concatenate(columns, axis=1)


def _classes(obj: Any) -> tuple[type, ...]:
    """The classes of a definition and all its parts."""
    classes = {type(obj)}
    for part in filter(dataclasses.is_dataclass, parts_of(obj)):
        classes |= set(_classes(part))
    return tuple(classes)


def _same_bits(a: Array, b: Array) -> bool:
    one, other = to_host(a), to_host(b)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def enough_draws(prior: Prior) -> int:
    """Return DRAWS, or as many draws as fit into a law's memory; raises TooLarge if these are fewer than FEWEST.

    >>> from haarflow.flows.priors import Gaussian
    >>> enough_draws(Gaussian((4, 4))), enough_draws(Gaussian((64, 64)))
    (4096, 2048)
    """
    draw = COPIES * NUMBER * math.prod(prior.field_shape)
    fits(FEWEST * draw, f"{FEWEST} fields {tuple(prior.field_shape)}")
    result: int = min(DRAWS, law.MEMORY // draw)
    return result


def not_a_definition(model: Model) -> str | None:
    """Return why a model cannot be written to a file, because one of its parts is not a dataclass, or None."""
    for part in (model, model.prior, model.flow):
        if not dataclasses.is_dataclass(part):
            return f"a model file holds dataclasses, and {type(part).__name__} is not one"
    return None


def draws_on_the_host(prior: Prior, seed: int, n: int, dtype: str) -> numpy.ndarray:
    """Return draws of a prior from NumPy, identical for every backend, with nothing to compile."""
    result: numpy.ndarray = prior.sample(random.key(seed, backends.get("numpy")), n, dtype)
    return result
