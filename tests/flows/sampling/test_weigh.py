"""The weights of given configurations are those that the same configurations have as draws."""

import numpy

from haarflow.core import random
from haarflow.flows.catalogue import FLOWS, constructor
from haarflow.flows.sampling.draws import draw, weigh
from haarflow.theories import Phi4


def test_weights_of_draws_come_back(backend):
    theory, couplings = Phi4((4, 4)), {"m2": -1.0, "lam": 1.0}
    model = constructor(FLOWS["phi4"]["copula"])((4, 4))
    params = model.init(random.key(1, backend))
    draws = draw(model, params, theory, random.key(2, backend), 6, couplings)
    found = weigh(model, params, theory, draws.field, couplings)
    numpy.testing.assert_allclose(backend.to_numpy(found), backend.to_numpy(draws.log_w), rtol=1e-9, atol=1e-9)
