"""The commands for what leaves the house: export, a folder to publish, and cite, the papers of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from haarflow.commands.options import OwnFlow, OwnTheory, own_of


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a finished run with a flow")],
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="the folder to write, which must not exist")],
    licence: Annotated[str, typer.Option(help="the licence of the model, as SPDX names it")] = "CC-BY-4.0",
    author: Annotated[list[str] | None, typer.Option(help="who made it; may be repeated")] = None,
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Write the folder that an archive or a model hub takes: model, card, recipe, results, papers, checksums.

    Who downloads it runs: haarflow verify FOLDER.
    """
    from haarflow.report.exporting import export as write

    made = write(run, out, licence, author or (), own_of(theory, flow))
    print(f"Wrote {made}. To check it: haarflow verify {made}")


def cite(
    run: Annotated[str, typer.Argument(metavar="RUN", help="a run folder, a recipe file or a built-in recipe")],
    theory: OwnTheory = "",
    flow: OwnFlow = "",
) -> None:
    """Print the BibTeX of the methods that a run uses."""
    from haarflow.report.citing import bibtex, cited
    from haarflow.run import recipes

    own, path = own_of(theory, flow), Path(run)
    print(bibtex(cited(recipes.load(path / "recipe.toml" if path.is_dir() else run, own=own), own)), end="")
