"""Runs for tests: a recipe that trains nothing and takes a second on NumPy, and functions to run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy

from haarflow.cli import main
from haarflow.flows.flow import Model, Translate
from haarflow.flows.modelfile import save_model
from haarflow.flows.priors import UniformLinks

ROOT = Path(__file__).parents[2]

RECIPE = """
name = "uniform"
lattice = [4, 4]
fields_every = 4
model = "{model}"
theory = {{ name = "u1", beta = 0.5 }}
[samplers]
flow-metropolis = {{ draws = 90, warmup = 10, chains = 3, block = 30 }}
flow-reweighting = {{ draws = 100, block = 40 }}
hmc = {{ chains = 4, draws = 25, warmup = 6, steps = 3, step_size = 0.3, block = 10 }}
heatbath = {{ chains = 4, draws = 20, warmup = 3, block = 10 }}
mixture = {{ kind = "cycle", kernels = ["flow", "hmc", "heatbath"], chains = 2, draws = 10, warmup = 2, block = 5, thin = 2 }}
"""


def uniform_model(path, theory="u1", couplings=None, lattice=(4, 4)):
    """Write the model of uniform links, whose exact ESS is Z(beta)^2 / Z(2 beta)."""
    card = {"theory": {"name": theory, "lattice": list(lattice), "couplings": couplings or {"beta": 0.5}}}
    save_model(path, Model(UniformLinks(lattice), Translate((0,) * len(lattice), internal=1)), {}, card)
    return path


def uniform_recipe(folder):
    """Write the recipe next to its model and return its path."""
    model = uniform_model(folder / "uniform.safetensors")
    path = folder / "uniform.toml"
    path.write_text(RECIPE.format(model=model))
    return path


def haarflow(*words):
    """Run the command line in this process on NumPy; return the exit code."""
    return main([str(word) for word in words])


def process(*words, code="import sys; from haarflow.cli import main; sys.exit(main())", **variables):
    """Run the command line in a separate process by the Python `code`, which may break something first."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)


# Lives of the command line, each a fork of one process. A life kills itself with SIGKILL in its n-th commit, before (odd n) or
# after (even n) the rename, or ends by itself (n = 0); the first to end after a death is the last. With n = None the process itself
# runs, and the later lives have what it imported and compiled.
LIVES = """
import importlib, os, signal, sys
from haarflow.cli import main
from haarflow.core import files

for module in {imports}:
    importlib.import_module(module)
rename, codes, answer = os.replace, [], os.dup(1)
os.dup2(2, 1)

def dying(n, count=[0]):
    def replace(source, target):
        count[0] += 1
        if 2 * count[0] - 1 == n: os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if 2 * count[0] == n: os.kill(os.getpid(), signal.SIGKILL)
    return replace

def lived(n, words):
    child = os.fork()
    if child == 0:
        files.os.replace = dying(n)
        os._exit(main(words))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

for n, words in {plan}:
    codes.append(main(words) if n is None else lived(n, words))
    if codes[-1] == 0 and -signal.SIGKILL in codes: break
os.write(answer, str(codes).encode())
"""


def lives(*plan, imports=()):
    """Run the command line once for each `(n, words)` of the plan, as told above `LIVES`; return the exit codes and stderr."""
    told = [(n, [str(word) for word in words]) for n, words in plan]
    done = process(code=LIVES.format(plan=told, imports=imports))
    return json.loads(done.stdout or "[]"), done.stderr


def numbers(folder):
    """Everything a run computed, as comparable bytes, without times."""
    folder = Path(folder)
    found = {"ensemble.h5": (folder / "ensemble.h5").read_bytes(), "recipe": (folder / "recipe.toml").read_text()}
    with h5py.File(folder / "ensemble.h5") as file:
        file.visititems(lambda name, data: found.update({name: data[...].tobytes()} if hasattr(data, "shape") else {}))
    summary = json.loads((folder / "summary.json").read_text())
    found["summary"] = _without_times(summary)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found["metrics"] = [_without_times(json.loads(line)) for line in lines]
    if (folder / "model.safetensors").exists():
        from safetensors.numpy import load_file

        found |= {f"model {name}": array.tobytes() for name, array in load_file(folder / "model.safetensors").items()}
    return found


def _without_times(value):
    if isinstance(value, dict):
        kept = {name: entry for name, entry in value.items() if "cpu_s" not in name and name != "provenance"}
        return {name: _without_times(entry) for name, entry in kept.items()}
    return value


def pull(entry):
    """(value - exact) / error of an observable in summary.json."""
    return (entry["value"] - entry["exact"]) / entry["error"] if entry["error"] else numpy.inf
