"""The tables of recipes: from a built-in name, a TOML file or the card of a model, with overrides."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from haarflow.core import untrusted
from haarflow.run.own import NOTHING, Own
from haarflow.run.recipes.checks import check
from haarflow.run.recipes.faults import RecipeError, hint
from haarflow.run.samplers import SAMPLERS
from haarflow.run.settings import Recipe

BUILT_IN = Path(__file__).parents[2] / "recipes"
NEEDED = {"name": str, "lattice": list, "couplings": dict}  # what the card of a model says of its theory


def names() -> dict[str, str]:
    """Return the built-in recipes and what each shows.

    >>> sorted(names())[:3]
    ['ising-van', 'phi4-2d', 'phi4-line']
    """
    files = sorted(BUILT_IN.glob("*.toml"))
    return {file.stem: tomllib.loads(file.read_text(encoding="utf-8")).get("description", "") for file in files}


def load(source: str | Path, overrides: Iterable[str] = (), own: Own = NOTHING, **fixed: Any) -> Recipe:
    """Return the checked recipe of a built-in name or a TOML file, with `key=value` overrides.

    `fixed` sets dotted paths, with `__` for the dot (`run__backend="numpy"`); None keeps the recipe's value. `own` holds the
    custom theory and flow of the command line. Raises RecipeError, which lists all errors.

    >>> load("u1-tiny", ["theory.beta=2.5", "lattice=[6, 6]"]).theory.beta
    2.5
    """
    return check(overridden(read(source), overrides, **fixed), own)


def overridden(table: dict[str, Any], overrides: Iterable[str] = (), **fixed: Any) -> dict[str, Any]:
    """Return an unchecked table changed by `key=value` overrides and by dotted paths, as in `load`.

    >>> overridden({"theory": {"beta": 1.0}}, ["theory.beta=2"])
    {'theory': {'beta': 2}}
    """
    for override in overrides:
        _override(table, override)
    for path, value in fixed.items():
        if value is not None:
            _put(table, path.split("__"), value)
    return table


def for_model(
    name: str, kind: str, number: int, overrides: Iterable[str] = (), own: Own = NOTHING, **fixed: Any
) -> Recipe:
    """Return the recipe that draws `number` configurations with a trained model, by default at its training couplings.

    Raises UnknownModel if there is no such model, ModelFileError if it is damaged or its card names no theory.
    """
    from haarflow import models
    from haarflow.flows.modelfile import ModelFileError, flow_of, read_card

    path = models.path_of(name)
    card = read_card(path)["card"]
    theory = card.get("theory")
    if not isinstance(theory, dict) or not all(isinstance(theory.get(key), kind) for key, kind in NEEDED.items()):
        raise ModelFileError(f"{path}: its card does not say for which theory, lattice and couplings it was trained")
    made_by = str(flow_of(card).get("kind", "another flow"))
    if own.flow and made_by != own.flow:
        raise ModelFileError(f"{path} was trained with {made_by}, not with {own.flow}: remove --flow {own.flow}")
    table: dict[str, Any] = {
        "name": f"sample-{_label(path)}",
        "lattice": list(theory["lattice"]),
        "fields_every": 1,
        "model": name,
        "theory": _definition_of(theory, own) | theory["couplings"],
        "samplers": {kind: {"draws": number}},
    }
    if SAMPLERS[kind].draws == "accepted":
        table["samplers"][kind]["warmup"] = number // 10
    return check(overridden(table, overrides, **fixed), own)


def _label(path: Path) -> str:
    """A model's name: that of its file or, for the model of a run, of its folder."""
    label = path.resolve().parent.name if path.stem == "model" else path.stem
    return re.sub(r"[^A-Za-z0-9._-]", "-", label)[:50]


def _definition_of(theory: Mapping[str, Any], own: Own) -> dict[str, Any]:
    """The name and the definition of a model card's theory."""
    row = own.theories.get(str(theory["name"]))
    return {name: theory[name] for name in ("name", *(row.options if row else ())) if name in theory}


def read(source: str | Path) -> dict[str, Any]:
    """Return a recipe's unchecked table; raises RecipeError if there is none or it is not TOML."""
    path = BUILT_IN / f"{source}.toml"
    if not path.is_file() or "/" in str(source):
        path = Path(source)
    if path.is_dir():
        path = path / "recipe.toml"
    try:
        return untrusted.toml(path, RecipeError)
    except FileNotFoundError:
        known = list(names())
        raise RecipeError(
            f"there is no recipe {str(source)!r}{hint(str(source), known)}: give a TOML file or one of {', '.join(known)}"
        ) from None


def _override(table: dict[str, Any], text: str) -> None:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise RecipeError(f"an override is written key=value, such as theory.beta=2.5, got {text!r}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    except (ValueError, RecursionError):
        raise RecipeError(f"{path.strip()}: the value is too deep or too long: {value[:60]}...") from None
    _put(table, path.strip().split("."), parsed)


def _put(table: dict[str, Any], path: list[str], value: Any) -> None:
    for depth, name in enumerate(path[:-1]):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise RecipeError(f"{'.'.join(path)}: {'.'.join(path[: depth + 1])} is a value, not a table")
    if value is False and isinstance(table.get(path[-1]), dict):
        del table[path[-1]]
    else:
        table[path[-1]] = value
