"""Recipes: TOML files with overrides, checked all at once; every error gives its path and the nearest valid name.

A recipe is a built-in name (`haarflow/recipes/*.toml`) or a file; `key=value` overrides use its dotted paths.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pydantic

from haarflow.core import untrusted
from haarflow.core.chains.warmup import LEAST
from haarflow.flows.catalogue import options
from haarflow.run.own import NOTHING, Own
from haarflow.run.samplers import KERNELS, SAMPLERS, hits_of, kernels_of, needs_flow, target_acceptance
from haarflow.run.schema import NAME, NAMED, theory_settings
from haarflow.run.settings import THEORY_SETTINGS, Backend, Fit, Recipe, Train
from haarflow.theories import catalogue

_FOLDER = Path(__file__).parent.parent / "recipes"


class RecipeError(ValueError):
    """A recipe that cannot be run; the message lists every error with its path."""


def names() -> dict[str, str]:
    """Return the built-in recipes and what each shows.

    >>> sorted(names())[:2]
    ['phi4-2d', 'qcd-4d']
    """
    files = sorted(_FOLDER.glob("*.toml"))
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


NEEDED = {"name": str, "lattice": list, "couplings": dict}  # what the card of a model says of its theory


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
    path = _FOLDER / f"{source}.toml"
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


def check(table: Mapping[str, Any], own: Own = NOTHING) -> Recipe:
    """Return the recipe of a table; raises RecipeError, which lists every error.

    >>> check({"name": "try", "lattice": [4, 4], "theory": {"name": "u1", "bta": 1.0}})
    Traceback (most recent call last):
    haarflow.run.recipes.RecipeError: 2 errors in the recipe:
      theory.beta is missing
      theory.bta: there is no such key, did you mean 'beta'?
    """
    try:
        untrusted.shallow(dict(table))
    except ValueError as error:
        raise RecipeError(f"the recipe cannot be read: {error}") from None
    table, errors = own.named(dict(table)), Errors()
    theory = _theory(table.get("theory", MISSING), own, errors)
    tables = {name: _table(kind, name, table[name], errors) for name, kind in TABLES.items() if name in table}
    samplers = _samplers(table.get("samplers", {}), errors)
    rest = {name: value for name, value in table.items() if name not in ("theory", "samplers", *TABLES)}
    recipe = _table(Recipe, "", {**rest, "theory": None}, errors)
    if not errors:
        recipe = dataclasses.replace(recipe, theory=theory, samplers=samplers, **tables)
        errors += _cross_field_errors(recipe, own)
    _flow(table, own, errors)
    if errors:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise RecipeError("\n  ".join([f"{count} in the recipe:", *sorted(errors)]))
    return recipe


# pydantic's words for what a key must be -> ours
EXPECTED = {
    "an object": "a table",
    "a valid array": "a list",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid string": "a string",
    "a valid boolean": "true or false",
}
WIDEST = 1 << 14  # layers, channels, pieces, ... of a flow
SITES = 1 << 31  # an index of a site has 32 bits
TABLES: dict[str, type] = {"train": Train, "fit": Fit, "run": Backend}
MISSING = object()
Errors = list[str]  # lines "path: what is wrong"


def _theory(table: Any, own: Own, errors: Errors) -> Any:
    """The settings of [theory], or None after adding its errors."""
    if table is MISSING:
        errors.append("theory is missing: add a table [theory] with name and couplings")
        return None
    kind = _kind("theory", "name", table, own.theories, errors)
    if kind is None:
        return None
    if own.theory and kind != own.theory:
        errors.append(f"theory.name is {kind!r}, but the command names --theory {own.theory}: remove one of the two")
        return None
    if kind == own.theory:
        table = _declared(table, own.theories[kind], errors)
    settings = THEORY_SETTINGS.get(kind) or theory_settings(kind, own.theories[kind])
    return _table(settings, "theory", table, errors)


def _declared(table: Mapping[str, Any], row: catalogue.Row, errors: Errors) -> dict[str, Any]:
    """The fields of [theory] that a custom theory declares, where it declares no couplings at all."""
    unknown = [] if row.couplings else [name for name in table if name != "name" and name not in row.options]
    errors += [
        f"theory.{name}: {row.title} declares no couplings: add couplings = {{{name!r}: 1.0}} to its class"
        for name in unknown
    ]
    return {name: value for name, value in table.items() if name not in unknown}


def _samplers(table: Any, errors: Errors) -> dict[str, Any]:
    """The settings of all samplers; a table whose name is a kind need not repeat it."""
    if not isinstance(table, Mapping):
        errors.append(f"samplers must be a table, got {table!r:.80}")
        return {}
    settings = {}
    for name, entry in table.items():
        if not re.fullmatch(NAME, name):
            errors.append(f"samplers.{name!r:.80}: {NAMED}")
            continue
        if isinstance(entry, Mapping) and name in SAMPLERS:
            entry = {"kind": name, **entry}
        kind = _kind(f"samplers.{name}", "kind", entry, SAMPLERS, errors, name)
        if kind is not None:
            settings[name] = _table(SAMPLERS[kind].settings, f"samplers.{name}", entry, errors)
    return settings


def _kind(path: str, key: str, table: Any, known: Collection[str], errors: Errors, near: str = "") -> str | None:
    """The key that says which class a table is of, or None after adding the error."""
    kind = table.get(key) if isinstance(table, Mapping) else None
    if isinstance(kind, str) and kind in known:
        return kind
    if not isinstance(table, Mapping):
        errors.append(f"{path} must be a table, got {table!r:.80}")
    elif isinstance(kind, str) and ":" in kind and path in ("theory", "flow"):
        errors.append(
            f"{path}.{key}: {kind!r} is a custom {path}, which is imported only when the command line names it: add "
            f"--{path} {kind}"
        )
    else:
        problem = " is missing" if kind is None else f": {kind!r:.80} is not known"
        own = f", or name your own with --{path} module:name" if kind is None and path in ("theory", "flow") else ""
        errors.append(f"{path}.{key}{problem}; choose one of {', '.join(known)}{own}{hint(str(kind or near), known)}")
    return None


def _table(kind: type, path: str, table: Any, errors: Errors) -> Any:
    """The dataclass of a table, or None after adding its errors."""
    if not isinstance(table, Mapping):
        errors.append(f"{path} must be a table, got {table!r:.80}")
        return None
    try:
        # in strict mode JSON accepts a list for a tuple and an integer for a real number, and no other conversion
        return _adapter(kind).validate_json(json.dumps(table, default=str), strict=True)
    except pydantic.ValidationError as error:
        keys = [entry.name for entry in dataclasses.fields(kind)]
        errors.extend(_line(entry, path, keys) for entry in error.errors())
        return None


@cache
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)


# ---- error messages


def hint(word: str, known: Iterable[str]) -> str:
    """Return ", did you mean ...?" if a known name is close.

    >>> hint("leapfrgo", ["leapfrog", "omelyan"])
    ", did you mean 'leapfrog'?"
    """
    near = difflib.get_close_matches(word[:80], list(known), n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else ""


def _line(error: Any, path: str, keys: Iterable[str]) -> str:
    """The message for one of pydantic's errors in a table of these keys."""
    path = ".".join(filter(None, (path, *map(str, error["loc"]))))
    kind, got = error["type"], error["input"]
    if kind == "unexpected_keyword_argument":
        return _no_such_key(path, keys)
    if kind == "missing":
        return f"{path} is missing"
    if kind == "literal_error":
        known = tuple(word.strip("'") for word in error["ctx"]["expected"].replace(" or ", ", ").split(", "))
        return (
            f"{path}: {got!r:.80} is not known; choose one of {', '.join(filter(None, known))}{hint(str(got), known)}"
        )
    if kind == "string_pattern_mismatch":
        return f"{path}: {NAMED}, got {got!r:.80}"
    wanted = error["msg"].removeprefix("Input should be ")
    return f"{path} must be {EXPECTED.get(wanted, wanted)}, got {got!r:.80}"


def _no_such_key(path: str, keys: Iterable[str]) -> str:
    keys = list(keys)
    return (
        f"{path}: there is no such key{hint(path.rpartition('.')[2], keys) or '; the keys here are ' + ', '.join(keys)}"
    )


def _flow(table: Mapping[str, Any], own: Own, errors: Errors) -> None:
    """Add the errors of [flow]: its kind belongs to the theory, its other keys are the constructor's arguments."""
    flow, theory = table.get("flow") or {}, table.get("theory")
    row = own.theories.get(str(theory.get("name"))) if isinstance(theory, Mapping) else None
    if not isinstance(flow, Mapping) or not flow:
        return
    if row is None and ":" not in str(flow.get("kind")):
        return
    rows = own.flows(row.family if row else "")
    kind = _kind("flow", "kind", flow, sorted(rows), errors)
    if kind is None:
        return
    if own.flow and kind != own.flow:
        remedy = f"remove flow.kind and its options from the recipe, or add flow.kind={own.flow} to the command"
        errors.append(f"flow.kind is {kind!r}, but the command names --flow {own.flow}: {remedy}")
        return
    types = options(rows[kind])
    for name, value in flow.items():
        if name == "kind":
            continue
        if name not in types:
            errors.append(_no_such_key(f"flow.{name}", types))
            continue
        if any(abs(number) > WIDEST for number in _whole_numbers(value)):
            errors.append(f"flow.{name} holds whole numbers up to {WIDEST}, got {value!r:.60}")
            continue
        try:
            _adapter(types[name]).validate_json(json.dumps(value, default=str), strict=True)
        except pydantic.ValidationError as error:
            errors.extend(_line({**entry, "loc": ("flow", name)}, "", ()) for entry in error.errors()[:1])


def _whole_numbers(value: Any) -> list[int]:
    if isinstance(value, list | tuple):
        return [number for entry in value for number in _whole_numbers(entry)]
    return [value] if isinstance(value, int) else []


def _cross_field_errors(recipe: Recipe, own: Own) -> Errors:
    """The errors that involve more than one table."""
    errors = Errors()
    needs_model = [name for name, entry in recipe.samplers.items() if needs_flow(entry) and not entry.model]
    if needs_model and not recipe.model and not recipe.flow:
        errors.append(
            f"samplers.{needs_model[0]} needs a flow: add [flow] with its kind and [train], or model with a trained one"
        )
    if recipe.model and recipe.flow:
        errors.append("model and flow exclude each other: a recipe opens a model or trains a flow")
    if recipe.flow and recipe.train is None and recipe.fit is None and not _untrained(recipe, own):
        errors.append("train is missing: a recipe with [flow] needs [train], or [fit] for a flow along loops")
    if recipe.fit is not None:
        errors += _fit_errors(recipe, recipe.fit)
    errors += [line for name, entry in recipe.samplers.items() for line in _tuning_errors(name, entry)]
    errors += [line for name, entry in recipe.samplers.items() for line in _hits_errors(recipe, name, entry)]
    errors += _theory_errors(recipe, recipe.theory.row)
    if recipe.train is not None:
        errors += _training_errors(recipe.train, recipe.theory.row.couplings)
        errors += _range_errors(recipe, recipe.train)
    return errors


def _untrained(recipe: Recipe, own: Own) -> bool:
    """Whether the recipe's flow is a sampler without training."""
    row = own.flows(recipe.theory.row.family).get(str(recipe.flow.get("kind")))
    return row is not None and row.untrained


def _tuning_errors(name: str, entry: Any) -> Errors:
    """The errors of a sampler whose warm-up is to tune the step size."""
    if not target_acceptance(entry):
        return []
    if not {"hmc", "pseudofermions"} & set(kernels_of(entry)):
        return [f"samplers.{name}.target_acceptance tunes HMC: add hmc to samplers.{name}.kernels, or remove it"]
    if entry.warmup < LEAST:
        return [
            f"samplers.{name}.warmup must be {LEAST} or more to tune the step size to target_acceptance, got {entry.warmup}"
        ]
    return []


def _hits_errors(recipe: Recipe, name: str, entry: Any) -> Errors:
    """The error of a sampler with flux hits where there is no flux."""
    fluxes = recipe.theory.row.family == "u1" and len(recipe.lattice) == 2
    if not hits_of(entry) or fluxes:
        return []
    return [
        f"samplers.{name}.hits: flux hits are for U(1) links in two dimensions, got {recipe.theory.name} on "
        f"{list(recipe.lattice)}: remove them"
    ]


def _theory_errors(recipe: Recipe, row: catalogue.Row) -> list[str]:
    """The errors of samplers, couplings and lattice that the theory does not admit."""
    errors = [
        f"samplers.{name}: {_not_admitted(word, recipe.theory.name, row)}"
        for name, entry in recipe.samplers.items()
        for word in dict.fromkeys(kernels_of(entry))
        if KERNELS[word].admitted_as not in row.samplers
    ]
    wrong = row.fault and row.fault({name: getattr(recipe.theory, name) for name in row.couplings})
    if wrong:
        errors.append(f"theory.{wrong[0]}: {wrong[1]}")
    if math.prod(recipe.lattice) > SITES:
        errors.append(f"lattice has {math.prod(recipe.lattice)} sites, at most {SITES} are possible")
    if len(recipe.lattice) < row.dimensions:
        few = {2: "two"}.get(row.dimensions, str(row.dimensions))
        errors.append(f"lattice: the {row.title} needs {few} or more extents, got {list(recipe.lattice)}")
    return errors


def _not_admitted(word: str, name: str, row: catalogue.Row) -> str:
    """Why a theory does not admit a kernel, and which theories or kernels there are instead."""
    admitting = [other for other, entry in catalogue.THEORIES.items() if word in entry.samplers]
    if word == "heatbath" and admitting:
        return f"a heat bath exists for gauge theories only: {', '.join(admitting)}"
    return f"{name} does not admit {word}; it admits {', '.join(row.samplers)}"


def _training_errors(train: Train, couplings: Iterable[str]) -> list[str]:
    """The errors of the couplings that [train] names."""
    errors = [
        f"train.{table}.{name}: there is no such coupling{hint(name, couplings) or '; there are ' + ', '.join(couplings)}"
        for table, values in (("anneal", train.anneal), ("between", train.between))
        for name in values
        if name not in couplings
    ]
    if train.anneal and train.between:
        errors.append("train.anneal and train.between exclude each other: use one of them")
    return errors


def _range_errors(recipe: Recipe, train: Train) -> list[str]:
    """The couplings of [theory] for which a conditioned flow would not be trained."""
    return [
        f"train.between.{name} = {list(ends)} does not contain theory.{name} = {value:g}, where the flow will draw: widen it, or set "
        "extrapolate=true"
        for name, ends in train.between.items()
        if (value := getattr(recipe.theory, name, None)) is not None
        and not min(ends) <= value <= max(ends)
        and not recipe.extrapolate
    ]


def _fit_errors(recipe: Recipe, fit: Fit) -> list[str]:
    """The errors of [fit], which is for flows along loops and excludes [train]."""
    errors = []
    if recipe.flow.get("kind") != "loops":
        errors.append(f"fit needs flow.kind = 'loops', got {recipe.flow.get('kind')!r}: train other flows with [train]")
    if recipe.train is not None:
        errors.append("fit and train exclude each other: use one of them")
    if fit.samples == 1:
        errors.append("fit.samples must be 2 or more, or 0 for no fit: a single configuration has no variance")
    if fit.lattice and len(fit.lattice) != len(recipe.lattice):
        errors.append(
            f"fit.lattice must have {len(recipe.lattice)} extents, as the lattice has, got {list(fit.lattice)}"
        )
    return errors
