"""Laws of the symmetries that a theory declares, checked on the action and every observable, and of its charge.

`theory.symmetries` names some of `core.lattice.symmetries.SYMMETRIES`. An observable is invariant under each of them
unless declared otherwise: `odd = {"Q": ("reflection", ...)}` lists the symmetries under which an observable changes sign,
`tied = {"polyakov": ("hypercubic",)}` those that map it to another quantity (a loop in time to one in space), for which
there is nothing to compare.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.types import Array, Couplings
from haarflow.core.lattice import loops, symmetries
from haarflow.core.lattice.geometry import shift
from haarflow.core.laws.law import Verdict, at_once, judge, precision_of, to_host
from haarflow.core.parts import described
from haarflow.theories.laws.cases import ROUNDING, FullTheory, is_links, loop_group, nearby, quantities, worst

REASON = f"1 in units of {ROUNDING}"


def gauge_invariance(theory: FullTheory, field: Array, sites: Array, couplings: Couplings = None) -> Verdict:
    """O(W(x) U_mu(x) W(x+mu)^+) = O(U) for the action and every observable O.

    `field` is `(batch, d, *lattice)`, `sites` are group elements `(batch, *lattice)` or the same for all rows; matrices
    `(batch, d, N, N, *lattice)` and `(batch, N, N, *lattice)`.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> links, turns = np.linspace(0, 9, 24).reshape(3, 2, 2, 2), np.linspace(-3, 3, 12).reshape(3, 2, 2)
    >>> gauge_invariance(U1Gauge((2, 2)), links, turns).passed
    True
    """
    image = loops.gauge_transform(to_host(field), to_host(sites), len(theory.lattice), loop_group(theory))
    return _invariant(gauge_invariance, theory, field, [("gauge", image)], "gauge", couplings)


def translation_invariance(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """O(field(. + mu)) = O(field) for the action and every observable O, along every axis.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> translation_invariance(Phi4((2, 3)), np.arange(6.0).reshape(1, 2, 3)).passed
    True
    """
    d, host = len(theory.lattice), to_host(field)
    images = [(f"translation along {mu}", shift(host, mu, d)) for mu in range(d)]
    return _invariant(translation_invariance, theory, field, images, "translation", couplings)


def reflection_invariance(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """O(field under x_mu -> -x_mu) = O(field), or -O(field) where declared odd, along every axis.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> reflection_invariance(Phi4((2, 3)), np.arange(6.0).reshape(1, 2, 3)).passed
    True
    """
    d, host = len(theory.lattice), to_host(field)
    turn = partial(symmetries.reflect_links, group=loop_group(theory)) if is_links(theory) else symmetries.reflect
    images = [(f"reflection of axis {mu}", turn(host, mu, d)) for mu in range(d)]
    return _invariant(reflection_invariance, theory, field, images, "reflection", couplings)


def exchange_invariance(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """O(field with x_mu and x_nu exchanged) = O(field), or -O(field) where declared odd, for equal extents.

    Void if no two extents are equal.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> exchange_invariance(Phi4((2, 2)), np.arange(4.0).reshape(1, 2, 2)).passed
    True
    """
    lattice, d, host = theory.lattice, len(theory.lattice), to_host(field)
    turn = partial(symmetries.exchange_links, group=loop_group(theory)) if is_links(theory) else symmetries.exchange
    pairs = [(mu, nu) for mu, nu in itertools.combinations(range(d), 2) if lattice[mu] == lattice[nu]]
    images = [(f"exchange of axes {mu} and {nu}", turn(host, mu, nu, d)) for mu, nu in pairs]
    return _invariant(exchange_invariance, theory, field, images, "hypercubic", couplings)


def sign_invariance(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """O(-phi) = O(phi), or -O(phi) where declared odd under Z2.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> sign_invariance(Phi4((2, 2)), np.arange(4.0).reshape(1, 2, 2)).passed
    True
    """
    return _invariant(sign_invariance, theory, field, [("Z2", -to_host(field))], "Z2", couplings)


def conjugation_invariance(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """O(U^*) = O(U), or -O(U) where declared odd under charge conjugation; U(1) angles change sign.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> conjugation_invariance(U1Gauge((2, 2)), np.ones((1, 2, 2, 2))).passed
    True
    """
    host = to_host(field)
    images = [("charge conjugation", numpy.conj(host) if theory.group.matrix_axes else -host)]
    return _invariant(conjugation_invariance, theory, field, images, "charge_conjugation", couplings)


def winding_invariance(theory: FullTheory, field: Array, turns: Array, couplings: Couplings = None) -> Verdict:
    """O(theta + 2 pi n) = O(theta) for integer n: the action and every observable are periodic in each angle.

    `turns` are integers n in the field's shape and precision.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> winding_invariance(U1Gauge((2, 2)), np.ones((1, 2, 2, 2)), np.arange(8.0).reshape(1, 2, 2, 2)).passed
    True
    """
    image = to_host(field) + 2.0 * math.pi * to_host(turns)
    return _invariant(winding_invariance, theory, field, [("full turns", image)], "winding", couplings)


def charge_of_flux(theory: FullTheory, noise: Array, charge: int, couplings: Couplings = None) -> Verdict:
    """Q(constant flux 2 pi q / V + small change) = q: the charge is an integer, and no small change alters it.

    `noise` is `(batch, 2, T, X)`, of which so much is added to the links that no plaquette reaches pi. |q| < V/2.
    Raises ValueError for a q beyond that.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> charge_of_flux(U1Gauge((3, 4)), np.zeros((1, 2, 3, 4)), charge=-2).residual
    0.0
    """
    size = max(float(numpy.abs(to_host(noise)).max(initial=0.0)), 1.0)
    smooth = constant_flux(theory.lattice, charge)
    room = (math.pi - abs(2 * math.pi * charge / math.prod(theory.lattice))) / 5
    field = backends.of(noise).asarray(smooth + (room / size) * to_host(noise), dtype=noise.dtype)
    deviations = [to_host(quantities(theory, field, couplings).get("Q", charge)) - charge]
    if not described(theory).missing("charge"):
        deviations.append(to_host(at_once(theory.charge, field)) - charge)
    return judge(charge_of_flux, numpy.stack(deviations), 0.0, "integers are exact", field=field, charge=charge)


def constant_flux(lattice: tuple[int, ...], charge: int) -> numpy.ndarray:
    """Return links `(2, T, X)` whose plaquettes all are 2 pi q/V (mod 2 pi). Raises ValueError unless |q| < V/2.

    >>> constant_flux((2, 2), 1).round(3).tolist()
    [[[-0.0, -0.0], [-0.0, -3.142]], [[0.0, 0.0], [1.571, 1.571]]]
    """
    extent, other = lattice
    if 2 * abs(charge) >= extent * other:
        raise ValueError(f"a constant flux needs |q| < V/2 = {extent * other / 2}, got {charge}")
    t, x = numpy.meshgrid(numpy.arange(extent), numpy.arange(other), indexing="ij")
    flux = 2 * math.pi * charge / (extent * other)
    return numpy.stack([-flux * extent * x * (t == extent - 1), flux * t])


def _invariant(
    law: Callable[..., Any],
    theory: FullTheory,
    field: Array,
    images: Iterable[tuple[str, numpy.ndarray]],
    symmetry: str,
    couplings: Couplings,
) -> Verdict:
    """The largest difference, in units of rounding, over all quantities and all images, which are made on the host."""
    declared = described(theory).symmetries
    values, moved = quantities(theory, field, couplings), quantities(theory, nearby(field), couplings)
    compared = [name for name in values if symmetry not in declared.tied.get(name, ())]
    ratio, quantity = 0.0, "nothing to compare"
    for image, other in images:
        transformed = quantities(theory, backends.of(field).asarray(other, dtype=field.dtype), couplings)
        signs = {name: -1.0 if symmetry in declared.odd.get(name, ()) else 1.0 for name in compared}
        differences = {name: to_host(transformed[name]) - signs[name] * to_host(values[name]) for name in compared}
        size, name = worst(theory, differences, values, moved, precision_of(field), couplings)
        if size >= ratio:
            ratio, quantity = size, f"{name} under {image}"
    return judge(law, ratio, 1.0, REASON, field=field, quantity=quantity)


def off_the_seam(theory: FullTheory, field: Array, noise: Array) -> Array:
    """Return angles shifted by about 1e-3, so that no plaquette is exactly pi, where the charge is discontinuous.

    `noise` has the shape of the field; real fields and matrices are returned unchanged.
    """
    if theory.group.name != "U1":
        return field
    return backends.of(field).asarray(to_host(field) + 1e-3 * to_host(noise), dtype=field.dtype)
