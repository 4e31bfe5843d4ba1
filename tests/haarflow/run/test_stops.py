"""A run that is asked to end commits what is under way, exits with 75, and goes on to the same numbers."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy
import pytest
from safetensors.numpy import load_file

from haarflow.pipeline import train_only
from haarflow.run import recipes
from haarflow.run.executors import table as executors
from haarflow.run.progress import Progress
from haarflow.run.runfolder import RunFolder
from haarflow.run.stops import CODE, SIGNALS, Stop, Stopped, on_signals
from tests.haarflow.run.stages.test_shards import FEW
from tests.support.runs import haarflow, numbers, uniform_recipe


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The words of a run that trains nothing."""
    recipe = uniform_recipe(tmp_path_factory.mktemp("recipe"))
    return ("run", recipe, *FEW, "-b", "numpy", "--no-report", "--quiet", "--out")


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """The numbers of the run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert haarflow(*words, folder) == 0
    return numbers(folder)


@pytest.fixture
def signalled(monkeypatch):
    """Send a signal in each block with a number of the list, just before the block is written."""
    blocks, write = [], RunFolder.write_block

    def signalling(self, sampler, number, arrays):
        if blocks and blocks[0] == (sampler, number):
            blocks.pop(0)
            signal.raise_signal(SIGNALS[len(blocks) % 2])
        write(self, sampler, number, arrays)

    monkeypatch.setattr(RunFolder, "write_block", signalling)
    return blocks


def test_a_run_stopped_in_any_sampler_keeps_its_block_and_goes_on(words, whole, signalled, tmp_path, capsys):
    signalled += [("flow-metropolis", 1), ("flow-reweighting", 2), ("hmc", 0)]
    for stop in list(signalled):
        assert haarflow(*words, tmp_path / "run") == CODE == 75
        assert RunFolder(tmp_path / "run").block(*stop).exists()
        said = capsys.readouterr().err
        assert "ending after the block" in said and "the same command resumes the run" in said
    assert not RunFolder(tmp_path / "run").block("hmc", 1).exists()
    assert haarflow(*words, tmp_path / "run") == 0 and numbers(tmp_path / "run") == whole


def test_blocks_that_workers_have_under_way_are_kept_too(words, whole, signalled, tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "processes", ThreadPoolExecutor)
    signalled.append(("flow-metropolis", 0))
    assert haarflow(*words, tmp_path / "run", "--executor", "processes:2") == CODE
    blocks = {path.name.split(".")[1] for path in (tmp_path / "run" / "blocks").iterdir()}
    assert blocks == {"000000", "000001", "000002", "000003"}  # two under way, two ahead
    assert haarflow(*words, tmp_path / "run") == 0 and numbers(tmp_path / "run") == whole


def test_a_shard_stops_too(words, signalled, tmp_path):
    signalled.append(("flow-metropolis", 2))
    assert haarflow(*words, tmp_path / "run", "--shard", "1/2") == CODE
    blocks = [path.name for path in (tmp_path / "run" / "blocks").iterdir()]
    assert sorted(blocks) == ["flow-metropolis.000000.safetensors", "flow-metropolis.000002.safetensors"]


def test_training_stops_at_a_checkpoint_and_goes_on(tmp_path):
    pytest.importorskip("torch")
    few = ["train.steps=6", "train.checkpoint=2", "train.batch=8"]
    recipe, progress, asked = recipes.load("u1-tiny", few, run__backend="torch"), Progress(), []
    write = RunFolder.write_line

    def ask(self, line):
        progress.stop.asked = "SIGTERM" if line.step == 4 else ""
        asked.append(line.step)
        write(self, line)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped, match="SIGTERM"):
        patch.setattr(RunFolder, "write_line", ask)
        train_only(recipe, tmp_path / "run", progress)
    assert asked == [2, 4] and (tmp_path / "run" / "checkpoint.safetensors").exists()
    train_only(recipe, tmp_path / "run")
    train_only(recipe, tmp_path / "whole")
    assert [line.step for line in RunFolder(tmp_path / "run").log().train] == [2, 4, 6]
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "whole"))
    assert one.keys() == two.keys() and all(numpy.array_equal(one[name], two[name]) for name in one)


def test_a_second_signal_ends_the_run_at_once():
    with on_signals() as stop:
        signal.raise_signal(signal.SIGUSR1)
        assert stop.asked == "SIGUSR1"
        with pytest.raises(Stopped, match="SIGUSR1: finished blocks are kept"):
            signal.raise_signal(signal.SIGTERM)


def test_the_handlers_of_before_come_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    with on_signals():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_other_threads_have_no_signals():
    found = []

    def work():
        with on_signals() as stop:
            found.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [""]


def test_nothing_is_stopped_unasked():
    stop = Stop()
    stop.check()
    assert list(stop.until([3, 1])) == [3, 1]
