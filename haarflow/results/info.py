"""Information: the backends of this machine, the contents of a file, the exact results of a theory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from haarflow import backends, models
from haarflow.backends.compiled import vector
from haarflow.core.parts import described
from haarflow.gaugefiles import gauge_info
from haarflow.gaugefiles.formats.table import is_gauge_file
from haarflow.results.summary_file import read_summary
from haarflow.run import recipes
from haarflow.run.own import NOTHING, Own
from haarflow.run.recipes import RecipeError
from haarflow.run.target import target_of
from haarflow.run.toml import as_table


def backends_here() -> dict[str, dict[str, Any]]:
    """Return every backend with version, devices, precision, whether it can train, and how to install it if it is missing."""
    return {name: _backend(name) for name in backends.NAMES}


def compiled_kernels() -> str:
    """Return a line that says whether trajectories are compiled, or how to get that."""
    if vector.is_present():
        return "HMC for U(1), SU(2) and SU(3) runs as compiled vector code on the CPU"
    return "HMC for U(1), SU(2) and SU(3) on the CPU becomes four or more times faster with: pip install 'haarflow[compiled]'"


def _backend(name: str) -> dict[str, Any]:
    absent: dict[str, Any] = {
        "present": False,
        "version": None,
        "devices": [],
        "precision": [],
        "trains": name in ("jax", "torch"),
    }
    if not backends.is_present(name):
        return {**absent, "remedy": backends.NAMES[name][1]}
    try:
        found = backends.get(name)
    except backends.MissingBackend as missing:
        return {**absent, "remedy": str(missing)}
    return {
        "present": True,
        "version": found.version,
        "devices": _devices(name),
        "precision": ["float64", "float32"],
        "trains": found.autodiff,
        "remedy": None,
    }


def _devices(name: str) -> list[str]:
    """The devices a backend accepts, found by trying each."""
    names = {"numpy": ("cpu",), "cupy": ("cuda",), "jax": ("cpu", "cuda"), "torch": ("cpu", "cuda")}[name]
    found = []
    for device in names:
        try:
            backends.get(name, device)
        except (backends.MissingBackend, ValueError):
            continue
        found.append(device)
    return found


def describe(
    source: str, own: Own = NOTHING, lattice: tuple[int, ...] | None = None, group: str | None = None
) -> dict[str, Any]:
    """Return the contents of a model file, an ensemble file, a gauge file, a recipe or a run folder, or of what ships.

    `lattice` and `group` are those of a gauge file that does not say them.

    Raises UnknownModel if there is nothing of that name, and the error of the file's format if it is damaged.
    """
    path = Path(source)
    if not path.exists() and source in recipes.names() and source not in models.shipped():
        return {"recipe": as_table(recipes.load(source, own=own))}
    if not path.exists():
        path = models.path_of(source)
    if path.is_dir():
        return _run(path, own)
    if path.suffix in (".h5", ".hdf5"):
        return _ensemble(path)
    if path.suffix == ".toml":
        return {"recipe": as_table(recipes.load(path, own=own))}
    if is_gauge_file(path):
        return gauge_info(path, lattice=lattice, group=group).as_dict()
    return _model(path)


def _model(path: Path) -> dict[str, Any]:
    from haarflow.flows.modelfile import read

    arrays, header = read(path, "haarflow-model", 1)
    count = sum(int(array.size) for array in arrays.values())
    return {"model": str(path), "parameters": count, **{name: header[name] for name in sorted(header)}}


def _ensemble(path: Path) -> dict[str, Any]:
    from haarflow.results import ensemble

    found = ensemble.read(path)
    samplers = {}
    for name, sampled in found.samplers.items():
        chains, draws = next(iter(sampled.observables.values())).shape[:2]
        samplers[name] = {
            "kind": sampled.kind,
            "chains": chains,
            "draws": draws,
            "observables": ", ".join(sorted(sampled.observables)),
        }
    return {
        "ensemble": str(path),
        "theory": {"name": found.theory, **found.couplings},
        "lattice": list(found.lattice),
        "samplers": samplers,
    }


def _run(path: Path, own: Own) -> dict[str, Any]:
    from haarflow.run.runfolder import RunFolder

    folder = RunFolder(path)
    if not folder.recipe.exists():
        raise RecipeError(f"{path} is not a run folder: it has no recipe.toml")
    log = folder.log()
    blocks: dict[str, int] = {}
    for line in log.sample:
        blocks[line.sampler] = blocks.get(line.sampler, 0) + 1
    found: dict[str, Any] = {
        "run": str(path),
        "complete": folder.summary.is_file(),
        "trained_steps": log.trained.step if log.trained else 0,
    }
    found["blocks"] = blocks
    found["recipe"] = as_table(recipes.load(path, own=own))
    if folder.summary.is_file():
        found["summary"] = read_summary(folder.summary)
    return found


def exact_results(theory: str, values: Iterable[str], own: Own = NOTHING) -> dict[str, Any]:
    """Return {"theory", "lattice", "exact": {name: value}} for overrides such as beta=7 and lattice=[16,16].

    Raises RecipeError for an unknown name.
    """
    known = tuple(own.theories)
    if theory not in known:
        raise RecipeError(
            f"there is no theory {theory!r}{recipes.hint(theory, known)}: choose one of {', '.join(known)}"
        )
    words = [word if word.startswith("lattice") else f"theory.{word.removeprefix('theory.')}" for word in values]
    table: dict[str, Any] = {"name": "exact", "lattice": [8, 8], "theory": {"name": theory}}
    table["theory"] |= described(own.theories[theory].make((8, 8))).couplings or {}
    target = target_of(recipes.check(recipes.overridden(table, words), own))
    return {
        "theory": target.words,
        "lattice": list(target.recipe.lattice),
        "exact": {name: float(value) for name, value in target.exact.items()},
    }
