"""`haarflow bench`: a wrong number is refused, a slower row is seen, what is stored can be read, the pages are current."""

import copy
import json
import math
from pathlib import Path

import numpy
import pytest

from haarflow import backends
from haarflow.benchmarks import page
from haarflow.benchmarks.harness import agreement, console, limits, meter, workloads
from haarflow.benchmarks.harness import bench as bench_module
from haarflow.benchmarks.harness.compare import compare, read
from haarflow.benchmarks.harness.problems import SUBJECTS, Problem
from haarflow.benchmarks.studies import scaling, twin_ratios, workers
from tests.support.runs import haarflow

SMALL = ("--lattice", "4x4", "--batch", "3", "--repeats", "3", "--quiet")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A small bench by the command line on two engines, with its table, its JSON and its picture."""
    folder = tmp_path_factory.mktemp("bench")
    files = ("--json", str(folder / "bench.json"), "--plot", str(folder / "bench.svg"))
    assert haarflow("bench", "u1", "-w", "action,heatbath,product", "-b", "numpy,jax", *SMALL, *files) == 0
    return folder


def test_the_json_has_what_a_reader_needs(stored):
    found = json.loads((stored / "bench.json").read_text())
    assert {"format", "date", "machine", "versions", "recipe", "rates", "absent", "rows"} == set(found)
    assert found["recipe"]["seed"] == 1 and found["recipe"]["threads"] == 1
    assert found["machine"]["cores"] >= 1 and found["machine"]["cpu"] and "numpy" in found["versions"]
    status = {(row["work"], row["engine"]): row["status"] for row in found["rows"]}
    assert status == {
        ("action", "numpy"): "timed",
        ("action", "jax"): "timed",
        ("heatbath", "numpy"): "timed",
        ("heatbath", "jax"): "timed",
        ("product", "numpy"): "skipped",
        ("product", "jax"): "skipped",
    }
    for row in found["rows"]:
        if row["status"] == "timed":
            low, high = row["cpu_quartiles"]
            assert 0.0 < low <= row["cpu_s"] <= high and row["wall_s"] > 0.0 and row["process_mib"] > 10.0
            assert row["cpu_ratio"] >= 0.5 and row["items"] == 3 and row["items_per_cpu_s"] > 0.0
    ratios = [row["cpu_ratio"] for row in found["rows"] if row["work"] == "heatbath"]
    assert min(ratios) == 1.0
    compiled = {row["engine"]: row["compile_cpu_s"] for row in found["rows"] if row["work"] == "heatbath"}
    assert compiled["jax"] > 10 * compiled["numpy"]


def test_the_table_and_the_picture_show_every_work(stored):
    found = json.loads((stored / "bench.json").read_text())
    text = console.render(found)
    assert "u1 4x4, batch 3, float64, 1 thread" in text and "SKIPPED product on numpy, jax" in text and "GB/s" in text
    assert "<svg" in (stored / "bench.svg").read_text()


def test_an_unchanged_bench_passes_and_a_planted_regression_is_seen(stored, tmp_path, capsys):
    old = read(stored / "bench.json")
    assert not any(change.regressed for change in compare(old, old))
    slower = copy.deepcopy(old)
    row = slower["rows"][1]
    row |= {"cpu_s": 2 * row["cpu_s"], "cpu_quartiles": [1.9 * row["cpu_s"], 2.1 * row["cpu_s"]]}
    (bad,) = [change for change in compare(slower, old) if change.regressed]
    assert bad.name == "u1 4x4 3 float64 1 action jax" and bad.factor == pytest.approx(2.0)
    elsewhere = copy.deepcopy(slower) | {"machine": {**old["machine"], "cpu": "another"}}
    assert not any(change.regressed for change in compare(elsewhere, old))
    elsewhere["rows"][0]["cpu_ratio"] *= 2.0
    assert [change.what for change in compare(elsewhere, old) if change.regressed] == ["ratio"]
    planted = copy.deepcopy(old)
    for row in planted["rows"]:
        if row["status"] == "timed":
            row |= {"cpu_s": row["cpu_s"] / 50.0, "cpu_quartiles": [x / 50.0 for x in row["cpu_quartiles"]]}
    (tmp_path / "fast.json").write_text(json.dumps(planted))
    words = ("bench", "u1", "-w", "action", "-b", "numpy", *SMALL, "--compare", str(tmp_path / "fast.json"))
    assert haarflow(*words) == 1
    assert "SLOWER" in capsys.readouterr().out


def test_a_bench_that_cannot_be_compared_is_refused(stored, tmp_path):
    old = read(stored / "bench.json")
    with pytest.raises(ValueError, match="no timed row in common"):
        compare(old | {"rows": []}, old)
    with pytest.raises(ValueError, match="above 1"):
        compare(old, old, threshold=0.9)
    for text in ("{}", "[]", "no json"):
        (tmp_path / "odd.json").write_text(text)
        with pytest.raises(ValueError, match="not a stored bench"):
            read(tmp_path / "odd.json")
    (tmp_path / "odd.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99"):
        read(tmp_path / "odd.json")


def test_a_wrong_answer_is_refused_and_says_whose(capsys):
    names = ",".join(
        f"tests.support.planted_workloads:{name}" for name in ("right_and_fast", "wrong_on_strict", "breaks")
    )
    assert haarflow("bench", "phi4", "-w", names, "-b", "numpy,strict,readonly", *SMALL) == 1
    printed = capsys.readouterr().out
    (line,) = [line for line in printed.splitlines() if line.startswith("REFUSED")]
    assert "wrong_on_strict on strict" in line and "differs from numpy by 1e-06" in line
    (line,) = [line for line in printed.splitlines() if line.startswith("FAILED")]
    assert "breaks on numpy, strict, readonly" in line and "RuntimeError: planted" in line


def test_what_is_not_finite_is_refused_everywhere(capsys):
    assert haarflow("bench", "phi4", "-w", "tests.support.planted_workloads:not_finite", "-b", "numpy", *SMALL) == 1
    assert "not all of its numbers are finite" in capsys.readouterr().out


def test_the_majority_is_the_reference():
    ones, twos = [numpy.ones(3)], [2.0 * numpy.ones(3)]
    assert agreement.refused({"a": ones, "b": twos, "c": ones}, 1e-8) == ("a", {"b": 1.0})
    assert agreement.refused({"a": twos, "b": ones, "c": ones}, 1e-8)[0] == "b"
    assert agreement.refused({"a": ones, "b": [numpy.ones(2)]}, 1e-8)[1] == {"b": float("inf")}
    assert agreement.distance([1j * numpy.ones(2)], [numpy.ones(2)]) == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    "words, message",
    [
        (("u2",), "phi4, u1, su2, su3"),
        (("u1", "-w", "acton"), "a workload is one of"),
        (("u1", "-w", "tests.nowhere:x"), "no work"),
        (("u1", "-l", "8by8"), "written like 8x8"),
        (("u1", "--dtype", "float16"), "float64, float32"),
    ],
)
def test_a_wrong_word_is_told(words, message, capsys):
    assert haarflow("bench", *words, "-b", "numpy", "-q") == 1
    assert message in capsys.readouterr().err


def test_an_engine_that_is_not_here_is_shown_as_absent():
    plan = bench_module.Plan(("u1",), ("action",), ("numpy", "torch:cuda:7"), ((4, 4),), (2,), repeats=1)
    with_gpu = bench_module.rows_of(plan, Problem("u1", (4, 4), 2), "action", RATES)
    assert [row["status"] for row in with_gpu] == ["timed", "absent"] and "cuda" in with_gpu[1]["reason"]


RATES = {"copy": 2e10, "flops_float64": 4e10, "flops_float32": 8e10, "sines": 1e8}


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("name", workloads.WORKS)
def test_every_work_runs_or_says_why_not(subject, name):
    backend = backends.get("numpy")
    problem = Problem(subject, (4, 4), 2)
    try:
        job = workloads.work(name)(problem, backend)
        found = job.call()
    except (workloads.DoesNotApply, backends.NoAutodiff):
        assert name == "train" or (name in ("plaquette", "product", "heatbath") and subject in ("phi4", "u1"))
        return
    assert job.items >= 2 and meter.timed(job.call, backend)[0].cpu >= 0.0
    assert agreement.leaves(job.answer(found))
    limit = limits.reached(problem, name, RATES, 1.0)
    assert limit is None or 0.0 < limit["fraction"] < 1.0


def test_the_limits_count_what_is_known():
    links = 2 * 16
    assert limits.least(Problem("u1", (4, 4)), "force").bytes == 2 * 8 * links
    product = limits.least(Problem("su3", (4, 4)), "product")
    assert product == limits.Least(3 * 144, 198)
    assert limits.limit(Problem("su3", (4, 4)), "force", RATES).bound == "flops"
    assert limits.limit(Problem("su3", (4, 4)), "product", RATES).bound == "memory"
    assert limits.limit(Problem("u1", (4, 4)), "force", RATES).bound == "sines"
    assert limits.limit(Problem("u1", (4, 4)), "train", RATES) is None


def test_volumes_double_until_the_memory_foretold_passes_the_limit(monkeypatch, capsys):
    def timed(plan, problem, work, rates):
        size = math.prod(problem.lattice)
        held = {"cpu_s": 1e-6 * size, "work_mib": 0.5 * size, "process_mib": 200.0 + 0.5 * size}
        return [{"status": "timed", "problem": problem.as_dict(), "work": work, "engine": "none"} | held]

    monkeypatch.setattr(scaling, "rows_of", timed)
    plan = bench_module.Plan(("phi4",), ("force",))
    problems = ((math.prod(one), Problem("phi4", one, 1)) for one in scaling.doubled((4, 8)))
    found, next_mib = scaling.series(plan, problems, "force", RATES, 1000.0)
    assert [row["size"] for row in found] == [32, 64, 128, 256, 512, 1024] and next_mib == pytest.approx(1224.0)
    row = scaling.summary("volume, batch 1", found, next_mib)
    assert (row["from"], row["to"]) == ("4x8", "32x32") and row["largest_mib"] == 512.0
    assert row["time_exponent"] == pytest.approx(1.0) and row["memory_exponent"] == pytest.approx(1.0)
    assert capsys.readouterr().out.count("phi4 force") == 6


def test_the_committed_results_and_their_page_belong_together():
    root = Path(__file__).parents[2]
    for path in (root / "benchmarks" / "results").glob("bench-*.json"):
        found = read(path)
        assert found["rows"] and path.name.endswith(f"{found['date']}.json") and not console.faults(found)
    assert (root / "docs" / "benchmarks.md").read_text(encoding="utf-8") == page.statement()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_the_hmc_twins_end_where_ours_do(engine):
    pytest.importorskip(engine)
    assert [pair.name for pair in twin_ratios.hmc([engine])] == ["u1 hmc", "su3 hmc"]


@pytest.mark.slow
def test_neither_devices_nor_workers_change_a_number():
    pytest.importorskip("jax")
    rows = [*workers.devices([1, 2], 64), *workers.farm([1, 2], 16)]
    assert len(rows) == 6 and all("DIFFERENT" not in row["equal"] for row in rows)
