"""`python -m tests.release`: build wheel and sdist, hold them in empty environments on every Python here, say what is left to do.

Each file is installed with the command line into a new environment of each Python that is installed and new enough, and does there, in
an empty folder, what a user does first: imports, exact numbers against known ones, a chain, a model that ships, a recipe in small. The
network is needed for what the environments install. Nothing is published.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
NEWEST = 20  # minor versions of Python 3 that are looked for, up to this
EXACT = {"plaquette": 0.697774658011, "Q2": 1.23929891072}  # U(1), 8x8, beta = 2
PROBE = f"""
import pathlib, sys
import haarflow
from haarflow import HMC, U1Gauge, gamma_method, open_model, run_chain
from haarflow.backends import numpy as backend
from haarflow.core import random

assert pathlib.Path(haarflow.__file__).is_relative_to(sys.prefix), haarflow.__file__
exact = U1Gauge((8, 8)).exact({{"beta": 2.0}})
for name, value in {EXACT!r}.items():
    assert abs(exact[name] - value) < 1e-10, (name, exact[name])
theory = U1Gauge((4, 4))
hmc = HMC(theory, steps=5, values={{"couplings": {{"beta": 1.0}}, "step_size": 0.2}})
start = hmc.init(backend.xp.zeros((16, 2, 4, 4)))
_, records = run_chain(hmc, random.key(0, backend), start, draws=200, measure=theory.observables)
found, known = gamma_method(records["observables"]["plaquette"].T[:, 40:]), theory.exact({{"beta": 1.0}})["plaquette"]
assert abs(found.value - known) < 5 * found.error, (found, known)
assert open_model("u1-freezing").model.prior.lattice == (16, 16)
print(haarflow.__version__)
"""
SMALL = ("u1-tiny", "flow=false", "train=false", "samplers.flow-metropolis=false", "samplers.flow-reweighting=false",
         "samplers.hmc.draws=20", "samplers.heatbath.draws=20", "--backend", "numpy", "--out", "run", "--quiet")  # fmt: skip


def version():
    """Return the version that pyproject.toml, the package, CITATION.cff and the first entry of CHANGELOG.md agree on.

    Raises ValueError where they do not.
    """
    found = {
        "pyproject.toml": tomllib.loads(read("pyproject.toml"))["project"]["version"],
        "haarflow/__init__.py": re.search(r'__version__ = "(.+)"', read("haarflow/__init__.py"))[1],
        "CITATION.cff": re.search(r"^version: (.+)$", read("CITATION.cff"), flags=re.MULTILINE)[1],
        "CHANGELOG.md": re.search(r"^## ([^\s,]+)", read("CHANGELOG.md"), flags=re.MULTILINE)[1],
    }
    if len(set(found.values())) > 1:
        raise ValueError(f"the version is not the same everywhere: {found}")
    return found["pyproject.toml"]


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def pythons(least):
    """Return the Pythons of pyenv and on the path that run and are of version 3.`least` or newer, by version."""
    found, pyenv = {}, Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = os.pathsep.join([*map(str, sorted(pyenv.glob("versions/*/bin"))), os.environ["PATH"]])
    for minor in range(least, NEWEST + 1):
        path = shutil.which(f"python3.{minor}", path=places)
        if path and subprocess.run([path, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0:
            found[f"3.{minor}"] = path
    return found


def built():
    """Return the sdist and the wheel that is made of it."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, ROOT)
    return [*DIST.glob("*.tar.gz"), *DIST.glob("*.whl")]


def tried(python, file, expected):
    """Install a file in an empty environment and use it."""
    with tempfile.TemporaryDirectory() as folder:
        run(python, "-m", "venv", f"{folder}/venv")
        binaries, empty = Path(folder, "venv", "bin"), Path(folder, "empty")
        empty.mkdir()
        run(binaries / "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", f"{file}[cli]")
        printed = run(binaries / "python", "-I", "-c", PROBE, cwd=empty)
        if printed.strip() != expected:
            raise ValueError(f"{file.name} says that it is version {printed.strip()}, wanted {expected}")
        run(binaries / "haarflow", "exact", "u1", "beta=2", "lattice=[8,8]", cwd=empty)
        run(binaries / "haarflow", "run", *SMALL, cwd=empty)
        if not (empty / "run" / "report.html").is_file():
            raise ValueError(f"{file.name} ran without a report")


def run(*command, cwd=None):
    """Run a command, return what it prints; raises RuntimeError with its last lines where it fails."""
    apart = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=apart, capture_output=True, text=True)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{last}")
    return done.stdout


def left_to_do(number):
    """Return what a maintainer has to do for a release, given what is already done."""
    changed = run("git", "-C", ROOT, "status", "--porcelain").strip()
    dated = "not yet released" not in read("CHANGELOG.md").split("\n## ")[1].split("\n")[0]
    steps = [
        "" if not changed else "commit, or undo, what has changed since the last commit",
        ""
        if dated
        else f'put the date into CHANGELOG.md, "## {number}, YYYY-MM-DD", and `date-released` into CITATION.cff',
        ""
        if "urls" in tomllib.loads(read("pyproject.toml"))["project"]
        else "if the repository has a public address by now, "
        "give it as [project.urls] in pyproject.toml and as `repository-code` in CITATION.cff",
        "run .ci/run on this commit, and make test-slow",
        f'git tag -a v{number} -m "haarflow {number}", and push the tag',
        f"twine upload dist/*, and try `pip install haarflow=={number}` in an empty environment",
        "make docs, and publish build/site",
        "raise the version in pyproject.toml, haarflow/__init__.py and CITATION.cff, and begin its entry in CHANGELOG.md",
    ]
    return [step for step in steps if step]


def main():
    """Build, try, and print what is left."""
    number = version()
    least = int(re.search(r">=3\.(\d+)", tomllib.loads(read("pyproject.toml"))["project"]["requires-python"])[1])
    files, here = built(), pythons(least)
    for name, path in here.items():
        for file in files:
            tried(path, file, number)
            print(f"Python {name}: {file.name} passes", flush=True)
    print(f"\nhaarflow {number} is built in dist/ and works on Python {', '.join(here)}. To release it:\n")
    print("\n".join(f"{place}. {step}" for place, step in enumerate(left_to_do(number), 1)))


if __name__ == "__main__":
    main()
