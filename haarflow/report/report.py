"""report.html: one page that shows what a run did and whether to believe it.

The page is self-contained: inline SVG figures, inline style, no network access. It is made from the run folder
(recipe.toml, metrics.jsonl, ensemble.h5, summary.json) and can be made again at any time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haarflow.core import files
from haarflow.report import reproduce, sections, tables, thermodynamics
from haarflow.report.html import Section, page
from haarflow.report.run_data import Run, read
from haarflow.run.own import NOTHING, Own
from haarflow.run.target import Target
from haarflow.theories.catalogue import Row


def write_report(folder: str | Path, target: Target | None = None, own: Own = NOTHING) -> Path:
    """Write `report.html` into a finished run's folder and return its path.

    `target` is what the run sampled, if the caller has it. Raises ReportError for a folder without summary.json, and
    OSError without changing an old report.
    """
    path = Path(folder) / "report.html"
    run = read(folder, target, own)
    files.write_text(path, page(title(run.target.row, run.summary), run.recipe.description, _sections(run)))
    return path


def title(row: Row, summary: Mapping[str, Any]) -> str:
    """Return the page's headline: theory, lattice and couplings.

    >>> from haarflow.theories.catalogue import THEORIES
    >>> title(THEORIES["u1"], {"theory": {"name": "u1", "beta": 2.0}, "lattice": [8, 8]})
    'U(1) gauge theory on 8×8, β = 2'
    """
    words = ", ".join(
        f"{row.symbols.get(word, word)} = {_said(value)}" for word, value in summary["theory"].items() if word != "name"
    )
    return ", ".join(filter(None, [f"{row.title} on {'×'.join(map(str, summary['lattice']))}", words]))


def _coverage(samplers: Mapping[str, Any]) -> list[Section]:
    headings = {
        "Does the flow cover the target?": tables.coverage_table,
        "Free energy": tables.free_energy_table,
        "Replicas": tables.replicas_table,
    }
    found = [(heading, *table(samplers)) for heading, table in headings.items()]
    return [Section(heading, body, words) for heading, body, words in found if body]


def _said(value: Any) -> str:
    """A value of [theory]: numbers in short form, all else as TOML writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _sections(run: Run) -> list[Section]:
    samplers, found = run.summary["samplers"], []
    if samplers:
        found = [
            Section("", tables.verdict(samplers), ""),
            sections.history(run),
            Section("Results", *tables.observables_table(samplers, run.target.labels)),
            *_coverage(samplers),
            *([thermodynamics.section(found_there)] if (found_there := run.summary.get("thermodynamics")) else []),
            Section("Cost", *tables.cost_table(samplers, run.summary["training"], run.summary.get("fit"))),
        ]
    small = sections.small(run)
    origin = Section("Provenance", tables.origin_table(run.recipe, run.summary), "", half=len(small) % 2 == 1)
    return [*found, *small, origin, Section("Reproduce this run", *reproduce.section(run.recipe))]
