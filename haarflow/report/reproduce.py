"""The command that repeats a run, and the text of its recipe."""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from haarflow.report.html import piece, prose
from haarflow.run import recipes
from haarflow.run.settings import Recipe
from haarflow.run.toml import as_table, to_toml


def command(recipe: Recipe) -> list[str]:
    """Return the arguments of the command that runs a recipe: a built-in name with overrides, or its file.

    >>> from haarflow.run.recipes import load
    >>> command(load("u1-tiny", ["theory.beta=1.5", "samplers.hmc=false"]))
    ['haarflow', 'run', 'u1-tiny', 'samplers.hmc=false', 'theory.beta=1.5']
    """
    wanted = dataclasses.replace(recipe, versions={})
    if wanted.name in recipes.names():
        words = list(_overrides(as_table(recipes.load(wanted.name)), as_table(wanted)))
        try:
            if recipes.load(wanted.name, words) == wanted:
                return ["haarflow", "run", wanted.name, *words]
        except recipes.RecipeError:
            pass
    return ["haarflow", "run", "recipe.toml"]


def _overrides(base: Mapping[str, Any], wanted: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name in sorted(base.keys() | wanted.keys()):
        here = f"{path}.{name}" if path else name
        there, want = base.get(name), wanted.get(name)
        if isinstance(want, Mapping):
            yield from _overrides(there if isinstance(there, Mapping) else {}, want, here)
        elif want is None and isinstance(there, Mapping):
            yield f"{here}=false"
        elif want != there:
            yield f"{here}={_word(want)}"


def _word(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) if not isinstance(value, str) or not value else value


AGAIN = """With the versions above, a seed gives the same random bits and uniform numbers on every backend; on the same
    backend and machine the whole run gives the same numbers. For an independent run choose another seed: --seed 1."""


def section(recipe: Recipe) -> tuple[Markup, str]:
    """Return the section's HTML and its caption."""
    return piece("command", shlex.join(command(recipe)), to_toml(recipe)), prose(AGAIN)
