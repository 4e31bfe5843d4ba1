"""Parallel-transport couplings of a pseudofermion field: active components are moved along paths of links from frozen ones.

    phi_A -> s phi_A + P_A sum over paths of two links  G_path T_path (1 - P_A) phi,      log det = n_A ln s^2

for complex fields on the odd sites of a lattice, n_A active components and real s = e^a. T_path phi(x) carries phi from the end of
a path to x by the links along it, and the spin matrix of a step is a - b gamma_mu forward and a + b gamma_mu back, with numbers
a and b for either step and one factor c for all paths: two hops, of which Wilson's have a = b = 1. P_A is a projector on
sites or on spins, so that frozen components come through unchanged: the inverse is exact, whatever the numbers are, and the
layer is gauge covariance itself. Several layers with alternating masks make a map.

Pseudofermion flows by parallel transport: arXiv:2207.08945.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy
from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array, Condition, Key, Params
from haarflow.core.broadcasting import of_type
from haarflow.core.groups import matrices
from haarflow.core.groups.matrices import precision
from haarflow.core.lattice import spinors
from haarflow.core.lattice.sites import neighbours, neighbours_across, parities
from haarflow.flows.flow import constant, zero_log_det

KINDS = ("sites", "spins")


@dataclass(frozen=True)
class TransportCoupling:
    """One layer on odd sites `(*batch, spin, [n,] V/2)`; the condition is `{"links": U}`, angles for n = 1.

    `kind` "sites": sites with x_axis even (part 0) or odd (part 1) are active; "spins": the half with gamma_axis = 1 or -1.
    Parameters {"scale": a, "strength": c, "steps": (2, 2)}, rows (a, b) of the first and the second step, which are at first
    those of Wilson's hops, and (a, c) = `start`: with 0 the layer is the identity. Raises ValueError for odd extents, unknown kinds and axes.

    >>> import numpy as np
    >>> flow, links = TransportCoupling((4, 4), axis=1), {"links": np.zeros((2, 4, 4))}
    >>> params = {"scale": np.asarray(0.1), "strength": np.asarray(0.2), "steps": np.ones((2, 2))}
    >>> chi = np.ones((3, 2, 8)) + 0j
    >>> phi, log_det = flow.forward(params, chi, links)
    >>> back, minus = flow.inverse(params, phi, links)
    >>> bool(np.allclose(back, chi)), log_det.round(12).tolist(), (log_det + minus).tolist()
    (True, [1.6, 1.6, 1.6], [0.0, 0.0, 0.0])
    """

    lattice: tuple[int, ...]
    n: int = 1
    kind: str = "sites"
    axis: int = 0
    part: int = 0
    antiperiodic: bool = True
    start: tuple[float, float] = (0.0, 0.0)

    condition = ("links",)
    hasenbusch = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "lattice", tuple(self.lattice))
        object.__setattr__(self, "start", tuple(map(float, self.start)))
        parities(self.lattice)
        spinors.components(len(self.lattice))
        if self.kind not in KINDS or self.axis not in range(len(self.lattice)) or self.part not in (0, 1):
            raise ValueError(
                f"a transport coupling has kind {' or '.join(KINDS)}, an axis of {len(self.lattice)} and part 0 or 1, got "
                f"{self.kind!r}, {self.axis!r} and {self.part!r}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one field."""
        colour = () if self.n == 1 else (self.n,)
        return (spinors.components(len(self.lattice)), *colour, math.prod(self.lattice) // 2)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return the first scale and strength, with the steps of Wilson's hops."""
        scale, strength = self.start
        return {
            "scale": constant(key, scale, (), dtype),
            "strength": constant(key, strength, (), dtype),
            "steps": constant(key, 1.0, (2, 2), dtype),
        }

    def forward(self, params: Params, x: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (phi, log |det dphi/dchi|), of real components."""
        active = self._active(x)
        moved = self._active(self._transported(params, x - active, self._links(condition)))
        factor = of_type(array_namespace(x).exp(params["scale"]), x)
        return x + (factor - 1.0) * active + moved, self._log_det(params, x, 1.0)

    def inverse(self, params: Params, y: Array, condition: Condition = None) -> tuple[Array, Array]:
        """Return (chi, log |det dchi/dphi|)."""
        active = self._active(y)
        frozen = y - active
        moved = self._active(self._transported(params, frozen, self._links(condition)))
        factor = of_type(array_namespace(y).exp(-params["scale"]), y)
        return frozen + factor * (active - moved), self._log_det(params, y, -1.0)

    def _log_det(self, params: Params, x: Array, sign: float) -> Array:
        """Both real components of every active one, which are half of all, are multiplied by s."""
        return zero_log_det(x, len(self.shape)) + sign * math.prod(self.shape) * params["scale"]

    def _active(self, x: Array) -> Array:
        """P_A x."""
        if self.kind == "sites":
            odd = parities(self.lattice)[1]
            coordinates = numpy.unravel_index(odd, self.lattice)[self.axis]
            return x * backends.of(x).asarray(1.0 * (coordinates % 2 == self.part), dtype=precision(x))
        return 0.5 * (x + (1.0 - 2.0 * self.part) * self._gamma(x, self.axis))

    def _gamma(self, x: Array, mu: int) -> Array:
        """gamma_mu x."""
        axis = -len(self.shape)
        up, down = spinors.halves(x, axis)
        parts = [spinors.turned(down, len(self.lattice), mu, 1, axis), spinors.lower(up, mu, 1, axis)]
        return array_namespace(x).concat(parts, axis=axis)

    def _links(self, condition: Condition) -> Array:
        if not condition or "links" not in condition:
            raise ValueError('TransportCoupling wants the gauge field as its condition, {"links": U}')
        return doubled(condition["links"], self.lattice, self.n, self.antiperiodic)

    def _transported(self, params: Params, x: Array, links: Array) -> Array:
        """c times two hops, to the even sites and back to the odd ones."""
        for step, parity in enumerate((0, 1)):
            x = self._hop(params["steps"][step, ...], x, links, parity)
        return of_type(params["strength"], x) * x

    def _hop(self, step: Array, x: Array, links: Array, parity: int) -> Array:
        """sum over directions of (a -+ b gamma_mu) U x at the neighbour, at the sites of one parity."""
        xp, backend, d = array_namespace(x), backends.of(x), len(self.lattice)
        own = xp.take(links, backend.asarray(parities(self.lattice)[parity]), axis=-1)
        behind, total = (slice(None),) * (1 if self.n == 1 else 3), 0.0
        for row, sites in enumerate(neighbours_across(self.lattice)[parity]):
            near, link = xp.take(x, backend.asarray(sites), axis=-1), own[(..., row, *behind)]
            moved = link[..., None, :] * near if self.n == 1 else _multiplied(link, near)
            bent = self._gamma(moved, row % d)
            sign = -1.0 if row < d else 1.0
            total = total + of_type(step[0, ...], x) * moved + sign * of_type(step[1, ...], x) * bent
        return total


def doubled(links: Array, lattice: tuple[int, ...], n: int, antiperiodic: bool) -> Array:
    """Return complex links U_mu(x), and after them U_mu(x - mu)^+, at flat sites `(*batch, 2 d, [n, n,] V)`; with `antiperiodic`
    those that leave the last time slice have the other sign.

    >>> import numpy as np
    >>> doubled(np.zeros((2, 2, 2)), (2, 2), 1, True).real.tolist()[0]
    [1.0, 1.0, -1.0, -1.0]
    """
    xp, backend, d = array_namespace(links), backends.of(links), len(lattice)
    flat = xp.reshape(links, (*links.shape[: links.ndim - d], -1))
    if n == 1:
        flat = matrices.complex_array(backend.cos(flat), backend.sin(flat))
    volume, behind = math.prod(lattice), (slice(None),) * (1 if n == 1 else 3)
    signs: numpy.ndarray = numpy.ones((d, volume))
    signs[0, volume - volume // lattice[0] :] = -1.0 if antiperiodic else 1.0
    found = []
    for mu in range(d):
        found.append(flat[(..., mu, *behind)] * backend.asarray(signs[mu], dtype=precision(links)))
    for mu in range(d):
        reverse = xp.conj(found[mu]) if n == 1 else matrices.dagger(found[mu], 1)
        found.append(xp.take(reverse, backend.asarray(neighbours(lattice)[d + mu]), axis=-1))
    return xp.stack(found, axis=-1 - len(behind))


def _multiplied(link: Array, x: Array) -> Array:
    """Links `(*batch, n, n, V)` times the colours of spinors `(*batch, spin, n, V)`."""
    return array_namespace(x).sum(link[..., None, :, :, :] * x[..., None, :, :], axis=-2)


def transport_layers(
    lattice: tuple[int, ...], n: int = 1, repeats: int = 1, antiperiodic: bool = True
) -> tuple[TransportCoupling, ...]:
    """Return layers with all masks in turn, both parts of sites and of spins along every axis, `repeats` times.

    >>> [(layer.kind, layer.axis, layer.part) for layer in transport_layers((4, 4))][:3]
    [('sites', 0, 0), ('sites', 0, 1), ('spins', 0, 0)]
    """
    masks = [(kind, axis, part) for axis in range(len(lattice)) for kind in KINDS for part in (0, 1)]
    return tuple(TransportCoupling(tuple(lattice), n, *mask, antiperiodic) for mask in repeats * masks)
