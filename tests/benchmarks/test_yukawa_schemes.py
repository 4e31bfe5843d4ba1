"""What the study of the Yukawa schemes judges: estimates that their draws support, and no others."""

from types import SimpleNamespace

import pytest

from haarflow.benchmarks.studies.yukawa_schemes import JUDGED, OBSERVABLES, Row, _model, pulls
from haarflow.core.statistics import Estimate
from haarflow.flows.mixtures import Mixture
from haarflow.theories.models.yukawa import Yukawa, yukawa_pairs

COUPLINGS = {"m2": -4.0, "lam": 4.0, "g": 0.8}


def row(scheme, value, note=""):
    return Row(scheme, dict.fromkeys(OBSERVABLES, Estimate(value, 3.0, note=note)), 0.0, 1.0)


def test_a_row_that_its_draws_do_not_support_is_not_judged():
    point = SimpleNamespace(alone=Yukawa((4, 4)), couplings=COUPLINGS)
    rows = [row("hmc", 0.0), row("joint", 4.0), row("joint weights", 99.0, "3 effective samples")]
    found = pulls(point, rows)
    assert [name for name, _ in found] == [f"{name}: joint" for name in JUDGED]
    assert all(pull == pytest.approx(4.0 / 18**0.5) for _, pull in found)


@pytest.mark.parametrize(
    "extent, lam, name, averaged", [(8, 4.0, "pairs", 1), (8, 8.0, "pairs", 0), (2, 4.0, "joint", 0)]
)
def test_both_wells_are_averaged_over_where_the_field_orders(extent, lam, name, averaged):
    options = SimpleNamespace(two_wells=[4.0])
    model = _model(name, yukawa_pairs((extent, extent)), COUPLINGS | {"lam": lam}, options)
    assert not isinstance(model, Mixture) and (model.images is not None) == bool(averaged)
