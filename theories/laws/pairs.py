"""The law of a theory of pairs (U, phi): the integral over the pseudofermions gives the weight of its marginal theory.

The action is quadratic in phi, S(U, phi) = S(U, 0) + x^T Q x with the n real components x of phi, so that

    integral d^n x e^{-S(U, phi)} = pi^(n/2) det Q^(-1/2) e^{-S(U, 0)}
"""

from __future__ import annotations

import math
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.laws.law import EPSILON, Given, Law, Verdict, at_once, judge, precision_of, to_host
from haarflow.core.parts import described
from haarflow.core.spaces import Pair, Space

LARGEST = 128  # real components of the pseudofermions, of which Q is formed


def marginal_weight(theory: Any, field: Array) -> Verdict:
    """S(U, 0) + 1/2 ln det Q = S_marginal(U), with S(U, phi) = S(U, 0) + x^T Q x for the real components x of phi.

    `field` is one U, without batch axes; Q is formed of the actions of unit vectors and their sums. A real field of V components
    gives one power of |det M|, a complex one two.

    >>> from haarflow.theories.models.yukawa import yukawa_pairs
    >>> marginal_weight(yukawa_pairs((2, 1)), numpy.ones((2, 1))).passed
    True
    """
    space = described(theory).spaces.phi
    parts, n = _parts(space), _components(space)
    rows, columns = numpy.triu_indices(n)
    units = numpy.eye(n)
    vectors = numpy.concatenate([units[:1], units[rows] + units[columns]])
    real = vectors.reshape(-1, parts, *space.shape)
    phi = real[:, 0] + 1j * real[:, 1] if parts == 2 else real[:, 0]
    kind = "complex" if parts == 2 else "float"
    bits = (128 if parts == 2 else 64) if precision_of(field) == "float64" else (64 if parts == 2 else 32)
    backend, host = backends.of(field), to_host(field)
    repeated = backend.asarray(numpy.broadcast_to(host, (len(phi), *host.shape)).copy(), dtype=field.dtype)
    pairs = Pair(repeated, backend.asarray(phi, dtype=f"{kind}{bits}"))
    couplings = dict(described(theory).couplings or {}) or None  # those of both theories
    actions = to_host(at_once(lambda x: theory.action(x, couplings), pairs)).astype("float64")
    exact = float(to_host(at_once(lambda x: theory.marginal.action(x, couplings), repeated[:1, ...]))[0])
    first = (4.0 * actions[0] - actions[1]) / 3.0  # S(U, 0) from S(e) and S(2 e)
    sums = numpy.zeros((n, n))
    sums[rows, columns] = actions[1:] - first
    diagonal = numpy.diagonal(sums) / 4.0
    above = numpy.triu(sums - diagonal[:, None] - diagonal, 1) / 2.0
    q = above + above.T + numpy.diag(diagonal)
    found, solved = first + 0.5 * numpy.linalg.slogdet(q)[1], described(theory).part("tolerance") or 0.0
    unit = 64 * n * (EPSILON[precision_of(field)] + solved)
    tolerance = unit * float(numpy.abs(actions).max() + numpy.linalg.cond(q))
    return judge(
        marginal_weight, found - exact, tolerance, "64 n cond(Q) roundings or residuals of the solves", field=field
    )


def _parts(space: Space) -> int:
    return 2 if space.group.name == "Complex" else 1


def _components(space: Space) -> int:
    """The number of real components of the pseudofermions."""
    return _parts(space) * math.prod(space.shape)


def _one(theory: Any, given: Given) -> Verdict:
    space = described(theory).spaces.U
    return marginal_weight(theory, given.field(space.group, space.shape)[0, ...])


def _has_many_components(theory: Any) -> str | None:
    n = _components(described(theory).spaces.phi)
    return f"Q would be formed of the actions of {n * (n + 1) // 2:,} fields" if n > LARGEST else None


PAIR_LAWS: tuple[Law, ...] = (Law(marginal_weight, _one, _has_many_components, programs=True),)
