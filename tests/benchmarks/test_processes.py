"""Training on several processes by torch's own launcher gives the numbers of one."""

import json
import math
import os
import subprocess
import sys

import pytest


def launched(tmp_path, count):
    """What `count` processes of torch's launcher report."""
    found = tmp_path / "found.json"
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    words += ["-m", "haarflow.benchmarks.studies.processes", "--steps", "3", "--batch", "8", "--json", str(found)]
    subprocess.run(words, check=True, capture_output=True, timeout=300, env=dict(os.environ))
    return json.loads(found.read_text())


def test_two_processes_train_as_one_does(tmp_path):
    torch = pytest.importorskip("torch")
    if not torch.distributed.is_available():
        pytest.skip("this torch has no torch.distributed")
    from haarflow.benchmarks.studies.processes import trained

    one, two = trained(0, 1, batch=8, steps=3), launched(tmp_path, 2)
    assert (one["processes"], two["processes"]) == (1, 2)
    for name in ("loss", "ess", "grad_norm"):
        assert all(math.isclose(a, b, rel_tol=1e-10) for a, b in zip(one[name], two[name], strict=True)), name
    assert math.isclose(one["params"], two["params"], rel_tol=1e-12)


def test_a_batch_that_does_not_split_is_refused():
    pytest.importorskip("torch")
    from haarflow.benchmarks.studies.processes import training

    with pytest.raises(ValueError, match="multiple of 3 samples, got 64"):
        training(0, 3, 64)
