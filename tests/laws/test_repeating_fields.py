"""Jacobians at periodic repetitions of a cell: the determinant of the whole lattice from the columns of one cell."""

import numpy
import pytest

from haarflow.core import random
from haarflow.core.groups.additive import U1, Real
from haarflow.core.groups.sun import SU
from haarflow.core.laws.law import Given
from haarflow.flows.flow import Model, Translate
from haarflow.flows.laws.cases import case
from haarflow.flows.laws.jacobian import settled
from haarflow.flows.laws.repeating_fields import COLUMNS, cell_of, log_abs_det, repeating
from haarflow.flows.laws.tables import MODEL_LAWS
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.priors import HaarLinks, UniformLinks
from haarflow.flows.scalar.tails import QuarticTail
from haarflow.verification.flow_objects import by_loops, halving
from tests.mutants.loop_flows import HalfLaplacian, NoConstant


@pytest.mark.parametrize(
    "model, cell",
    [
        (Model(HaarLinks((2, 4), 2), LoopFlow(2, 2, 1, 2.0, 1, scheme="continuous")), (2, 2)),
        (Model(HaarLinks((2, 4), 2), LoopFlow(2, 2, 1, 2.0, 1, scheme="continuous")), (1, 1)),
        (Model(HaarLinks((3, 3), 2), LoopFlow(2, 2, 2, 2.0, 1, 1, scheme="continuous")), (1, 3)),
        (Model(UniformLinks((4, 3)), halving("moebius", 2)), (2, 1)),
    ],
)
def test_one_cells_columns_give_the_determinant_of_all(model, cell):
    found = case(model, Given(model.prior.lattice, size="small"))
    x = repeating(found.x, cell, model.prior.lattice)
    words = (found.flow, found.params, x, None, found.group, 1)
    dense, *_ = settled(*words)
    said, expected = log_abs_det(*words, cell)
    assert said == pytest.approx(dense.log_det, abs=1e-12) and abs(expected) > 1e-3
    assert expected == pytest.approx(numpy.linalg.slogdet(dense.matrix)[1], abs=1e-9)


@pytest.mark.parametrize("flow, right", [(LoopFlow, True), (HalfLaplacian, False), (NoConstant, False)])
def test_a_wrong_divergence_shows_where_cells_repeat(flow, right):
    (law,) = [law for law in MODEL_LAWS if law.name == "integration_order"]
    model = by_loops(flow(2, 2, 2, 1.0, 2, 1, scheme="continuous"))((4, 4))
    assert law.expensive(model)
    assert law.check(model, Given((4, 4), size="small")).passed is right


def test_cells_are_the_largest_that_translations_and_the_columns_allow():
    shape, group = HaarLinks((3, 3, 3, 3), 3).field_shape, SU(3, 4)
    assert cell_of(LoopFlow(3, 4, scheme="continuous"), group, shape) == (1, 1, 1, 1)
    assert cell_of(halving("moebius", 1), U1(), (2, 8, 8)) == (4, 8)
    assert cell_of(QuarticTail(2), Real(), (8, 8)) == (8, 8)
    assert cell_of(QuarticTail(1), Real(), (2 * COLUMNS,)) == (COLUMNS,)
    assert cell_of(Translate((1, 0), 1), U1(), (2, 16, 16)) == (16, 16)  # it displaces the field
    assert cell_of(object(), Real(), (32, 32)) == (32, 32)  # it declares no translations


def test_a_repeated_field_is_its_first_cell(host):
    x = random.uniform(random.key(0, host), (2, 3, 4, 6))
    y = repeating(x, (2, 3), (4, 6))
    assert (y[..., :2, :3] == x[..., :2, :3]).all() and (y[..., 2:, 3:] == x[..., :2, :3]).all()
