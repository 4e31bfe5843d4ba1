"""The catalogues: rows and what is read from them; a theory with a bool and a word; samplers a theory does not admit."""

import dataclasses
import inspect

import pytest

from haarflow.flows import catalogue as flow_catalogue
from haarflow.run import own
from haarflow.run.build import model_of
from haarflow.run.kernels import KERNELS
from haarflow.run.recipes import RecipeError, check
from haarflow.run.samplers import SAMPLERS
from haarflow.run.schema import theory_settings
from haarflow.run.settings import THEORY_SETTINGS
from haarflow.run.target import target_of
from haarflow.theories import Phi4
from haarflow.theories.catalogue import THEORIES, Coupling, Option, Row
from haarflow.theories.theory import check_couplings

TINY = {"name": "try", "lattice": [4, 4], "theory": {"name": "u1", "beta": 1.0}}


@dataclasses.dataclass(frozen=True)
class Bounded:
    """A theory that is defined by a bool and a word."""

    lattice: tuple[int, ...]
    antiperiodic: bool = True
    boundary: str = "closed"
    weight: float = 0.5

    group = Phi4.group
    couplings = {"m2": 1.0}  # noqa: RUF012

    def action(self, field, couplings=None):
        return 0.0


BOUNDED = Row(
    Bounded,
    "phi4",
    "bounded theory",
    "S = 0",
    {"m2": Coupling("mass", "m²")},
    ("flow", "hmc"),
    {"antiperiodic": Option("sign"), "boundary": Option("ends"), "weight": Option("weight")},
)


def bounded(monkeypatch, **words):
    """The target of a recipe of the throwaway theory."""
    monkeypatch.setitem(THEORIES, "bounded", BOUNDED)
    monkeypatch.setitem(THEORY_SETTINGS, "bounded", theory_settings("bounded", BOUNDED))
    return target_of(check({**TINY, "theory": {"name": "bounded", "m2": 2, **words}}))


def test_false_and_words_reach_the_theory_and_are_no_couplings(monkeypatch):
    target = bounded(monkeypatch, antiperiodic=False, boundary="open", weight=0.0)
    assert target.theory == Bounded((4, 4), antiperiodic=False, boundary="open", weight=0.0)
    assert target.couplings == {"m2": 2.0}
    assert target.definition == {"antiperiodic": False, "boundary": "open", "weight": 0.0}
    assert bounded(monkeypatch).definition == {} and bounded(monkeypatch).theory == Bounded((4, 4))


def test_words_of_another_type_are_refused(monkeypatch):
    with pytest.raises(RecipeError, match=r"theory.antiperiodic must be true or false, got 0"):
        bounded(monkeypatch, antiperiodic=0)
    with pytest.raises(RecipeError, match=r"theory.bondary: there is no such key, did you mean 'boundary'\?"):
        bounded(monkeypatch, bondary="open")


def test_a_sampler_that_a_theory_does_not_admit_is_refused_with_a_sentence(monkeypatch):
    monkeypatch.setitem(THEORIES, "bounded", BOUNDED)
    monkeypatch.setitem(THEORY_SETTINGS, "bounded", theory_settings("bounded", BOUNDED))
    table = {**TINY, "theory": {"name": "bounded", "m2": 1.0}}
    with pytest.raises(
        RecipeError, match=r"samplers\.metropolis: bounded does not admit metropolis; it admits flow, hmc"
    ):
        check({**table, "samplers": {"metropolis": {}}})
    with pytest.raises(RecipeError, match=r"samplers\.mix: a heat bath exists for gauge theories and spins only"):
        check({**table, "samplers": {"mix": {"kind": "cycle", "kernels": ["hmc", "heatbath"]}}})


@pytest.mark.parametrize("name", THEORIES)
def test_a_row_says_of_its_theory_what_is_so(name):
    """Couplings, options and samplers of a row are those of the theory it makes; what a report shows has a label."""
    row = THEORIES[name]
    theory = row.make((4, 4), **{word: 2 for word, entry in row.options.items() if entry.required})
    assert set(row.couplings) == set(theory.couplings)
    made_of_others = "lattice" not in {entry.name for entry in dataclasses.fields(theory)}
    assert set(row.options) <= set(inspect.signature(row.make).parameters)
    assert set(row.samplers) <= set(KERNELS)
    assert row.samplers == own.theory_row(name, row.make if made_of_others else type(theory)).samplers
    assert set(theory.summary) <= set(theory.labels)
    assert (check_couplings(theory, {}) and row.title and row.formula and row.small) or name in (
        "su4",
        "qcd",
        "schwinger-pairs",
        "yukawa-pairs",
    )


def test_flows_are_there_for_families_of_the_catalogue():
    assert set(flow_catalogue.FLOWS) <= {row.family for row in THEORIES.values()}


def test_every_flow_of_the_catalogue_is_made_on_a_lattice():
    samples = {"u1": {"name": "u1", "beta": 1.0}, "sun": {"name": "su2", "beta": 1.0}}
    samples |= {"phi4": {"name": "phi4", "m2": 1.0, "lam": 1.0}, "qcd": {"name": "qcd", "beta": 1.0, "kappa": 0.1}}
    samples |= {"yukawa": {"name": "yukawa-pairs", "m2": 1.0, "lam": 1.0, "g": 0.3}}
    samples |= {"schwinger": {"name": "schwinger-pairs", "beta": 1.0, "kappa": 0.1}}
    samples |= {"spins": {"name": "ising", "beta": 0.3}}
    for family, rows in flow_catalogue.FLOWS.items():
        for kind, row in rows.items():
            table = {**TINY, "theory": samples[family], "flow": {"kind": kind}, "train": {}}
            model = model_of(target_of(check(table)))
            assert type(model.flow).__name__ in flow_catalogue.CLASSES and row.what


def test_colours_and_kinds_of_samplers_are_distinct():
    colours = [row.colour for row in SAMPLERS.values() if row.colour is not None]
    assert len(set(colours)) == len(colours)
    assert {row.draws for row in SAMPLERS.values()} == {"chain", "accepted", "weighted"}
    assert all(row.settings().kind == name for name, row in SAMPLERS.items())
