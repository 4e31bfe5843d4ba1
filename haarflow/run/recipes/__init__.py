"""Recipes: TOML files with overrides, checked all at once; every error gives its path and the nearest valid name.

A recipe is a built-in name (`haarflow/recipes/*.toml`) or a file; `key=value` overrides use its dotted paths.
"""

from haarflow.run.recipes.checks import check
from haarflow.run.recipes.faults import RecipeError, hint
from haarflow.run.recipes.reading import for_model, load, names, overridden, read

__all__ = ["RecipeError", "check", "for_model", "hint", "load", "names", "overridden", "read"]
