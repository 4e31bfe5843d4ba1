"""The wheel: it carries haarflow.core and no top-level core, and imports from a place of its own."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_wheel_holds_the_package_and_nothing_beside_it(tmp_path):
    pytest.importorskip("setuptools")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    top = {name for name in os.listdir(target) if not name.endswith(".dist-info")}
    assert top == {"haarflow"}
    for part in (
        "core/random.py",
        "theories/gauge/u1.py",
        "flows/flow.py",
        "recipes/u1-2d.toml",
        "models/u1-freezing.safetensors",
        "references.bib",
    ):
        assert (target / "haarflow" / part).is_file(), part
    code = "import haarflow.core.random, haarflow.theories; print(haarflow.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == str(target / "haarflow" / "__init__.py"), done.stderr
