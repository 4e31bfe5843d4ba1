"""The verdict: one function, the same sentences on the terminal and on the page, about all numbers."""

import html
import re

import pytest

from haarflow.report import tables, text
from haarflow.report.verdict import pulls, verdict
from tests.support.entries import entry, sampler


def said(samplers):
    return " ".join(line.text for line in verdict(samplers))


def grave(samplers):
    return [line.text for line in verdict(samplers) if line.grave]


def test_a_number_far_off_makes_the_verdict_a_warning():
    wrong = {"hmc": sampler(E=entry(2.0, 0.1, 1.0), phi2=entry(1.0, 0.1, 1.0))}
    (line,) = grave(wrong)
    assert "10.0 standard errors (E by hmc from its exact value); 1 exceeds 3: do not trust" in line
    assert grave({"hmc": sampler(E=entry(1.1, 0.1, 1.0))}) == []


def test_samplers_that_disagree_are_a_warning_without_any_exact_value():
    two = {"flow": sampler(E=entry(1.0, 0.1)), "hmc": sampler(E=entry(2.0, 0.1), Q=entry(0.0, 0.1))}
    (line,) = grave(two)
    assert "No value is known exactly and 1 difference between samplers is tested" in line
    assert "7.1 standard errors (E by flow and hmc)" in line


def test_samplers_that_disagree_on_two_sides_of_the_exact_value():
    """Both are 2.9 errors from the exact value, on either side: 4.1 from each other."""
    two = {"flow": sampler(E=entry(1.29, 0.1, 1.0)), "hmc": sampler(E=entry(0.71, 0.1, 1.0))}
    assert "4.1 standard errors (E by flow and hmc)" in grave(two)[0]


def test_the_headline_counts_what_the_cells_show():
    """No red cell without a grave line: 200 tables of two samplers by a fixed rule, with and without exact values."""
    for number in range(200):
        exact = 1.0 if number % 2 else None
        offset = number / 40.0
        two = {"flow": sampler(E=entry(1.0, 0.1, exact)), "hmc": sampler(E=entry(1.0 + 0.1 * offset, 0.1, exact))}
        page, _ = tables.observables_table(two, {})
        red = 'td class="bad"' in page
        assert not red or grave(two)
        poor = re.search('td class="(bad|poor)"', page)
        assert not poor or "none exceeds 3" not in said(two)


def test_terminal_and_page_say_the_same():
    two = {
        "a<b": sampler(E=entry(1.0, 0.1, 1.0), Q=entry(1.0, None, note="frozen")),
        "hmc": sampler(E=entry(2.0, 0.1, 1.0)),
    }
    page = html.unescape(re.sub("<[^>]+>", " ", tables.verdict(two)))
    for line in verdict(two):
        assert line.text in page and line.text in text.observables_table({"samplers": two})
    assert "a<b" not in tables.verdict(two)


def test_a_sampler_with_a_frozen_series_is_no_evidence_and_all_its_numbers_are_marked():
    slow = sampler(E=entry(2.0, 0.1, 1.0), Q=entry(3.0, None, 0.0, "frozen: each of the 4 chains is constant"))
    samplers = {"heatbath": slow, "hmc": sampler(E=entry(1.1, 0.1, 1.0))}
    assert "1 value is compared with an exact one" in said(samplers) and len(pulls(samplers)) == 1
    (line,) = grave(samplers)
    assert line.startswith("heatbath is not to be trusted: frozen: each of the 4 chains is constant (Q)")
    printed = text.observables_table({"samplers": samplers})
    assert "2.00(10)!" in printed and "+10.00" not in printed and "1.10(10)!" not in printed
    assert 'td class="bad"' not in tables.observables_table(samplers, {})[0]


def test_warnings_of_any_origin_mark_a_sampler():
    """The list in summary.json counts, whoever has filled it."""
    samplers = {"flow": {**sampler(E=entry(2.0, 0.1, 1.0)), "warnings": ["the flow does not cover the target"]}}
    assert (
        pulls(samplers) == [] and "flow is not to be trusted: the flow does not cover the target" in grave(samplers)[0]
    )
    assert "2.00(10)!" in text.observables_table({"samplers": samplers})


def test_a_chain_that_accepts_nothing_is_called_stuck():
    stuck = {**sampler(E=entry(2.0, 0.1, 1.0)), "acceptance": 0.0}
    assert "accepted only 0.0% of its steps" in grave({"hmc": stuck})[0]


def test_numbers_without_an_error_are_counted_and_named():
    flow = {
        "kind": "flow-reweighting",
        "observables": {"E": entry(1.0, 0.1, 1.0), "Q": entry(1.0, None), "m": entry(1, None)},
    }
    assert "2 numbers without an error bar: Q by flow, m by flow." in said({"flow": flow})


def test_without_any_comparison_the_verdict_says_so():
    assert "No value can be compared" in said({"hmc": sampler(E=entry(1.0, 0.1))})


def test_without_an_exact_value_the_most_precise_trusted_sampler_is_the_yardstick():
    samplers = {
        "flow": sampler(E=entry(1.5, 0.4)),
        "hmc": sampler(E=entry(1.0, 0.3)),
        "short": sampler(E=entry(1.0, 0.01, note="chains of 12 autocorrelation times each")),
        "stuck": sampler(E=entry(1.0, 0.001), Q=entry(1.0, None, note="frozen")),
    }
    found = tables.compared(samplers, "flow", "E")
    assert found.yardstick == "hmc" and found.sigmas == pytest.approx(1.0)
    assert tables.compared(samplers, "hmc", "E") == (None, "reference")
    assert tables.compared(samplers, "stuck", "E") == (None, "")
