"""Training on several processes by torch's own launcher gives the numbers of one."""

import json
import math
import os
import subprocess
import sys

import pytest


def trained(tmp_path, *launcher):
    found = tmp_path / f"{len(launcher)}.json"
    words = [sys.executable, *launcher, "-m", "haarflow.benchmarks.studies.processes", "--steps", "3", "--batch", "8"]
    subprocess.run([*words, "--json", str(found)], check=True, capture_output=True, timeout=300, env=dict(os.environ))
    return json.loads(found.read_text())


def test_two_processes_train_as_one_does(tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    one = trained(tmp_path)
    two = trained(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert (one["processes"], two["processes"]) == (1, 2)
    for name in ("loss", "ess", "grad_norm"):
        assert all(math.isclose(a, b, rel_tol=1e-10) for a, b in zip(one[name], two[name], strict=True)), name
    assert math.isclose(one["params"], two["params"], rel_tol=1e-12)


def test_a_batch_that_does_not_split_is_refused():
    pytest.importorskip("torch")
    from haarflow.benchmarks.studies.processes import training

    with pytest.raises(ValueError, match="multiple of 3 samples, got 64"):
        training(0, 3, 64)
