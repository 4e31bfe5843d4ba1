"""`haarflow verify`: subjects, what is printed, exit codes, and counterexamples that can be pasted."""

import contextlib
import json
import textwrap
from types import SimpleNamespace

import pytest

import haarflow as library
from haarflow.core.groups.additive import U1
from haarflow.core.laws.law import Given, Law
from haarflow.flows.loops.flow import LoopFlow
from haarflow.models import shipped
from haarflow.run.progress import Progress, Task
from haarflow.verification.entry import Entry
from haarflow.verification.flow_objects import by_loops
from haarflow.verification.harness import left_out
from haarflow.verification.subjects import entries, kind_of
from haarflow.verification.verify import blocks_of
from tests.mutants.flows.table import MUTANTS
from tests.support.runs import haarflow

WRONG = """
    from dataclasses import dataclass
    from haarflow.flows.scalar.tails import QuarticTail

    @dataclass(frozen=True)
    class Wrong(QuarticTail):
        def forward(self, params, x, condition=None):
            y, log_det = super().forward(params, x, condition)
            return y, 0.5 * log_det

    wrong = Wrong(2)
    right = QuarticTail(2)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module of a user in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_to_verify.py").write_text(textwrap.dedent(WRONG))
    yield "mine_to_verify"
    __import__("sys").modules.pop("mine_to_verify", None)


def test_a_wrong_log_det_is_found_with_an_example_that_repeats_it(module, capsys):
    assert haarflow("verify", f"{module}:wrong", "--backend", "numpy", "--jobs", 1, "--quiet", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    failed = {row["law"]: row for row in found["results"] if not row["passed"]}
    assert found["failed"] == len(failed) and "log_det_by_differences" in failed and "round_trip" not in failed
    row = failed["log_det_by_differences"]
    assert row.keys() == {"law", "object", "backend", "dtype", "residual", "tolerance", "passed", "example"}
    repeated = eval(row["example"], {"haarflow": library, "Given": Given})
    assert [result.law for result in repeated.failed] == ["log_det_by_differences"]
    assert repeated.failed[0].residual == pytest.approx(row["residual"])


def test_the_right_one_passes_in_worker_processes(module, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", ".")
    assert haarflow("verify", f"{module}:right", "--backend", "numpy", "--jobs", 2, "--quiet") == 0
    printed = capsys.readouterr().out
    assert "log_det_by_differences" in printed and "0 failed" in printed


@pytest.mark.parametrize(
    "subject, kinds",
    [
        ("u1-tiny", {"theory", "model"}),
        ("u1-freezing", {"model"}),
        (U1(), {"group"}),
        ("haarflow.theories:Phi4", {"theory"}),
    ],
)
def test_subjects_of_every_sort(subject, kinds):
    assert {entry.kind for entry in entries(subject)} >= kinds


@pytest.mark.parametrize(
    "recipe, kinds",
    [
        (
            "schwinger-pairs",
            {
                "theory": "pairs",
                "theory at fixed pseudofermions": "theory",
                "flow of links": "model",
                "flow of pseudofermions": "model",
            },
        ),
        ("yukawa-joint", {"theory": "pairs", "theory at fixed pseudofermions": "theory", "flow": "model"}),
    ],
)
def test_recipes_of_pairs_are_verified_field_by_field(recipe, kinds, capsys):
    """On 2x2: the weight of the links that integrating over the pseudofermions leaves, and Jacobians that the way back undoes."""
    found = entries(recipe)
    assert {entry.name: entry.kind for entry in found} == {f"{recipe} {name}": kind for name, kind in kinds.items()}
    assert {entry.lattices for entry in found} == {((2, 2),)}
    laws = ("--law", "marginal_weight", "--law", "log_dets_cancel", "--law", "border")
    words = ("--backend", "numpy", "--jobs", 1, "--quiet", "--json")
    assert haarflow("verify", recipe, *laws, *words) == 0
    checked = {row["object"] for row in json.loads(capsys.readouterr().out)["results"]}
    assert checked == {entry.name for entry in found}


def test_a_trained_model_is_verified_with_its_own_parameters():
    found = library.verify(
        "u1-freezing",
        backend="numpy",
        laws=("round_trip", "log_dets_cancel", "file_keeps_the_model", "draws_have_the_density"),
    )
    assert len(found.results) >= 2 and not found.failed


def test_what_is_kept_between_laws_hides_no_flow_that_writes_into_its_input():
    (spoiler,) = [mutant for mutant in MUTANTS if mutant.name == "a flow that writes into its input"]
    found = library.verify(spoiler.make((4, 4)), backend="numpy", laws=("round_trip", "support", "inputs_unchanged"))
    assert "inputs_unchanged" in {result.law for result in found.failed}


@pytest.mark.parametrize(
    "words, sentence",
    [
        (("no.such.module:flow",), "no module 'no'"),
        (("haarflow.theories:Phi5",), "haarflow.theories has no 'Phi5'"),
        (("u1-2x",), "there is nothing called 'u1-2x' to verify"),
        (("U1", "--law", "round_tripp"), "no law 'round_tripp'"),
        (("U1", "--backend", "jaxx"), "jaxx"),
        (("U1", "--profile", "fast"), "a profile is one of"),
        (("haarflow.core.lattice.geometry:volume",), "does not return an object of a known kind"),
    ],
)
def test_a_word_that_leads_nowhere_is_one_sentence(words, sentence, capsys):
    assert haarflow("verify", *words, "--jobs", 1, "--quiet") == 1
    assert sentence in capsys.readouterr().err


def test_what_is_of_no_kind_is_refused_with_what_each_kind_has():
    with pytest.raises(TypeError, match="a kernel has init, step, values"):
        kind_of(3)


def test_an_object_that_raises_fails_its_laws_with_the_message():
    class Broken(U1):
        def exp(self, w):
            raise ArithmeticError("out of order")

    found = library.verify(Broken(), backend="numpy")
    assert any("ArithmeticError: out of order" in result.reason for result in found.failed)


def test_the_list_names_objects_and_formulas(capsys):
    assert haarflow("verify", "--list") == 0
    printed = capsys.readouterr().out
    assert "round_trip" in printed and "U(1) d=2" in printed


def test_what_quick_leaves_to_another_backend_is_checked_where_there_is_none():
    law = Law(kind_of, kind_of, sampled=True, shared_draws=True, programs=True)
    jax = SimpleNamespace(name="jax")
    assert left_out(law, jax, True, ("jax",)) is None
    assert "only NumPy is checked" in left_out(law, jax, True, ("numpy", "jax"))
    assert "programs" in left_out(law, jax, True, ("jax", "torch"))


def test_a_trained_flow_along_loops_is_held_to_its_laws_on_the_smallest_lattice():
    """One of them: the slow test has all."""
    (entry,) = entries("su2-2d-loops")
    laws = ("fresh_parameters",)
    found = library.verify("su2-2d-loops", backend="numpy", laws=laws)
    assert entry.lattices == ((3, 3),) and len(found.results) == len(laws) and not found.failed


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped())
def test_every_shipped_model_keeps_all_its_laws(name, capsys):
    assert haarflow("verify", name, "--backend", "numpy", "--jobs", 1) == 0
    printed = capsys.readouterr()
    assert "0 failed" in printed.out and printed.err.count(" on numpy: ") > 1  # law by law


def test_of_few_objects_each_law_is_a_block_and_those_that_take_minutes_come_last():
    wide = Entry("wide", "model", by_loops(LoopFlow(2, 2, scheme="continuous")), ((4, 4),))
    blocks = [block.laws for block in blocks_of([wide], ["numpy"])]
    assert len(blocks) == len(set(blocks)) > 10 and blocks[-1] == ("integration_order",)


def test_a_person_sees_which_law_of_which_object_is_waited_for():
    seen = []

    class Watched(Progress):
        @contextlib.contextmanager
        def task(self, name, total, done=0):
            line = Task(name, total, done)
            line.show = lambda values: seen.append((line.name, line.done))
            yield line

    library.verify(U1(), backend="numpy", laws=("closure", "associativity"), progress=Watched())
    assert seen == [("closure of U1 on numpy", 0), ("associativity of U1 on numpy", 1), ("laws", 2)]
