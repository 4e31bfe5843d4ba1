"""A step of one matrix along the gradient of Re tr(U V), V fixed: a map of SU(N) with closed log-determinant both ways.

    U' = e^{iw} U,    w_a = -Im tr(T_a U V),    log |det| by flows/links/jacobian.py.

It is one link of a gradient coupling (flows/sun/gradient_coupling.py) with V in place of the staples. The map is invertible if the
largest singular value of V is below 2; the inverse solves U = e^{-iw(U)} U' by a few fixed-point steps, which reduce errors
at least by half that value, and by Newton steps. To first order around one, for diagonal V with real entries v, it scales
u_ij by 1 - (v_i + v_j)/4.
"""

from __future__ import annotations

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.groups.sun import SU
from haarflow.flows.links import jacobian

FIXED_POINT_STEPS = 4
NEWTON_STEPS = 5


def stretch(direction: str, u: Array, v: Array, group: SU) -> tuple[Array, Array]:
    """Return the image of matrices u `(*batch, N, N, *lattice)`, "forward" or "inverse", and log |det| `(*batch, *lattice)`.

    >>> import numpy as np
    >>> u = np.diag(np.exp([0.4j, -0.4j]))
    >>> image, log_det = stretch("forward", u, 0.5 * np.eye(2), SU(2))
    >>> back, other = stretch("inverse", image, 0.5 * np.eye(2), SU(2))
    >>> bool(np.abs(back - u).max() < 1e-15), bool(abs(log_det + other) < 1e-15)
    (True, True)
    """
    if direction == "forward":
        return _moved(u, v, group)
    back = _moved_back(u, v, group)
    return back, -_moved(back, v, group)[1]


def _moved(u: Array, v: Array, group: SU) -> tuple[Array, Array]:
    loop = group.compose(u, v)
    w = jacobian.step_of(group, loop)
    return group.update(u, w), jacobian.log_det(group, w, loop)


def _moved_back(moved: Array, v: Array, group: SU) -> Array:
    """The last Newton step starts from a constant and carries all first derivatives."""
    backend = backends.of(moved)
    target, frozen = backend.stop_gradient(moved), backend.stop_gradient(v)

    def fixed_point(u: Array, _: None) -> tuple[Array, None]:
        return group.update(target, -jacobian.step_of(group, group.compose(u, frozen))), None

    def newton(u: Array, _: None) -> tuple[Array, None]:
        return _newton(u, target, frozen, group), None

    u, _ = backend.scan(fixed_point, target, None, length=FIXED_POINT_STEPS)
    u, _ = backend.scan(newton, u, None, length=NEWTON_STEPS)
    return _newton(backend.stop_gradient(u), moved, v, group)


def _newton(u: Array, moved: Array, v: Array, group: SU) -> Array:
    """With F(u) moved^+ = e^{ir}, u <- e^{-i J^-1 r} u."""
    stop, loop = backends.of(u).stop_gradient, group.compose(u, v)
    w = jacobian.step_of(group, loop)
    off = group.coordinates(-1j * group.compose(group.update(u, w), group.inverse(moved)))
    return group.update(u, -jacobian.newton(group, stop(w), stop(loop), off))
