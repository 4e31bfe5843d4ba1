"""The report: one page that stands alone, shows what the folder holds, and calls a frozen series frozen."""

import dataclasses
import html
import json
import re
from html.parser import HTMLParser

import numpy
import pytest

from haarflow.report import correlators, figures, reproduce, tables
from haarflow.report.columns import effective_samples
from haarflow.report.html import page as html_page
from haarflow.report.report import _sections, write_report
from haarflow.report.run_data import ReportError, read
from haarflow.report.sections import charge_bars, history_of, history_svg
from haarflow.results.ensemble import Sampled
from haarflow.results.summary import measured
from haarflow.run import recipes
from tests.support.entries import entry, sampler
from tests.support.runs import haarflow, uniform_recipe

VOID = {"meta", "br", "img", "hr", "link", "input"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run on NumPy: all kinds of samplers, nothing trained."""
    where = tmp_path_factory.mktemp("report")
    assert haarflow("run", uniform_recipe(where), "--backend", "numpy", "--out", where / "run", "--quiet") == 0
    return where / "run"


@pytest.fixture(scope="module")
def text(folder):
    return write_report(folder).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Checks that tags close in order; collects attributes."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()


def tags(text):
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    return parser.attributes


def test_the_page_stands_alone(text):
    attributes = tags(text)
    asked = [
        value for _, name, value in attributes if name in ("src", "href", "xlink:href") and not value.startswith("#")
    ]
    assert asked == []
    assert "<script" not in text and "@import" not in text and not re.search(r"url\((?!#)", text)
    assert len(text) < 1_000_000


def test_ids_are_unique_and_every_reference_has_its_target(text):
    ids = [value for _, name, value in tags(text) if name == "id"]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)) <= {(one, "") for one in ids} | {
        ("", one) for one in ids
    }


def test_every_picture_is_told_in_words(text):
    pictures = re.findall(r"<figure[^>]*><svg([^>]*)>", text)
    assert len(pictures) == 4 and all('role="img"' in one and 'aria-label="' in one for one in pictures)


def test_the_page_shows_every_number_of_the_summary(folder, text):
    summary = json.loads((folder / "summary.json").read_text())
    for label, one in summary["samplers"].items():
        assert label in text and f"{one['samples']:,}" in text
    for version in summary["versions"].values():
        assert version in text
    cells = re.findall(r'<td class="(good|fair|poor|bad|none|plain)">', text)
    assert len(cells) == sum(len(one["observables"]) for one in summary["samplers"].values())


def test_the_same_folder_gives_the_same_page(folder, text):
    assert write_report(folder).read_text(encoding="utf-8") == text


def test_a_folder_without_results_is_refused_and_an_old_report_stays(tmp_path):
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(ReportError, match=r"no summary\.json"):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"


def test_a_lattice_without_a_charge_shows_its_first_observable(folder):
    run = read(folder)
    series = {"flux": numpy.zeros((1, 5, 6)), "plaquette": numpy.zeros((1, 5))}
    other = run.found._replace(samplers={"hmc": Sampled("hmc", series, None, None)})
    assert history_of(run._replace(found=other)) == "plaquette" and history_of(run) == "Q"


HOSTILE = "<img src=x>&amp;$a^$"


@pytest.fixture(scope="module")
def renamed(folder):
    """The run with samplers, observables, a note and the description named by tags."""
    run = read(folder)
    entries = {HOSTILE + name: row for name, row in run.summary["samplers"].items()}
    for row in entries.values():
        row["observables"] = {HOSTILE + name: found for name, found in row["observables"].items()}
        row["observables"][HOSTILE + "Q"]["note"] = HOSTILE
    found = {}
    for label, sampled in run.found.samplers.items():
        observables = {HOSTILE + name: values for name, values in sampled.observables.items()}
        found[HOSTILE + label] = sampled._replace(observables=observables)
    settings = {HOSTILE + name: row for name, row in run.recipe.samplers.items()}
    recipe = dataclasses.replace(run.recipe, samplers=settings, description=HOSTILE, name=HOSTILE)
    target = dataclasses.replace(run.target, recipe=recipe)
    summary = {**run.summary, "samplers": entries, "recipe": HOSTILE}
    return run._replace(summary=summary, found=run.found._replace(samplers=found), target=target)


def test_no_name_becomes_a_tag(renamed, text):
    page = html_page(HOSTILE, HOSTILE, _sections(renamed))
    assert [tag for tag, *_ in tags(page) if tag == "img"] == [] and "<img" not in page
    assert {name for _, name, _ in tags(page)} == {name for _, name, _ in tags(text)}
    shown = html.unescape(page)
    assert shown.count(HOSTILE) > 60 and "<img" not in shown.replace(HOSTILE, "")


# ---- what it says of numbers


def test_a_frozen_chain_is_called_frozen(folder, tmp_path, text):
    assert "FROZEN" not in text
    frozen = frozen_copy(folder, tmp_path)
    page = write_report(frozen).read_text(encoding="utf-8")
    assert "FROZEN: Q changed 0 times in 4 chains of 25 draws" in page
    assert "hmc is not to be trusted: " in page and re.search(r"\(Q, Q2, p_Q0\)|\(Q, Q2\)|\(Q\)", html.unescape(page))
    assert "constant over all" in page or "frozen: each of the" in page


def frozen_copy(folder, target):
    """The same run with HMC's charge stuck at a value of its own in each chain."""
    import shutil

    import h5py

    copy = target / "frozen"
    shutil.copytree(folder, copy)
    with h5py.File(copy / "ensemble.h5", "a") as file:
        stuck = numpy.broadcast_to(numpy.asarray([[1.0], [-1.0], [2.0], [0.0]]), (4, 25))
        for name, values in {"Q": stuck, "Q2": stuck**2, "p_Q0": 1.0 * (stuck == 0)}.items():
            file["hmc/observables"][name][...] = values
    summary = json.loads((copy / "summary.json").read_text())
    summary["samplers"]["hmc"] |= measured(copy / "ensemble.h5")["samplers"]["hmc"]
    (copy / "summary.json").write_text(json.dumps(summary))
    return copy


def test_pulls_are_graded_by_their_size():
    assert [tables.grade(pull) for pull in (0.0, 2.0, -2.1, 3.5, -4.5, None, float("nan"))] == [
        "good", "good", "fair", "poor", "bad", "none", "none"
    ]  # fmt: skip


def test_the_bars_of_a_weighted_sampler_count_by_weight():
    log_w = numpy.log(numpy.asarray([[3.0, 1.0, 2.0, 2.0]]))
    sampled = Sampled("flow-reweighting", {"Q": numpy.asarray([[0.0, 1.0, 1.0, 0.0]])}, log_w, None)
    bars = charge_bars(sampled, None)
    assert bars[0].value == pytest.approx(5 / 8) and bars[1].value == pytest.approx(3 / 8) and bars[-1].value == 0.0


def test_effective_samples_of_a_frozen_chain_are_unknown():
    assert effective_samples(sampler(Q=entry(1.0, None))) is None
    assert effective_samples({**sampler(Q=entry(1.0, 0.1)), "warnings": ["a reason"]}) is None


# ---- the command that does it again


@pytest.mark.parametrize(
    "words", [(), ("theory.beta=1.25", "lattice=[8,8]"), ("samplers.hmc=false", "train.anneal.beta=0.5"), ("seed=3",)]
)
def test_the_command_gives_the_same_recipe_again(words):
    recipe = recipes.load("u1-tiny", words)
    program, verb, name, *overrides = reproduce.command(recipe)
    assert (program, verb, name) == ("haarflow", "run", "u1-tiny") and recipes.load(name, overrides) == recipe


def test_a_recipe_of_ones_own_is_named_by_its_file(folder):
    assert reproduce.command(recipes.load(folder)) == ["haarflow", "run", "recipe.toml"]


# ---- pictures


def test_the_history_alone_is_a_small_file(folder, tmp_path):
    from xml.etree import ElementTree

    svg = history_svg(read(folder), draws=1000)
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg" and len(svg) < 200_000


def test_training_with_a_nan_and_a_single_line_is_drawn():
    svg = figures.training([10.0, 20.0, 30.0], [5.0, float("nan"), 1.0], [0.1, float("nan"), 0.5], floor=0.0)
    assert svg.startswith("<svg") and "<path" in svg
    assert figures.training([1.0], [2.0], [0.3]).startswith("<svg")


def test_weights_of_minus_infinity_do_not_break_the_histogram():
    svg = figures.weights({"flow": (numpy.asarray([[-numpy.inf, 0.0, 1.0]]), 0.5)}, "log w")
    assert svg.startswith("<svg")


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.training([1.0, 2.0], [2.0, 1.0], [0.3, 0.4])
    assert dict(matplotlib.rcParams) == before


def test_a_sampler_has_one_colour_in_every_figure():
    names, series = ["flow-metropolis", "mine", "hmc"], numpy.linspace(0.0, 1.0, 40).reshape(20, 2)
    panels = [figures.Panel(name, "", series) for name in names]
    every = re.findall(r"stroke: (#[0-9a-f]{6})", figures.densities(panels, "E"))
    log_w = numpy.linspace(-1.0, 1.0, 40)
    for name in names:
        alone = figures.weights({name: (log_w, 0.5)}, "log w", names)
        mine = [colour for colour in figures.COLOURS if f"fill: {colour}" in alone]
        assert len(mine) == 1 and every.count(mine[0]) == 2  # a curve and its line in the legend


def test_real_observables_have_their_panels_own_scale_and_charges_share_one():
    small, large = numpy.linspace(0.1, 0.2, 40).reshape(20, 2), numpy.linspace(10.5, 20.5, 40).reshape(20, 2)
    ticks = figures.history([figures.Panel("a", "", small), figures.Panel("b", "", large)], "E")
    numbers = [float(word) for word in re.findall(r">([0-9.]+)<", ticks)]
    assert any(0.1 < number < 0.2 for number in numbers) and any(10.0 < number < 20.5 for number in numbers), numbers


def test_what_is_derived_of_other_observables_needs_no_draws_of_its_own(tmp_path):
    """One flavour is reweighted by the sign: <O sign>/<sign> stands in the summary, and not in the ensemble."""
    recipe = tmp_path / "one.toml"
    recipe.write_text(
        'name = "one"\nlattice = [2, 2]\n[theory]\nname = "schwinger"\nbeta = 1.0\nkappa = 0.15\nflavours = 1\n'
        "[samplers.hmc]\nchains = 2\ndraws = 4\nwarmup = 1\nsteps = 1\n",
        encoding="utf-8",
    )
    folder = tmp_path / "run"
    assert haarflow("run", recipe, "--backend", "numpy", "--out", folder, "--quiet") == 0
    run = read(folder)
    assert "signed_plaquette" in run.summary["samplers"]["hmc"]["observables"]
    assert "signed_plaquette" not in run.found.samplers["hmc"].observables


@pytest.mark.parametrize(("before", "massive"), [(0.9, True), (0.3, False)])
def test_a_correlator_has_a_panel_of_masses_only_where_there_is_one(before, massive):
    """C(1) = 0.5 and C(2) = 0.2: cosh m = (C(0) + C(2)) / 2C(1) is 1.1 or 0.5, which is no cosh."""
    series = numpy.broadcast_to(numpy.asarray([before, 0.5, 0.2, 0.5]), (4, 50, 4))
    noise = 1e-3 * numpy.random.default_rng(1).normal(size=series.shape)
    sampled = Sampled("hmc", {"pion": series + noise}, None, None)
    curves = correlators.curves(sampled, "pion")
    assert (curves[1][0].value is not None) == massive
    assert ("effective mass" in figures.correlator({"hmc": curves}, "pion")) == massive
