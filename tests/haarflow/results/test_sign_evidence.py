"""Whether chains that keep to one sign of the determinant are told from a determinant that has one sign."""

import numpy

from haarflow.results.ensemble import Sampled
from haarflow.results.sign_evidence import judged


def drawn(negative, kind="hmc", shape=(4, 250), log_w=None, seed=0):
    """Signs of which a share is negative."""
    sign = numpy.where(numpy.random.default_rng(seed).uniform(size=shape) < negative, -1.0, 1.0)
    return Sampled(kind, {"sign": sign}, log_w, None)


def test_a_chain_of_one_sign_is_judged_by_the_others():
    """6% in 1000 draws have an error of 0.75%: eight of its errors, 60 draws missing."""
    stuck, free = drawn(0.0), drawn(0.06)
    (said,) = judged("hmc", {"hmc": stuck, "hits": free})
    assert (
        said.startswith("the determinant is positive in all 1,000 draws, while it is negative in ")
        and "by hits" in said
    )
    assert judged("hits", {"hmc": stuck, "hits": free}) == []
    turned = Sampled("hmc", {"sign": -stuck.observables["sign"]}, None, None)
    assert "negative in all 1,000 draws, while it is positive in 9" in judged("hmc", {"hmc": turned, "hits": free})[0]


def test_without_a_second_sign_there_is_nothing_to_say():
    stuck = drawn(0.0)
    assert judged("hmc", {"hmc": stuck, "other": drawn(0.0)}) == []
    assert judged("hmc", {"hmc": stuck, "rare": drawn(0.002, seed=2)}) == []  # two draws of 1000: within its error
    few = drawn(0.0, shape=(1, 100))
    assert judged("hmc", {"hmc": few, "hits": drawn(0.06)}) == []  # six draws are not enough to be missed
    assert judged("hmc", {"hmc": Sampled("hmc", {"Q": numpy.zeros((1, 9))}, None, None), "hits": drawn(0.06)}) == []


def test_chains_that_began_on_both_sides_need_no_other():
    sign = numpy.ones((4, 250)) * numpy.asarray([[1.0], [1.0], [-1.0], [1.0]])
    (said,) = judged("hmc", {"hmc": Sampled("hmc", {"sign": sign}, None, None)})
    assert said.startswith("each of the 4 chains keeps the sign of the determinant with which it began")


def test_a_flow_counts_with_its_weights():
    """Draws of a negative determinant without weight are none of the target's."""
    flow = drawn(0.3, "flow-reweighting", (1, 2000), numpy.zeros((1, 2000)))
    stuck = drawn(0.0)
    assert "negative in 3" in judged("hmc", {"hmc": stuck, "flow": flow})[0]
    light = flow._replace(log_w=numpy.where(flow.observables["sign"] < 0, -50.0, 0.0))
    assert judged("hmc", {"hmc": stuck, "flow": light}) == [] and judged("flow", {"hmc": stuck, "flow": flow}) == []
