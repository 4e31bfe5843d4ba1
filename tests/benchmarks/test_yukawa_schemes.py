"""What the study of the Yukawa schemes judges: estimates that their draws support, and no others."""

from types import SimpleNamespace

import pytest

from haarflow.benchmarks.studies.yukawa_schemes import JUDGED, OBSERVABLES, _model, with_pulls
from haarflow.core.statistics import Estimate
from haarflow.flows.mixtures import Mixture
from haarflow.theories.models.yukawa import yukawa_pairs

COUPLINGS = {"m2": -4.0, "lam": 4.0, "g": 0.8}


def row(scheme, value, note=""):
    estimates = dict.fromkeys(OBSERVABLES, Estimate(value, 3.0, note=note)._asdict())
    return {"lattice": 4, "lam": 4.0, "g": 0.8, "scheme": scheme, "estimates": estimates}


def test_a_row_that_its_draws_do_not_support_is_not_judged():
    rows = [row("hmc", 0.0), row("joint", 4.0), row("joint weights", 99.0, "3 effective samples")]
    hmc, joint, weights = (one.get("pulls") for one in with_pulls(rows))
    assert hmc is None and weights == {} and tuple(joint) == JUDGED
    assert all(pull == pytest.approx(4.0 / 18**0.5) for pull in joint.values())


@pytest.mark.parametrize(
    "extent, lam, name, averaged", [(8, 4.0, "pairs", 1), (8, 8.0, "pairs", 0), (2, 4.0, "joint", 0)]
)
def test_both_wells_are_averaged_over_where_the_field_orders(extent, lam, name, averaged):
    options = SimpleNamespace(two_wells=[4.0])
    model = _model(name, yukawa_pairs((extent, extent)), COUPLINGS | {"lam": lam}, options)
    assert not isinstance(model, Mixture) and (model.images is not None) == bool(averaged)
