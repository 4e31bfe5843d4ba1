"""QCD: SU(N) gauge theory with two degenerate flavours of Wilson fermions, as links and a pseudofermion field.

    S(U, phi) = -(beta/N) sum_P Re tr U_P + phi^+ (Dhat Dhat^+)^-1 phi,    D = 1 - kappa H

The first flows for it in four dimensions: arXiv:2208.03832, 4^4, beta = 1, kappa = 0.1.
"""

from __future__ import annotations

from haarflow.theories.fermions.pseudofermions.measurements import Determinant, PointPion
from haarflow.theories.fermions.pseudofermions.pairs import WithPseudofermions
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.gauge.gradient_flow import FlowedCharge
from haarflow.theories.gauge.sun import SUNGauge


def QCD(
    lattice: tuple[int, ...],
    n: int = 3,
    antiperiodic: bool = True,
    tolerance: float = 1e-10,
    max_steps: int = 1000,
    pion: bool = False,
    determinant: bool = False,
    flow_time: float = 0.0,
    hasenbusch: tuple[float, ...] = (),
    mixed: bool = False,
) -> WithPseudofermions:
    """Return the theory on a lattice of even extents, in two or four dimensions, of fields `Pair(U, phi)`.

    `tolerance` and `max_steps` are those of the solves; `mixed`: whether these step in single precision between residuals in double. `pion`: whether the pion correlator of a point source is measured,
    `determinant`: whether ln|det D| is, `flow_time`: after which gradient flow the charge is, in four dimensions, 0 for no
    charge. `hasenbusch` are hopping parameters below kappa, with a pseudofermion field for each ratio of determinants between
    them. Raises ValueError for odd extents, and for a charge in two dimensions.

    >>> QCD((4, 4, 4, 4)).spaces.phi.shape
    (4, 3, 128)
    """
    operator = Wilson(lattice, n, antiperiodic)
    if flow_time and operator.d != 4:
        raise ValueError(f"the charge of SU(N) is defined in four dimensions, got d = {operator.d}: set flow_time to 0")
    charge = (FlowedCharge(flow_time),) if flow_time else ()
    measurements = (*((PointPion(),) if pion else ()), *((Determinant(),) if determinant else ()), *charge)
    return WithPseudofermions(
        SUNGauge(operator.lattice, n=n), operator, tolerance, max_steps, measurements, hasenbusch, mixed
    )
