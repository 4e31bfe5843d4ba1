"""Shards: whoever draws a block, however many there are, one run comes of them; what is missing or does not fit is named."""

import json
import shutil

import pytest

from haarflow.pipeline import gather, run, run_shard
from haarflow.run import recipes
from haarflow.run.build import Plan, build
from haarflow.run.executors.identity import identity
from haarflow.run.records import PathLine, SampleLine, ThermodynamicsLine, TrainLine, TuneLine, as_json
from haarflow.run.runfolder import FolderError, RunFolder, opened, read_metrics
from haarflow.run.stages import shards
from haarflow.run.stages.shards import Shard, shard_of
from tests.support.runs import haarflow, numbers, uniform_recipe

FEW = ["samplers.heatbath=false", "samplers.mixture=false", "samplers.hmc.draws=12", "fields_every=5"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe of four, three and two blocks of three samplers."""
    path = uniform_recipe(tmp_path_factory.mktemp("recipe"))
    return recipes.load(path, FEW, run__backend="numpy")


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """The numbers of one process."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(recipe, folder, report=False)
    return numbers(folder)


@pytest.fixture(scope="module")
def drawn(recipe, tmp_path_factory):
    """The folder of two shards of two, not gathered."""
    folder = tmp_path_factory.mktemp("drawn") / "run"
    for number in (2, 1):
        run_shard(recipe, folder, Shard(number, 2))
    return folder


@pytest.fixture
def two(drawn, tmp_path):
    """A copy of it."""
    return shutil.copytree(drawn, tmp_path / "two")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_block_belongs_to_one_shard(recipe, count):
    plans = build(recipe).plans
    for name, plan in plans.items():
        taken = [number for place in range(count) for number in Shard(place + 1, count).blocks(plans, name)]
        assert sorted(taken) == list(range(plan.blocks))


def test_blocks_of_a_flow_are_spread_evenly_and_a_chain_stays_in_one_shard():
    flow = recipes.load("u1-tiny").samplers
    plans = {name: Plan(name, settings, 1, 0, 10, 1) for name, settings in flow.items()}
    assert list(Shard(2, 4).blocks(plans, "flow-metropolis")) == [1, 5, 9]
    chains = {
        (name, place): len(Shard(place, 2).blocks(plans, name)) for name in ("hmc", "heatbath") for place in (1, 2)
    }
    assert chains == {("hmc", 1): 10, ("hmc", 2): 0, ("heatbath", 1): 0, ("heatbath", 2): 10}


def test_shards_in_any_order_make_the_run_of_one_process(two, whole):
    gather(two, report=False)
    assert numbers(two) == whole
    assert not (two / "shards").exists() and not (two / "blocks").exists()


def test_shards_of_several_counts_and_a_run_complete_one_another(recipe, whole, tmp_path):
    for shard in (Shard(1, 3), Shard(2, 2)):
        run_shard(recipe, tmp_path / "run", shard)
    with pytest.raises(
        FolderError, match=r"lacks flow-metropolis 2.*shards of different counts have begun there: 1-of-3, 2-of-2"
    ):
        gather(tmp_path / "run", report=False)
    run(recipe, tmp_path / "run", report=False)
    assert numbers(tmp_path / "run") == whole


def test_shards_of_two_folders_are_gathered(recipe, whole, tmp_path):
    for number in (1, 2):
        run_shard(recipe, tmp_path / f"{number}", Shard(number, 2))
    gather(tmp_path / "1", [tmp_path / "2"], report=False)
    assert numbers(tmp_path / "1") == whole


def test_a_shard_that_is_missing_is_named(two):
    for path in (*two.glob("blocks/flow-metropolis.00000[13]*"), two / "blocks/hmc.000001.safetensors"):
        path.unlink()
    shards_there = two / "shards"
    with pytest.raises(
        FolderError,
        match=r"shard 1/2 \(begun on \S+\) lacks hmc 1; shard 2/2 \(begun on \S+\) lacks flow-metropolis 1, 3",
    ):
        gather(two)
    for path in shards_there.glob("2-of-2.json*"):
        path.unlink()
    with pytest.raises(FolderError, match=r"shard 2/2 \(which has not begun\) lacks flow-metropolis 1, 3"):
        gather(two)
    shutil.rmtree(shards_there)
    with pytest.raises(FolderError, match="no shard has begun there"):
        gather(two)


def test_a_shard_draws_what_it_lacks_and_no_more(recipe, two, whole):
    lost = two / "blocks/flow-metropolis.000001.safetensors"
    kept = {path: path.stat().st_mtime_ns for path in two.glob("blocks/*") if path != lost}
    lost.unlink()
    run_shard(recipe, two, Shard(2, 2))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept and lost.exists()
    gather(two, report=False)
    assert numbers(two) == whole
    run_shard(recipe, two, Shard(2, 2))
    assert not list(two.glob("blocks/*"))


def test_shards_of_other_recipes_and_seeds_are_named(recipe, drawn, tmp_path):
    other = recipes.load(drawn / "recipe.toml", seed=5)
    with pytest.raises(FolderError, match="seed: 0 there, 5 here"):
        run_shard(other, drawn, Shard(1, 2))
    run_shard(other, tmp_path / "other", Shard(1, 99))
    with pytest.raises(FolderError, match="seed: 5 there, 0 here"):
        gather(shutil.copytree(drawn, tmp_path / "copy"), [tmp_path / "other"])


def test_shards_of_other_code_or_versions_are_named(recipe, two):
    note = two / "shards/1-of-2.json"
    table = json.loads(note.read_text())
    note.write_text(json.dumps(table | {"code": {"haarflow": "abc"}, "host": "node7"}))
    for refused in (lambda: gather(two), lambda: run_shard(recipe, two, Shard(2, 2))):
        with pytest.raises(FolderError, match=r"haarflow code \w+ on .*, code abc on node7 \(shard 1-of-2\)"):
            refused()
    note.write_text(json.dumps(table | {"versions": table["versions"] | {"numpy": "1.0"}}))
    with pytest.raises(FolderError, match=r"numpy \S+ on .*, 1\.0 on"):
        gather(two)


def test_the_same_block_with_other_numbers_is_named(two, drawn, tmp_path):
    other = shutil.copytree(drawn, tmp_path / "other")
    RunFolder(other).write_block("hmc", 0, RunFolder(other).read_block("hmc", 1))
    with pytest.raises(FolderError, match=r"hmc\.000000\.safetensors are the same block with other numbers"):
        gather(two, [other])
    (other / "recipe.toml").unlink()
    with pytest.raises(FolderError, match=r"other has no recipe\.toml"):
        gather(two, [other])


def test_flows_that_were_trained_apart_are_refused(two, drawn, tmp_path):
    other = shutil.copytree(drawn, tmp_path / "other")
    (two / "model.safetensors").write_bytes(b"one")
    (other / "model.safetensors").write_bytes(b"two")
    with pytest.raises(FolderError, match="another trained flow"):
        gather(two, [other])


def test_shards_do_not_train(tmp_path):
    with pytest.raises(ValueError, match="run `haarflow train` with the same recipe"):
        run_shard(recipes.load("u1-tiny", run__backend="torch"), tmp_path / "run", Shard(1, 2))


def test_a_shard_is_alone_in_its_work_but_not_in_the_folder(recipe, two):
    text, same = (two / "recipe.toml").read_text(), identity(recipes.load(two / "recipe.toml").versions)
    with shards.opened(two, text, Shard(1, 2), same):
        with shards.opened(two, text, Shard(2, 2), same):
            pass
        with pytest.raises(FolderError, match="another process is using"), shards.opened(two, text, Shard(1, 2), same):
            pass
        with pytest.raises(FolderError, match="another process is using"), opened(two, text):
            pass
    with (
        opened(two, text),
        pytest.raises(FolderError, match="another process"),
        shards.opened(two, text, Shard(1, 2), same),
    ):
        pass


def test_a_shard_is_two_numbers():
    assert shard_of("3/12") == Shard(3, 12)
    for words in ("", "3", "0/4", "5/4", "a/4", "1/", "1/-2", "1/2/3"):
        with pytest.raises(ValueError, match=r"a shard is i/N .* got"):
            shard_of(words)


def thermodynamics(value):
    return ThermodynamicsLine("flow", [4], value, 1.0, 0.1, None, None)


def test_lines_are_merged_in_the_order_of_one_process(tmp_path):
    folder = RunFolder(tmp_path)
    wanted = [TrainLine(1), TrainLine(2), PathLine("b", [0.5], 4), TuneLine("a", 0.1, 5, 0.8, 0.8), SampleLine("a", 0, 5),
              SampleLine("a", 1, 5), SampleLine("b", 0, 5), SampleLine("b", 1, 5), thermodynamics(0.5), thermodynamics(0.25)]  # fmt: skip
    mixed = [wanted[place] for place in (6, 2, 0, 1, 8, 9)]
    apart = {"1-of-2": [wanted[7], wanted[5]], "2-of-2": [wanted[2], wanted[3], wanted[4], wanted[4]]}
    folder.shards.mkdir()
    for path, lines in (
        (folder.metrics, mixed),
        *((folder.shards / f"{name}.jsonl", of) for name, of in apart.items()),
    ):
        path.write_text("".join(json.dumps(as_json(line)) + "\n" for line in lines))
    for _ in range(2):  # again after a kill
        shards.merge(folder, ["a", "b"])
        assert read_metrics(folder.metrics) == wanted
    RunFolder(tmp_path, "2-of-2").write_line(PathLine("b", [0.25], 4))
    with pytest.raises(FolderError, match="fitted the layers of b to other numbers"):
        shards.merge(folder, ["a", "b"])


def test_the_command_line_draws_shards_and_gathers_them(recipe, drawn, whole, tmp_path, capsys):
    words = (drawn / "recipe.toml", "--out", tmp_path / "run", "--quiet")
    assert haarflow("run", *words, "--shard", "1/1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "shard": "1/1",
        "blocks": {"flow-metropolis": 4, "flow-reweighting": 3, "hmc": 2},
    }
    assert haarflow("gather", tmp_path / "run", "--no-report", "--quiet") == 0
    assert "ensemble.h5" in capsys.readouterr().out and numbers(tmp_path / "run") == whole
    assert haarflow("run", *words, "--shard", "2") == 1
    assert "a shard is i/N" in capsys.readouterr().err
    assert haarflow("gather", tmp_path / "none") == 1
    assert "recipe.toml" in capsys.readouterr().err


def test_samples_of_a_model_are_shared_out_too(recipe, tmp_path):
    words = ("sample", recipe.model, "-n", 40, "-b", "numpy", "--quiet")
    assert haarflow(*words, "--out", tmp_path / "one") == 0
    for number in (1, 2):
        assert haarflow(*words, "--out", tmp_path / "two", "--shard", f"{number}/2") == 0
    assert haarflow("gather", tmp_path / "two", "--no-report", "--quiet") == 0
    assert numbers(tmp_path / "one") == numbers(tmp_path / "two")
