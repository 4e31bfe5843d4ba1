"""A trained model as a folder to publish: the model, its card, the recipe, the numbers of the run, the papers, checksums.

`SHA256SUMS` is what `sha256sum --check` reads; `haarflow verify FOLDER` holds the files to it before it opens the model.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haarflow.core.files import write_text
from haarflow.flows.modelfile import flow_of, read_card
from haarflow.models import path_of
from haarflow.report.citing import bibtex, cited
from haarflow.report.reproduce import command
from haarflow.results.summary_file import read_summary
from haarflow.run import recipes
from haarflow.run.own import NOTHING, Own
from haarflow.run.runfolder import RunFolder
from haarflow.run.settings import Recipe

MODEL, SUMS = "model.safetensors", "SHA256SUMS"


class DamagedExport(ValueError):
    """Files of a published folder are not those that its checksums are of."""


def export(run: Path, out: Path, licence: str, authors: Iterable[str] = (), own: Own = NOTHING) -> Path:
    """Write the folder `out` from a finished run, whole or not at all, and return it.

    Raises ValueError for a run without a model or without results, and FileExistsError where `out` exists.
    """
    folder = RunFolder(run)
    for file in (folder.recipe, folder.summary):
        if not file.is_file():
            raise ValueError(f"{run} has no {file.name}: export takes the folder of a finished run with a flow")
    if out.exists():
        raise FileExistsError(f"{out} exists already and is not overwritten: choose another folder")
    recipe = recipes.load(folder.recipe, own=own)
    model = _model_of(folder, recipe)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as made:
        new = Path(made) / out.name
        new.mkdir()
        for name, file in ((MODEL, model), (folder.recipe.name, folder.recipe), (folder.summary.name, folder.summary)):
            shutil.copyfile(file, new / name)
        write_text(new / "references.bib", bibtex(cited(recipe, own)))
        write_text(new / "README.md", card(recipe, read_card(model), read_summary(folder.summary), licence, authors))
        write_text(new / SUMS, "".join(f"{digest}  {name}\n" for name, digest in _digests(new).items()))
        new.rename(out)
    return out


def _model_of(folder: RunFolder, recipe: Recipe) -> Path:
    """The model that a run made, or the one that it took."""
    if folder.model.is_file():
        return folder.model
    if not recipe.model:
        raise ValueError(f"{folder.path} has no model: export takes the folder of a finished run with a flow")
    return path_of(recipe.model)


def check_sums(folder: Path) -> None:
    """Raise DamagedExport, with the names of the files, unless every file of a published folder is as it was written."""
    lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    wanted = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if MODEL not in wanted:
        raise DamagedExport(f"{folder / SUMS} has no line for {MODEL}: download the folder again")
    found = _digests(folder)
    if wrong := sorted(name for name, digest in wanted.items() if found.get(name) != digest):
        raise DamagedExport(
            f"{folder}: {', '.join(wrong)} {'is' if len(wrong) == 1 else 'are'} missing or not what {SUMS} says: download "
            "the folder again"
        )


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != SUMS)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def card(
    recipe: Recipe, header: Mapping[str, Any], summary: Mapping[str, Any], licence: str, authors: Iterable[str] = ()
) -> str:
    """Return the model's card in Markdown, with the front matter that model hubs read."""
    theory, flow = dict(summary["theory"]), flow_of(header["card"])
    name, lattice = theory.pop("name"), "x".join(map(str, summary["lattice"]))
    front = {
        "license": licence.lower(),
        "library_name": "haarflow",
        "tags": ["lattice-field-theory", "normalizing-flow"],
    }
    rows = {
        "theory": f"{name}, {_words(theory)}",
        "lattice": lattice,
        "flow": f"{flow.pop('kind', 'see recipe.toml')}{', ' if flow else ''}{_words(flow)}",
        **_quality(summary["samplers"]),
        "training": _cost(summary.get("training")),
        "made with": _words(header["versions"], " "),
        "seed": str(summary["seed"]),
        "licence": licence,
        "authors": ", ".join(authors),
    }
    table = "".join(f"| {what} | {said} |\n" for what, said in rows.items() if said)
    meant = "".join(f"- {what}: {said}\n" for what, said in header["conventions"].items())
    return (
        f"---\n{_front(front)}---\n\n# {recipe.name}: a flow for {name} on {lattice}\n\n{recipe.description}\n\n"
        f"| | |\n|:--|:--|\n{table}\nWith its weights, or as proposals of a Metropolis step, its draws are exact.\n\n"
        "## Use\n\nCheck the download and the model's laws, then draw:\n\n```bash\nhaarflow verify .\n"
        "haarflow sample .\n```\n\n"
        f"The run that made it:\n\n```bash\n{' '.join(command(recipe))}\n```\n\n## Conventions\n\n{meant}\n"
        "## How to cite\n\nThis folder, by its identifier where you found it, and the papers in `references.bib`.\n"
    )


def _front(fields: Mapping[str, Any]) -> str:
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in fields.items())


def _words(table: Mapping[str, Any], sign: str = " = ") -> str:
    return ", ".join(f"{name}{sign}{value}" for name, value in table.items())


def _quality(samplers: Mapping[str, Any]) -> dict[str, str]:
    """The effective sample size of each sampler that draws from the flow, with its error, notes and warnings."""
    rows = {}
    for name, sampler in samplers.items():
        if ess := (sampler.get("coverage") or {}).get("ess"):
            said = f"{ess['value']:.4g} +- {ess['error']:.2g} of {sampler['coverage']['draws']} draws"
            notes = [note for note in (ess["note"], *sampler.get("warnings", ())) if note]
            rows[f"effective sample size, {name}"] = "; ".join([said, *notes])
    return rows


def _cost(training: Mapping[str, Any] | None) -> str:
    return "none" if not training else f"{training['steps']} steps, {training['cpu_s']:.0f} CPU s"
