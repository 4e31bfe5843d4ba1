"""The check of a recipe, all at once: every table becomes its settings, or adds what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

import pydantic

from haarflow.core import untrusted
from haarflow.flows.catalogue import SHARED, options
from haarflow.run.own import NOTHING, Own
from haarflow.run.recipes.consistency import between_tables
from haarflow.run.recipes.faults import Errors, RecipeError, hint, line, no_such_key
from haarflow.run.samplers import SAMPLERS
from haarflow.run.schema import NAME, NAMED, theory_settings
from haarflow.run.settings import THEORY_SETTINGS, Backend, Fit, Recipe, Thermodynamics, Train
from haarflow.theories import catalogue

WIDEST = 1 << 14  # layers, channels, pieces, ... of a flow
TABLES: dict[str, type] = {"train": Train, "fit": Fit, "thermodynamics": Thermodynamics, "run": Backend}
MISSING = object()


def check(table: Mapping[str, Any], own: Own = NOTHING) -> Recipe:
    """Return the recipe of a table; raises RecipeError, which lists every error.

    >>> check({"name": "try", "lattice": [4, 4], "theory": {"name": "u1", "bta": 1.0}})
    Traceback (most recent call last):
    haarflow.run.recipes.faults.RecipeError: 2 errors in the recipe:
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
        errors += between_tables(recipe, own)
    _flow(table, own, errors)
    if errors:
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        raise RecipeError("\n  ".join([f"{count} in the recipe:", *sorted(errors)]))
    return recipe


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
        errors.extend(line(entry, path, keys) for entry in error.errors())
        return None


@cache
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)


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
    types = SHARED | options(rows[kind])
    for name, value in flow.items():
        if name == "kind":
            continue
        if name not in types:
            errors.append(no_such_key(f"flow.{name}", types))
            continue
        if any(abs(number) > WIDEST for number in _whole_numbers(value)):
            errors.append(f"flow.{name} holds whole numbers up to {WIDEST}, got {value!r:.60}")
            continue
        try:
            _adapter(types[name]).validate_json(json.dumps(value, default=str), strict=True)
        except pydantic.ValidationError as error:
            errors.extend(line({**entry, "loc": ("flow", name)}, "", ()) for entry in error.errors()[:1])


def _whole_numbers(value: Any) -> list[int]:
    if isinstance(value, list | tuple):
        return [number for entry in value for number in _whole_numbers(entry)]
    return [value] if isinstance(value, int) else []
