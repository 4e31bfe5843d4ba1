"""What to cite for a run: the papers of its theory, flow, training, samplers and errors, from references.bib.

Rows of the catalogues name their papers by keys of that file; what is not of a row stands in the tables here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from haarflow.flows.modelfile import flow_of, read_card
from haarflow.models import path_of
from haarflow.run.kernels import KERNELS
from haarflow.run.own import NOTHING, Own
from haarflow.run.sampler_settings import Integrator, Pseudofermions
from haarflow.run.samplers import kernels_of, row_of
from haarflow.run.settings import Recipe, Train

FILE = Path(__file__).parents[1] / "references.bib"
# what every run stands on: its random numbers and the errors of its chains
ALWAYS = {"random numbers": ("Salmon2011",), "errors of chains": ("Wolff2004",)}
INTEGRATORS = {"omelyan": ("Takaishi2006",), "forest_ruth": ("Forest1990",), "omelyan4": ("Omelyan2002",)}
HEAT_BATHS = {  # by the family of theories
    "u1": ("Best1979",),
    "sun": ("Creutz1980", "Cabibbo1982", "Kennedy1985"),
    "spins": ("Creutz1979",),
}
ESTIMATORS = {"path-gradient": ("Vaitl2022a",), "reinforce": ("Bialas2022",), "forward-kl": ("Hackett2021",)}


def cited(recipe: Recipe, own: Own = NOTHING) -> dict[str, tuple[str, ...]]:
    """Return what a recipe uses, in words, and the keys of the papers to cite for each.

    >>> from haarflow.run.recipes import load
    >>> cited(load("u1-tiny"))["heatbath"], cited(load("u1-tiny"))["hmc"]
    (('Best1979',), ('Duane1987',))
    """
    row = own.theories[recipe.theory.name]
    kind = recipe.flow.get("kind") or (flow_of(_card(recipe.model)).get("kind", "") if recipe.model else "")
    flow = own.flows(row.family).get(kind)
    used = {row.title: row.papers, f"flow {kind}": flow.papers if flow else (), **_trained(recipe.train)}
    for settings in recipe.samplers.values():
        used |= _drawn(settings, row.family)
    return {what: keys for what, keys in (used | ALWAYS).items() if keys}


def _card(model: str) -> dict[str, Any]:
    card: dict[str, Any] = read_card(path_of(model))["card"]
    return card


def _trained(train: Train | None) -> dict[str, tuple[str, ...]]:
    if train is None or not train.steps:
        return {}
    return {"training by Adam": ("Kingma2014",), train.estimator: ESTIMATORS.get(train.estimator, ())}


def _drawn(settings: Any, family: str) -> dict[str, tuple[str, ...]]:
    """What a sampler uses: itself, its kernels and their integrator."""
    used = {settings.kind: row_of(settings).papers}
    for word in kernels_of(settings):
        used[word] = KERNELS[word].papers or (HEAT_BATHS.get(family, ()) if word == "heatbath" else ())
    if isinstance(settings, Integrator):
        used[f"integrator {settings.scheme}"] = INTEGRATORS.get(settings.scheme, ())
    if isinstance(settings, Pseudofermions) and settings.masses:
        used["Hasenbusch's factors"] = ("Hasenbusch2001",)
    return used


@cache
def entries() -> dict[str, str]:
    """Return the entries of references.bib by their keys.

    >>> "Hybrid" in entries()["Duane1987"]
    True
    """
    parts = FILE.read_text(encoding="utf-8").split("\n@")[1:]
    return {part.partition("{")[2].partition(",")[0]: "@" + part.partition("\n}")[0] + "\n}\n" for part in parts}


def bibtex(used: dict[str, tuple[str, ...]]) -> str:
    """Return BibTeX of what is cited, each entry once, with what it is cited for above it.

    >>> print(bibtex({"HMC": ("Duane1987",)}).splitlines()[0])
    % HMC
    """
    purposes: dict[str, list[str]] = {}
    for what, keys in used.items():
        for key in keys:
            purposes.setdefault(key, []).append(what)
    return "\n".join(f"% {', '.join(whats)}\n{entries()[key]}" for key, whats in purposes.items())
