"""Flows of SU(N) gauge fields by name: each constructor takes a lattice and gives `Model(HaarLinks(lattice, n), flow)`.

- `trivialising`: Luescher's trivialising flow (arXiv:0907.5491) in small steps, each a composition of couplings over all
  links: what follows is exact at any number of steps.
"""

from __future__ import annotations

from haarflow.flows.flow import Chain, Model, Repeat
from haarflow.flows.priors import HaarLinks
from haarflow.flows.residual import LoopCoupling


def trivialising(
    lattice: tuple[int, ...],
    n: int = 3,
    steps: int = 4,
    beta: float = 1.0,
    context: int = 0,
    bound: float = 1.0,
    symmetric: bool = True,
    condition: tuple[str, ...] = (),
) -> Model:
    """Return the flow along -grad S / (4 C_F) from Haar links to Wilson's action at `beta`, C_F = (N^2-1)/2N.

    That is its leading order for small beta: rho = beta / (2 (N^2-1)) in all, shared out evenly over `steps` steps, each of
    which visits the 2d classes of links (direction, colour) in order and, where `symmetric`, in reverse, both with half
    the coefficient (Strang's order). All coefficients are parameters, one for each step, class and plane; `context` lets
    them depend on that many powers of the loops around a link. With condition = ("beta",) one flow serves all beta, its
    coefficients polynomials in beta, and `beta` is not used.
    Raises ValueError for steps < 1 and, at first use, for odd extents.

    >>> model = trivialising((4, 4), n=2, steps=3, beta=2.2)
    >>> model.flow.n, len(model.flow.flow.flows), round(model.flow.flow.flows[0].start, 6)
    (3, 7, 0.061111)
    """
    if steps < 1:
        raise ValueError(f"a flow takes at least one step, got steps = {steps}")
    d, scale = len(lattice), 1.0 if condition else float(beta)
    whole = scale / (2.0 * (n * n - 1) * steps)
    classes = [(mu, parity) for mu in range(d) for parity in (0, 1)]
    order = [*classes[:-1], classes[-1], *classes[-2::-1]] if symmetric else classes
    shares = [0.5 if symmetric and place != classes[-1] else 1.0 for place in order]
    couplings = tuple(
        LoopCoupling(n, d, mu, parity, share * whole, bound, context, tuple(condition))
        for (mu, parity), share in zip(order, shares, strict=True)
    )
    return Model(HaarLinks(tuple(lattice), n), Repeat(Chain(couplings), steps))
