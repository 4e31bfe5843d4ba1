"""Laws of flows that are integrated: the reported log-determinant and the way back miss those of the discrete map, by how much.

A flow in continuous time moves fields by steps of a Runge-Kutta scheme and reports the integral of the divergence. Both
come close to the same limit: the error of log_det, held against the dense Jacobian of the very map, and the distance that
inverse(forward(x)) has from x, fall with the scheme's order as steps are halved. A wrong divergence does not.
"""

from __future__ import annotations

from typing import Any

import numpy

from haarflow.core.groups import Real
from haarflow.core.law import Verdict, judge, to_host
from haarflow.flows.frames import apart
from haarflow.flows.jacobian_laws import settled

Array = Any
Params = Any
Condition = dict[str, Any] | None

ORDER = 3
FLOOR = 1e-8  # errors below are those of the differences
REASON = "2^(1/2 - order): halved steps leave an eighth of the error, with room for the next order"


def integration_order(
    flow: Any, finer: Any, params: Params, x: Array, condition: Condition = None, group: Any = None
) -> Verdict:
    """log_det = log |det dy/dx| + O(step^3): `finer`, of half the steps, misses it by an eighth of what `flow` does.

    The residual is the ratio of both errors, both of the batch's first member, in double precision.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.core import random
    >>> from haarflow.core.sun import SU
    >>> from haarflow.flows.loop_flow import LoopFlow
    >>> flow, finer = (LoopFlow(2, 2, order=1, beta=2.0, steps=n) for n in (1, 2))
    >>> x = SU(2, 2).haar(random.key(0, backend), (2, 2, 2, 2, 2, 2))
    >>> integration_order(flow, finer, flow.init(random.key(0, backend)), x, group=SU(2, 2)).passed
    True
    """
    errors = (integration_errors(one, params, x, condition, group) for one in (flow, finer))
    return _ratio(integration_order, *errors, x=x, params=params)


def reversal_order(
    flow: Any, finer: Any, params: Params, x: Array, condition: Condition = None, group: Any = None
) -> Verdict:
    """inverse(forward(x)) = x + O(step^3): of `finer`, of half the steps, an eighth is left.

    As `integration_order`.
    """
    group = group or Real()

    def missed(one: Any) -> numpy.ndarray:
        return numpy.abs(
            to_host(apart(group, one.inverse(params, one.forward(params, x, condition)[0], condition)[0], x))
        )

    return _ratio(reversal_order, missed(flow), missed(finer), x=x, params=params)


def integration_errors(
    flow: Any, params: Params, x: Array, condition: Condition = None, group: Any = None, members: int = 1
) -> numpy.ndarray:
    """Return log_det - log |det dy/dx| for the first `members` of a batch, by dense Jacobians: of the discrete map.

    The error's spread, beside that of log w, says what the integration costs; it grows as the root of the volume.
    """
    found = []
    for number in range(min(members, x.shape[0])):
        dense, *_ = settled(flow, params, x, condition, group or Real(), number)
        found.append(dense.log_det - float(numpy.linalg.slogdet(dense.matrix)[1]))
    return numpy.asarray(found)


def _ratio(law: Any, coarse: numpy.ndarray, fine: numpy.ndarray, **example: Any) -> Verdict:
    sizes = [float(numpy.sqrt(numpy.mean(numpy.square(error)))) for error in (coarse, fine)]
    return judge(law, sizes[1] / max(sizes[0], FLOOR), 2.0 ** (0.5 - ORDER), REASON, errors=sizes, **example)
