"""Recipes: TOML files with overrides, checked all at once, every fault with its path and the nearest right word.

A recipe is a built-in name (`haarflow/recipes/*.toml`) or a file; `key=value` overrides use its own dotted paths.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pydantic
from pydantic.fields import FieldInfo

from haarflow.flows.catalogue import options
from haarflow.run import toml
from haarflow.run.own import NOTHING, Own
from haarflow.run.samplers import KERNELS, SAMPLERS, kernels_of, needs_flow
from haarflow.run.schema import theory_settings
from haarflow.run.settings import THEORY_SETTINGS, Engine, Fit, Recipe, Train
from haarflow.theories import catalogue

_FOLDER = Path(__file__).parent.parent / "recipes"


class RecipeError(ValueError):
    """A recipe that cannot be run; the message lists every fault with its path."""


def names() -> dict[str, str]:
    """Return the built-in recipes and what each shows.

    >>> sorted(names())[:2]
    ['phi4-2d', 'su2-2d']
    """
    files = sorted(_FOLDER.glob("*.toml"))
    return {file.stem: tomllib.loads(file.read_text(encoding="utf-8")).get("description", "") for file in files}


def load(source: str | Path, overrides: Iterable[str] = (), own: Own = NOTHING, **fixed: Any) -> Recipe:
    """Return the checked recipe of a built-in name or a TOML file, with `key=value` overrides.

    `fixed` sets whole dotted paths, with `__` for the dot (`run__backend="numpy"`); None leaves the recipe's word. `own` is
    what the command line names of one's own. Raises RecipeError with all faults.

    >>> load("u1-tiny", ["theory.beta=2.5", "lattice=[6, 6]"]).theory.beta
    2.5
    """
    return check(overridden(read(source), overrides, **fixed), own)


def overridden(table: dict[str, Any], overrides: Iterable[str] = (), **fixed: Any) -> dict[str, Any]:
    """Return an unchecked table changed by `key=value` words and whole dotted paths, as in `load`.

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
    """Return the recipe that draws `number` configurations with a trained model, by default where it was trained.

    Raises UnknownModel for a model that is not there, ModelFileError for a damaged one or a card without a theory.
    """
    from haarflow import models
    from haarflow.flows.modelfile import ModelFileError, read_card

    path = models.path_of(name)
    card = read_card(path).get("card", {})
    theory = card.get("theory")
    if not isinstance(theory, dict) or not {"name", "lattice", "couplings"} <= theory.keys():
        raise ModelFileError(f"{path}: its card does not say for which theory, lattice and couplings it was trained")
    table: dict[str, Any] = {
        "name": f"sample-{Path(name).stem}",
        "lattice": list(theory["lattice"]),
        "fields_every": 1,
        "model": name,
        "theory": _words_of(theory, own) | theory["couplings"],
        "samplers": {kind: {"draws": number}},
    }
    if SAMPLERS[kind].draws == "accepted":
        table["samplers"][kind]["warmup"] = number // 10
    return check(overridden(table, overrides, **fixed), own)


def _words_of(theory: Mapping[str, Any], own: Own) -> dict[str, Any]:
    """A card's name of a theory and its definition."""
    row = own.theories.get(str(theory["name"]))
    return {word: theory[word] for word in ("name", *(row.options if row else ())) if word in theory}


def read(source: str | Path) -> dict[str, Any]:
    """Return a recipe's unchecked table; raises RecipeError where there is none or it is no TOML."""
    path = _FOLDER / f"{source}.toml"
    if not path.is_file() or "/" in str(source):
        path = Path(source)
    if path.is_dir():
        path = path / "recipe.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = list(names())
        raise RecipeError(
            f"no recipe {str(source)!r}{hint(str(source), known)}: wanted a TOML file or one of {', '.join(known)}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from None


def _override(table: dict[str, Any], text: str) -> None:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise RecipeError(f"an override reads key=value, such as theory.beta=2.5, got {text!r}")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
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
    """Return the recipe of a table; raises RecipeError that lists every fault.

    >>> check({"name": "try", "lattice": [4, 4], "theory": {"name": "u1", "bta": 1.0}})
    Traceback (most recent call last):
    haarflow.run.recipes.RecipeError: 2 faults in the recipe:
      theory.beta: is missing
      theory.bta: no such key, did you mean 'beta'?
    """
    table, faults = own.named(dict(table)), Faults()
    theory = _theory(table.get("theory", MISSING), own, faults)
    tables = {name: _table(kind, name, table[name], faults) for name, kind in TABLES.items() if name in table}
    samplers = _samplers(table.get("samplers", {}), faults)
    rest = {name: value for name, value in table.items() if name not in ("theory", "samplers", *TABLES)}
    recipe = _table(Recipe, "", {**rest, "theory": None}, faults)
    if not faults:
        recipe = dataclasses.replace(recipe, theory=theory, samplers=samplers, **tables)
        _meeting_faults(recipe, faults)
    _flow(table, own, faults)
    if faults:
        count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise RecipeError("\n  ".join([f"{count} in the recipe:", *sorted(faults)]))
    return recipe


TABLES: dict[str, type] = {"train": Train, "fit": Fit, "run": Engine}
MISSING = object()
Faults = list[str]  # lines "path: what is wrong"


def _theory(table: Any, own: Own, faults: Faults) -> Any:
    """The settings of [theory], or None with the faults."""
    if table is MISSING:
        faults.append("theory: is missing")
        return None
    kind = _kind("theory", "name", table, own.theories, faults)
    if kind is None:
        return None
    settings = THEORY_SETTINGS.get(kind) or theory_settings(kind, own.theories[kind])
    return _table(settings, "theory", table, faults)


def _samplers(table: Any, faults: Faults) -> dict[str, Any]:
    """The settings of all samplers; a table named by a kind need not repeat it."""
    if not isinstance(table, Mapping):
        faults.append(f"samplers: wanted a table, got {table!r}")
        return {}
    found = {}
    for name, entry in table.items():
        if isinstance(entry, Mapping) and name in SAMPLERS:
            entry = {"kind": name, **entry}
        kind = _kind(f"samplers.{name}", "kind", entry, SAMPLERS, faults, name)
        if kind is not None:
            found[name] = _table(SAMPLERS[kind].settings, f"samplers.{name}", entry, faults)
    return found


def _kind(path: str, key: str, table: Any, known: Collection[str], faults: Faults, near: str = "") -> str | None:
    """The word that says which class a table is of, or None with the fault."""
    kind = table.get(key) if isinstance(table, Mapping) else None
    if isinstance(kind, str) and kind in known:
        return kind
    if not isinstance(table, Mapping):
        faults.append(f"{path}: wanted a table, got {table!r}")
    elif isinstance(kind, str) and ":" in kind and path in ("theory", "flow"):
        remedy = f"name it on the command line, --{path} {kind}"
        faults.append(f"{path}.{key}: {kind!r} is one's own, and nothing is imported because a file says so: {remedy}")
    else:
        said = "is missing" if kind is None else f"got {kind!r}"
        own = ", or --theory module:name for one of your own" if kind is None and path == "theory" else ""
        faults.append(f"{path}.{key}: {said}, wanted one of {', '.join(known)}{hint(str(kind or near), known)}{own}")
    return None


def _table(kind: type, path: str, table: Any, faults: Faults) -> Any:
    """The dataclass of a table, or None with its faults."""
    if not isinstance(table, Mapping):
        faults.append(f"{path}: wanted a table, got {table!r}")
        return None
    try:
        # JSON's strict reading takes a list for a tuple and an integer for a real number, and nothing else
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(table, default=str), strict=True)
    except pydantic.ValidationError as error:
        keys = [entry.name for entry in dataclasses.fields(kind)]
        faults.extend(_fault(fault, path, keys) for fault in error.errors())
        return None


# ---- faults


def hint(word: str, known: Iterable[str]) -> str:
    """Return ", did you mean ...?" where a known word is near.

    >>> hint("leapfrgo", ["leapfrog", "omelyan"])
    ", did you mean 'leapfrog'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else ""


def _fault(fault: Any, path: str, keys: Iterable[str]) -> str:
    """The line of one of pydantic's errors in a table of these keys."""
    path = ".".join(filter(None, (path, *map(str, fault["loc"]))))
    kind, got = fault["type"], fault["input"]
    if kind == "unexpected_keyword_argument":
        near = hint(path.rpartition(".")[2], keys)
        return f"{path}: no such key{near}" if near else f"{path}: no such key, known here: {', '.join(keys)}"
    if kind == "missing":
        return f"{path}: is missing"
    if kind == "literal_error":
        known = tuple(word.strip("'") for word in fault["ctx"]["expected"].replace(" or ", ", ").split(", "))
        return f"{path}: got {got!r}, wanted one of {', '.join(filter(None, known))}{hint(str(got), known)}"
    wanted = fault["msg"].removeprefix("Input should be ")
    return f"{path}: wanted {wanted.replace('an object', 'a table').replace('a valid array', 'a list')}, got {got!r}"


def _flow(table: Mapping[str, Any], own: Own, faults: Faults) -> None:
    """Faults of [flow]: its kind belongs to the theory, its other keys are the constructor's arguments."""
    flow, theory = table.get("flow") or {}, table.get("theory")
    row = own.theories.get(str(theory.get("name"))) if isinstance(theory, Mapping) else None
    if not isinstance(flow, Mapping) or not flow:
        return
    if row is None and ":" not in str(flow.get("kind")):
        return
    rows = own.flows(row.family if row else "")
    kind = _kind("flow", "kind", flow, sorted(rows), faults)
    if kind is None:
        return
    types = options(rows[kind])
    for name, value in flow.items():
        if name == "kind":
            continue
        if name not in types:
            near = hint(name, types) or f", known here: {', '.join(types)}"
            faults.append(f"flow.{name}: no such key{near}")
            continue
        try:
            pydantic.TypeAdapter(types[name]).validate_json(json.dumps(value, default=str), strict=True)
        except pydantic.ValidationError as error:
            faults.extend(_fault({**fault, "loc": ("flow", name)}, "", ()) for fault in error.errors()[:1])


def _meeting_faults(recipe: Recipe, faults: Faults) -> None:
    """Faults that no table has by itself."""
    needs_model = [name for name, entry in recipe.samplers.items() if needs_flow(entry) and not entry.model]
    if needs_model and not recipe.model and not recipe.flow:
        faults.append(f"samplers.{needs_model[0]}: needs a flow: give [flow] and [train], or model")
    if recipe.model and recipe.flow:
        faults.append("model: stands beside flow; a recipe trains a flow or opens a model")
    if recipe.flow and recipe.train is None and recipe.fit is None:
        faults.append("train: is missing; a recipe with [flow] needs [train], or [fit] for a flow along loops")
    if recipe.fit is not None:
        faults += _fit_faults(recipe, recipe.fit)
    faults += _theory_faults(recipe, recipe.theory.row)
    if recipe.train is not None:
        faults += _training_faults(recipe.train, recipe.theory.row.couplings)


def _theory_faults(recipe: Recipe, row: catalogue.Row) -> list[str]:
    """Faults of samplers, couplings and lattice that the theory does not admit."""
    faults = [
        f"samplers.{name}: {_not_admitted(word, recipe.theory.name, row)}"
        for name, entry in recipe.samplers.items()
        for word in dict.fromkeys(kernels_of(entry))
        if KERNELS[word].admitted_as not in row.samplers
    ]
    wrong = row.fault and row.fault({name: getattr(recipe.theory, name) for name in row.couplings})
    if wrong:
        faults.append(f"theory.{wrong[0]}: {wrong[1]}")
    if len(recipe.lattice) < row.dimensions:
        few = {2: "two"}.get(row.dimensions, str(row.dimensions))
        faults.append(f"lattice: a gauge theory needs {few} extents or more, got {list(recipe.lattice)}")
    return faults


def _not_admitted(word: str, name: str, row: catalogue.Row) -> str:
    """Why a theory has no such kernel, with those theories that have."""
    having = [other for other, entry in catalogue.THEORIES.items() if word in entry.samplers]
    if word == "heatbath" and having:
        return f"a heat bath is there for gauge theories only: {', '.join(having)}"
    return f"{name} does not admit {word}; it admits {', '.join(row.samplers)}"


def _training_faults(train: Train, couplings: Iterable[str]) -> list[str]:
    """Faults of couplings that a training names."""
    faults = [
        f"train.{table}.{name}: no such coupling{hint(name, couplings) or ', known here: ' + ', '.join(couplings)}"
        for table in ("anneal", "between")
        for name in getattr(train, table)
        if name not in couplings
    ]
    if train.anneal and train.between:
        faults.append("train.anneal: stands beside train.between; a training has one or the other")
    return faults


def _fit_faults(recipe: Recipe, fit: Fit) -> list[str]:
    """Faults of a fit: it is for flows along loops, stands alone, and wants as many couplings as powers."""
    faults = []
    if recipe.flow.get("kind") != "loops":
        faults.append(
            f"fit: is for flow.kind = 'loops', got {recipe.flow.get('kind')!r}; other flows are trained: [train]"
        )
    if recipe.train is not None:
        faults.append("fit: stands beside train; a recipe has one or the other")
    if fit.samples == 1:
        faults.append("fit.samples: one configuration has no spread to fit; wanted 2 or more, or 0 for no fit")
    if fit.lattice and len(fit.lattice) != len(recipe.lattice):
        faults.append(f"fit.lattice: wanted {len(recipe.lattice)} extents as the lattice has, got {list(fit.lattice)}")
    return faults


# ---- writing


def as_table(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as the nested dict that `check` accepts.

    >>> check(as_table(load("u1-tiny"))) == load("u1-tiny")
    True
    """
    table = json.loads(json.dumps(dataclasses.asdict(recipe)))
    for name, sampler in table["samplers"].items():
        table["samplers"][name] = {"kind": sampler.pop("kind"), **sampler}
    return {name: value for name, value in table.items() if value not in ({}, [], None)}


def to_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML text with a comment beside every key."""
    return toml.dumps(as_table(recipe), _comments(recipe))


def _comments(value: Any, path: tuple[str, ...] = ()) -> dict[str, str]:
    comments: dict[str, str] = {}
    for name, annotation in typing.get_type_hints(type(value), include_extras=True).items():
        if name.startswith("__"):
            continue
        here = (*path, name)
        child = getattr(value, name)
        comments[".".join(here)] = next(
            (note.description or "" for note in getattr(annotation, "__metadata__", ()) if isinstance(note, FieldInfo)),
            "",
        )
        if dataclasses.is_dataclass(child):
            comments |= {".".join(here): (type(child).__doc__ or "").strip(), **_comments(child, here)}
        elif isinstance(child, dict):
            for key, grandchild in child.items():
                if dataclasses.is_dataclass(grandchild):
                    below = (*here, key)
                    comments |= {
                        ".".join(below): (type(grandchild).__doc__ or "").strip(),
                        **_comments(grandchild, below),
                    }
    return comments


def template(source: str) -> str:
    """Return a commented template made from a recipe: every key there is, with its meaning."""
    recipe = dataclasses.replace(load(source), versions={})
    head = (
        f"# Made from {source}. Run it:        haarflow run FILE\n"
        "# Change one value for one run:  haarflow run FILE theory.beta=2.5 lattice=[8,8]\n"
        "# Leave a table out:             haarflow run FILE samplers.hmc=false\n\n"
    )
    return head + to_toml(recipe)
