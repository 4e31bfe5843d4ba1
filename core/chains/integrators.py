"""Symplectic, reversible integrators of w' = -F(U), U' = w U as palindromic lists of coefficients.

One step of size h is drift(c_0 h) kick(k_0 h) drift(c_1 h) ... kick(k_{n-1} h) drift(c_n h), where a drift is
U -> exp(c h w) U and a kick w -> w - k h F(U): n force evaluations. A palindrome is reversible and its error in the
energy at fixed length is O(h^order). Sources: Takaishi and de Forcrand, hep-lat/0505020 (second order minimum norm);
Forest and Ruth, Physica D 43 (1990) 105; Omelyan, Mryglod and Folk, cond-mat/0110585 (fourth order, four forces).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from haarflow import backends
from haarflow.backends.tree import leaves
from haarflow.backends.types import Array, Tree
from haarflow.core import fields
from haarflow.core.groups.matrices import precision

Map = Callable[[Tree, float | Array], Tree]  # of a state and a time


class Scheme(NamedTuple):
    """Drifts c_0 ... c_n and kicks k_0 ... k_{n-1} of one step, each with sum one, and the order of the error."""

    drifts: tuple[float, ...]
    kicks: tuple[float, ...]
    order: int


_MIN_NORM = 0.1931833275037836
_RUTH = 1.0 / (2.0 - 2.0 ** (1.0 / 3.0))
_XI, _LAMBDA, _CHI = 0.1786178958448091, -0.2123418310626054, -0.06626458266981849

LEAPFROG = Scheme((0.5, 0.5), (1.0,), 2)
OMELYAN = Scheme((_MIN_NORM, 1.0 - 2.0 * _MIN_NORM, _MIN_NORM), (0.5, 0.5), 2)
FOREST_RUTH = Scheme(
    (0.5 * _RUTH, 0.5 - 0.5 * _RUTH, 0.5 - 0.5 * _RUTH, 0.5 * _RUTH), (_RUTH, 1.0 - 2.0 * _RUTH, _RUTH), 4
)
OMELYAN4 = Scheme(
    (_XI, _CHI, 1.0 - 2.0 * (_CHI + _XI), _CHI, _XI),
    (0.5 - _LAMBDA, _LAMBDA, _LAMBDA, 0.5 - _LAMBDA),
    4,
)
SCHEMES = {"leapfrog": LEAPFROG, "omelyan": OMELYAN, "forest_ruth": FOREST_RUTH, "omelyan4": OMELYAN4}


def coefficients(scheme: Scheme, steps: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the drifts and kicks of `steps` steps, the last drift of each merged with the first of the next.

    >>> coefficients(LEAPFROG, 3)
    ((0.5, 1.0, 1.0, 0.5), (1.0, 1.0, 1.0))
    """
    joined = scheme.drifts[-1] + scheme.drifts[0]
    between = ([*scheme.drifts[1:-1], joined] * steps)[:-1]
    return (scheme.drifts[0], *between, scheme.drifts[-1]), scheme.kicks * steps


def integrate(
    force: Callable[[Tree], Tree],
    field: Tree,
    momentum: Tree,
    scheme: Scheme,
    step_size: float | Array,
    steps: int,
    spaces: Tree,
) -> tuple[Tree, Tree]:
    """Return field and momentum after `steps` steps of size `step_size`, a number or an array of the batch's shape.

    `force(field)` has the momentum's structure and shapes, `spaces` the field's structure. The last drift of a step and the
    first of the next are merged, so a trajectory costs `steps * len(scheme.kicks)` forces.

    >>> import numpy as np
    >>> from haarflow.core.groups.additive import Real
    >>> space = fields.Space(Real(), (1,))
    >>> integrate(lambda x: x, np.ones(1), np.zeros(1), OMELYAN4, 0.5, 4, space)[0].round(3).tolist()
    [-0.416]
    """
    first = leaves(momentum)[0]
    backend = backends.of(first)

    def drift(field: Tree, momentum: Tree, c: float | Array) -> Tree:
        return fields.move(spaces, field, momentum, c * step_size)

    def kick(field: Tree, momentum: Tree, k: float) -> Tree:
        return fields.axpy(-k * step_size, force(field), momentum)

    def one_step(carry: tuple[Tree, Tree], first: Array) -> tuple[tuple[Tree, Tree], None]:
        field, momentum = carry
        for c, k in zip((first, *scheme.drifts[1:-1]), scheme.kicks, strict=True):
            field = drift(field, momentum, c)
            momentum = kick(field, momentum, k)
        return (field, momentum), None

    joined = scheme.drifts[-1] + scheme.drifts[0]
    firsts = [scheme.drifts[0]] + [joined] * (steps - 1)
    (field, momentum), _ = backend.scan(
        one_step, (field, momentum), backend.asarray(firsts, dtype=fields.precision(first))
    )
    return drift(field, momentum, scheme.drifts[-1]), momentum


def alternate(drift: Map, kick: Map, state: Tree, scheme: Scheme, step_size: float | Array, steps: int) -> Tree:
    """Return the state after `steps` steps of two maps (state, time) -> state, the flows of two parts of a Hamiltonian.

    Each is reversible, and so is their alternation. The loop's body is one drift and one kick, whatever the scheme: a costly
    kick is compiled once.

    >>> import numpy as np
    >>> drift = lambda state, time: (state[0] + time * state[1], state[1])
    >>> kick = lambda state, time: (state[0], state[1] - time * state[0])
    >>> alternate(drift, kick, (np.ones(1), np.zeros(1)), OMELYAN4, 0.5, 4)[0].round(3).tolist()
    [-0.416]
    """
    first = leaves(state)[0]
    backend, (drifts, kicks) = backends.of(first), coefficients(scheme, steps)
    pairs = backend.asarray(list(zip(drifts, kicks, strict=False)), dtype=precision(first))

    def one(state: Tree, pair: Array) -> tuple[Tree, None]:
        return kick(drift(state, pair[0] * step_size), pair[1] * step_size), None

    state, _ = backend.scan(one, state, pairs)
    return drift(state, drifts[-1] * step_size)


def kick(force: Callable[[Tree], Tree]) -> Map:
    """Return the flow w -> w - t F(U) of a state (U, w).

    >>> import numpy as np
    >>> kick(lambda x: 2.0 * x)((np.ones(1), np.ones(1)), 0.25)[1].tolist()
    [0.5]
    """

    def moved(state: tuple[Tree, Tree], time: float | Array) -> tuple[Tree, Tree]:
        field, momentum = state
        return field, fields.axpy(-time, force(field), momentum)

    return moved


def drift(spaces: Tree) -> Map:
    """Return the free motion U -> exp(t w) U of a state (U, w).

    >>> from haarflow.core.groups.additive import Real
    >>> import numpy as np
    >>> drift(fields.Space(Real(), (1,)))((np.zeros(1), np.ones(1)), 0.5)[0].tolist()
    [0.5]
    """

    def moved(state: tuple[Tree, Tree], time: float | Array) -> tuple[Tree, Tree]:
        field, momentum = state
        return fields.move(spaces, field, momentum, time), momentum

    return moved
