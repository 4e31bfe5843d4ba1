"""report.html: one page that shows what a run did and whether to believe it.

The page stands alone: its pictures are inline SVG, its style is inline, it asks nothing of the network. It is made
from the run's folder (recipe.toml, metrics.jsonl, ensemble.h5, summary.json) and can be made again at any time.
"""

from __future__ import annotations

from pathlib import Path

from haarflow import pictures, reproduce, results
from haarflow.core import files
from haarflow.finished import Run, read
from haarflow.page import Section, page

TITLES = {
    "u1": "U(1) gauge theory",
    "su2": "SU(2) gauge theory",
    "su3": "SU(3) gauge theory",
    "su4": "SU(4) gauge theory",
    "sun": "SU(N) gauge theory",
    "phi4": "φ⁴ theory",
    "phi4-hopping": "φ⁴ theory (hopping form)",
}
SYMBOLS = {"beta": "β", "m2": "m²", "lam": "λ", "kappa": "κ", "n": "N", "rectangle": "c₁"}


def write_report(folder: str | Path) -> Path:
    """Write `report.html` into a finished run's folder and return its path.

    Raises ReportError for a folder without summary.json, OSError with an old report untouched.
    """
    path = Path(folder) / "report.html"
    run = read(folder)
    files.write_text(path, page(title(run), run.recipe.description, _sections(run)))
    return path


def title(run: Run) -> str:
    """Return the page's headline: theory, lattice and couplings.

    >>> from types import SimpleNamespace as Of
    >>> title(Of(summary={"theory": {"name": "u1", "beta": 2.0}, "lattice": [8, 8]}))
    'U(1) gauge theory on 8×8, β = 2'
    """
    theory = dict(run.summary["theory"])
    name = theory.pop("name")
    couplings = ", ".join(f"{SYMBOLS.get(word, word)} = {value:g}" for word, value in theory.items())
    return f"{TITLES.get(name, name)} on {'×'.join(map(str, run.summary['lattice']))}, {couplings}"


def _sections(run: Run) -> list[Section]:
    samplers, found = run.summary["samplers"], []
    if samplers:
        found = [
            Section("", results.verdict(samplers), ""),
            pictures.history(run),
            Section("The numbers", *results.observables_table(samplers)),
            Section("What it cost", *results.cost_table(samplers, run.summary["training"], run.summary.get("fit"))),
        ]
    small = pictures.small(run)
    origin = Section("Where it comes from", results.origin_table(run.recipe, run.summary), "", half=len(small) % 2 == 1)
    return [*found, *small, origin, Section("Do it again", *reproduce.section(run.recipe))]
