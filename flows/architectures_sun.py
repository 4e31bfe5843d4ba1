"""Flows of SU(N) gauge fields by name: each constructor takes a lattice and gives `Model(HaarLinks(lattice, n), flow)`.

- `trivialising`: Luescher's trivialising flow (arXiv:0907.5491) in small steps, each a composition of couplings over all
  links: what follows is exact at any number of steps.
"""

from __future__ import annotations

from typing import Any

from haarflow.flows.flow import Chain, Model, Repeat
from haarflow.flows.priors import HaarLinks
from haarflow.flows.residual import LoopCoupling


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

    That is its leading order for small beta: rho = beta / (2 (N^2-1)) in all, shared out evenly over `steps` steps, each of
    which visits the links class by class (direction, then colour) and, where `symmetric`, in reverse, both with half the
    coefficient (Strang's order). All coefficients are parameters of their own; `period`, `reach`, `own`, `pair`,
    `context` and `bound` are those of `LoopCoupling`. With condition = ("beta",) one flow serves all beta, its coefficients
    polynomials in beta, and `beta` is not used.
    Raises ValueError for steps < 1 and, at first use, for extents that the period does not divide.

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
            n, d, *place, _share(place, classes, symmetric) * whole, bound, condition=tuple(condition), **options
        )
        for place in order
    )
    return Model(HaarLinks(tuple(lattice), n), Repeat(Chain(couplings), steps))


def _share(place: tuple[int, int], classes: list[tuple[int, int]], symmetric: bool) -> float:
    """Half a step for what a symmetric order visits twice."""
    return 0.5 if symmetric and place != classes[-1] else 1.0
