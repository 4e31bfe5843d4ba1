"""Named flows of SU(N) gauge fields: each constructor takes a lattice and returns `Model(HaarLinks(lattice, n), flow)`.

- `trivialising`: Luescher's trivialising flow (arXiv:0907.5491) in finite steps, each a composition of couplings over all
  links, so that the log-determinant is exact for any number of steps.
- `spectral`: couplings of the eigen-angles of plaquettes (arXiv:2008.05456), in the order of the published masks.
"""

from __future__ import annotations

from typing import Any

from haarflow.core.lattice.loops import planes
from haarflow.flows.flow import Chain, Model, Repeat, Translate
from haarflow.flows.links.orientations import EveryPlane
from haarflow.flows.masks import frozen_loops
from haarflow.flows.priors import HaarLinks
from haarflow.flows.sun.gradient_coupling import LoopCoupling
from haarflow.flows.sun.spectral import SpectralCoupling


def trivialising(
    lattice: tuple[int, ...],
    n: int = 3,
    steps: int = 4,
    beta: float = 1.0,
    period: int = 2,
    reach: int = 1,
    own: int = 0,
    pair: bool = False,
    context: int = 0,
    bound: float = 1.0,
    symmetric: bool = False,
    condition: tuple[str, ...] = (),
) -> Model:
    """Return the flow along -grad S / (4 C_F) from Haar links to Wilson's action at `beta`, C_F = (N^2-1)/2N.

    This is the leading order in beta: rho = beta / (2 (N^2-1)) in total, distributed evenly over `steps` steps. A step
    updates the links class by class (direction, then colour) and, if `symmetric`, again in reverse order, both with half
    the coefficient (Strang splitting). All coefficients are independent parameters; `period`, `reach`, `own`, `pair`,
    `context` and `bound` are those of `LoopCoupling`. With condition = ("beta",) one flow covers all beta, its coefficients
    are polynomials in beta, and `beta` is not used. Raises ValueError for steps < 1 and, at first use, for extents not
    divisible by the period.

    >>> model = trivialising((4, 4), n=2, steps=3, beta=1.8, symmetric=True)
    >>> model.flow.n, len(model.flow.flow.flows), round(model.flow.flow.flows[0].start, 6)
    (3, 7, 0.05)
    """
    if steps < 1:
        raise ValueError(f"a flow takes at least one step, got steps = {steps}")
    d, scale = len(lattice), 1.0 if condition else float(beta)
    whole = scale / (2.0 * (n * n - 1) * steps)
    classes = [(mu, colour) for mu in range(d) for colour in range(period)]
    order = [*classes, *classes[-2::-1]] if symmetric else classes
    options: dict[str, Any] = {"period": period, "reach": reach, "own": own, "pair": pair, "context": context}
    couplings = tuple(
        LoopCoupling(
            n,
            d,
            *link_class,
            _share(link_class, classes, symmetric) * whole,
            bound,
            condition=tuple(condition),
            **options,
        )
        for link_class in order
    )
    return Model(HaarLinks(tuple(lattice), n), Repeat(Chain(couplings), steps))


def _share(link_class: tuple[int, int], classes: list[tuple[int, int]], symmetric: bool) -> float:
    """Half a step for classes that the symmetric order updates twice."""
    return 0.5 if symmetric and link_class != classes[-1] else 1.0


def spectral(
    lattice: tuple[int, ...],
    n: int = 3,
    beta: float = 0.0,
    rounds: int = 2,
    period: int = 4,
    extents: tuple[tuple[int, int], ...] = ((1, 1), (1, 2)),
    bins: int = 4,
    hidden: tuple[int, ...] = (8,),
    kernel: int | tuple[int, ...] = 1,
    harmonics: int = 2,
    final_scale: float = 0.1,
    condition: tuple[str, ...] = (),
    separated: bool = False,
) -> Model:
    """Return couplings of the plaquettes' eigen-angles in every plane, on stripes of every offset, `rounds` times.

    Within a direction and plane the stripes follow each other such that the passive plaquettes of a coupling are mapped
    next; all offsets are one scanned layer between which the field is translated. The context consists of all frozen loops
    of the `extents` around the active link, in any plane. In three and more dimensions, on a lattice of equal extents, all
    d (d-1) ordered planes are one scanned layer, too (flows/links/orientations.py): 12 times the period in four dimensions. Every
    coupling starts as the class map from Haar measure to a plaquette's weight at beta/(2 rounds), since it meets each plane
    as often, in both orders: at first order in beta this trivialises. Otherwise the couplings of the first pass, along axis
    0, start as that class map at `beta`, so that a fraction 1 - 1/period of one plane's plaquettes is correct before
    training; with 0 all start close to the identity. Other options are those of `SpectralCoupling`.
    Raises ValueError for rounds < 1, for n other than 2 and 3, and, at first use, for extents not divisible by the period.

    >>> model = spectral((8, 8), n=2, beta=1.8, rounds=1)
    >>> [passed.flow.flows[0].mask[:3] for passed in model.flow.flows]
    [('stripes', 0, 1), ('stripes', 1, 0)]
    >>> one = spectral((4, 4, 4, 4), n=3, beta=1.8, rounds=1).flow.flow
    >>> one.d * (one.d - 1) * one.flow.flows[0].n
    48
    """
    if rounds < 1:
        raise ValueError(f"a flow takes at least one round, got rounds = {rounds}")
    d, shared = len(lattice), (bins, tuple(hidden), kernel, harmonics)
    rest: dict[str, Any] = {"final_scale": final_scale, "condition": tuple(condition), "separated": separated}

    def passed(mu: int, nu: int, start: float) -> Repeat:
        mask = ("stripes", mu, nu, period, 0)
        context = frozen_loops(mask, d, extents, [(mu, nu), *(plane for plane in planes(d) if {*plane} != {mu, nu})])
        step = Translate(tuple(int(axis == nu) for axis in range(d)), 3)
        return Repeat(Chain((SpectralCoupling(n, d, mask, context, *shared, start, **rest), step)), period)

    if d > 2 and len(set(lattice)) == 1:
        back = Translate((0, -period, *(0,) * (d - 2)), 3)
        turned = EveryPlane(Chain((passed(0, 1, 0.5 * beta / rounds), back)), d, 2)
        return Model(HaarLinks(tuple(lattice), n), Repeat(turned, rounds))
    ordered = [(mu, nu) for _ in range(rounds) for mu in range(d) for nu in range(d) if nu != mu]
    passes = tuple(passed(mu, nu, 0.0 if k else float(beta)) for k, (mu, nu) in enumerate(ordered))
    return Model(HaarLinks(tuple(lattice), n), Chain(passes))
