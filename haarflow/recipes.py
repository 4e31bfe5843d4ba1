"""Recipes: TOML files with overrides, checked all at once, every fault with its path and the nearest right word.

A recipe is a built-in name (`haarflow/recipes/*.toml`) or a file; `key=value` overrides use its own dotted paths.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pydantic
from pydantic.fields import FieldInfo

from haarflow import tomltext
from haarflow.architectures import ARCHITECTURES, options
from haarflow.settings import DEFINITION, FAMILIES, GAUGE, SAMPLER_KINDS, Fit, Recipe

_FOLDER = Path(__file__).parent / "recipes"


class RecipeError(ValueError):
    """A recipe that cannot be run; the message lists every fault with its path."""


def names() -> dict[str, str]:
    """Return the built-in recipes and what each shows.

    >>> sorted(names())[:2]
    ['phi4-2d', 'su2-2d']
    """
    files = sorted(_FOLDER.glob("*.toml"))
    return {file.stem: tomllib.loads(file.read_text(encoding="utf-8")).get("description", "") for file in files}


def load(source: str | Path, overrides: Iterable[str] = (), **fixed: Any) -> Recipe:
    """Return the checked recipe of a built-in name or a TOML file, with `key=value` overrides.

    `fixed` sets whole dotted paths, with `__` for the dot (`run__backend="numpy"`); None leaves the recipe's word.
    Raises RecipeError with all faults.

    >>> load("u1-tiny", ["theory.beta=2.5", "lattice=[6, 6]"]).theory.beta
    2.5
    """
    return check(overridden(read(source), overrides, **fixed))


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


def for_model(name: str, kind: str, number: int, overrides: Iterable[str] = (), **fixed: Any) -> Recipe:
    """Return the recipe that draws `number` configurations with a trained model, by default where it was trained.

    Raises RecipeError for a model that is not there, ModelFileError for a damaged one or a card without a theory.
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
        "theory": {word: theory[word] for word in ("name", *DEFINITION) if word in theory} | theory["couplings"],
        "samplers": {kind: {"draws": number}},
    }
    if kind == "flow-metropolis":
        table["samplers"][kind]["warmup"] = number // 10
    return check(overridden(table, overrides, **fixed))


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


def check(table: Mapping[str, Any]) -> Recipe:
    """Return the recipe of a table; raises RecipeError that lists every fault.

    >>> check({"name": "try", "lattice": [4, 4], "theory": {"name": "u1", "bta": 1.0}})
    Traceback (most recent call last):
    haarflow.recipes.RecipeError: 2 faults in the recipe:
      theory.beta: is missing
      theory.bta: no such key, did you mean 'beta'?
    """
    table = _with_kinds(table)
    faults = _flow_faults(table)
    try:
        # JSON's strict reading takes a list for a tuple and an integer for a real number, and nothing else
        recipe = pydantic.TypeAdapter(Recipe).validate_json(json.dumps(table, default=str), strict=True)
    except pydantic.ValidationError as error:
        faults += [_fault(fault) for fault in error.errors()]
    else:
        faults += _meeting_faults(recipe)
    if faults:
        count = "a fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise RecipeError("\n  ".join([f"{count} in the recipe:", *sorted(faults)]))
    return recipe


def _with_kinds(table: Mapping[str, Any]) -> dict[str, Any]:
    """A sampler's table named by a kind need not repeat it."""
    samplers = table.get("samplers")
    if not isinstance(samplers, Mapping):
        return dict(table)

    def named(name: str, entry: Any) -> Any:
        known = isinstance(entry, Mapping) and "kind" not in entry and name in SAMPLER_KINDS
        return {"kind": name, **entry} if known else entry

    return {**table, "samplers": {name: named(name, entry) for name, entry in samplers.items()}}


# ---- faults, each a line "path: what is wrong"


def hint(word: str, known: Iterable[str]) -> str:
    """Return ", did you mean ...?" where a known word is near.

    >>> hint("leapfrgo", ["leapfrog", "omelyan"])
    ", did you mean 'leapfrog'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else ""


def _fault(fault: Any) -> str:
    path, keys = _path(fault["loc"])
    kind, got, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "unexpected_keyword_argument":
        near = hint(path.rpartition(".")[2], keys)
        return f"{path}: no such key{near}" if near else f"{path}: no such key, known here: {', '.join(keys)}"
    if kind == "missing":
        return f"{path}: is missing"
    if kind.startswith("union_tag"):
        tag = context["discriminator"].strip("'")
        known = SAMPLER_KINDS if path.startswith("samplers") else tuple(FAMILIES)
        name = context.get("tag", path.rpartition(".")[2] if kind == "union_tag_not_found" else "")
        said = f"got {name!r}" if "tag" in context else "is missing"
        return f"{path}.{tag}: {said}, wanted one of {', '.join(known)}{hint(name, known)}"
    if kind == "literal_error":
        known = tuple(word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", "))
        near = hint(str(got), known)
        return f"{path}: got {got!r}, wanted one of {', '.join(filter(None, known))}{near}"
    wanted = (
        fault["msg"].removeprefix("Input should be ").replace("an object", "a table").replace("a valid array", "a list")
    )
    return f"{path}: wanted {wanted}, got {got!r}"


def _path(location: tuple[Any, ...]) -> tuple[str, list[str]]:
    """The dotted path of a fault without pydantic's union tags, and the keys that are known beside it."""
    here: Any = Recipe
    parts: list[str] = []
    steps = list(location)
    while steps:
        step = steps.pop(0)
        options = _classes(here)
        if len(options) > 1 and step in options:
            here = options[step]
            continue
        parts.append(str(step))
        if dataclasses.is_dataclass(here) and steps:
            here = _bare(typing.get_type_hints(here, include_extras=True).get(str(step)))
        elif typing.get_origin(_bare(here)) is dict:
            here = typing.get_args(_bare(here))[1]
    keys = [entry.name for entry in dataclasses.fields(here)] if dataclasses.is_dataclass(here) else []
    return ".".join(parts), keys


def _bare(annotation: Any) -> Any:
    """The class under `Annotated[...]` and `... | None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    choices = [choice for choice in typing.get_args(annotation) if choice is not type(None)]
    return choices[0] if isinstance(annotation, types.UnionType) and len(choices) == 1 else annotation


def _classes(annotation: Any) -> dict[str, Any]:
    """The dataclasses a union chooses from, under their tags."""
    bare = _bare(annotation)
    if not isinstance(bare, types.UnionType):
        return {}
    return {tag: choice for choice in typing.get_args(bare) for tag in _tags(choice)}


def _tags(choice: Any) -> tuple[str, ...]:
    """The literal words of a dataclass's `kind` or `name`."""
    hints = typing.get_type_hints(choice)
    return typing.get_args(hints["kind" if "kind" in hints else "name"])


def _flow_faults(table: Mapping[str, Any]) -> list[str]:
    """Faults of [flow]: its kind belongs to the theory, its other keys are the constructor's arguments."""
    flow, theory = table.get("flow") or {}, table.get("theory")
    if not isinstance(flow, Mapping) or not flow or not isinstance(theory, Mapping):
        return []
    family = FAMILIES.get(str(theory.get("name")))
    if family is None:
        return []
    known = sorted(ARCHITECTURES[family])
    kind = flow.get("kind")
    if kind not in known:
        said = "is missing" if kind is None else f"got {kind!r}"
        return [f"flow.kind: {said}, wanted one of {', '.join(known)}{hint(str(kind), known)}"]
    known_types, faults = options(family, kind), []
    for name, value in flow.items():
        if name == "kind":
            continue
        if name not in known_types:
            near = hint(name, known_types) or f", known here: {', '.join(known_types)}"
            faults.append(f"flow.{name}: no such key{near}")
            continue
        try:
            pydantic.TypeAdapter(known_types[name]).validate_json(json.dumps(value, default=str), strict=True)
        except pydantic.ValidationError as error:
            faults += [_fault({**fault, "loc": ("flow", name)}) for fault in error.errors()[:1]]
    return faults


def _meeting_faults(recipe: Recipe) -> list[str]:
    """Faults that no key has alone."""
    faults = []
    needs_model = [
        name
        for name, sampler in recipe.samplers.items()
        if hasattr(sampler, "model") and not sampler.model and "flow" in getattr(sampler, "kernels", ("flow",))
    ]
    if needs_model and not recipe.model and not recipe.flow:
        faults.append(f"samplers.{needs_model[0]}: needs a flow: give [flow] and [train], or model")
    if recipe.model and recipe.flow:
        faults.append("model: stands beside flow; a recipe trains a flow or opens a model")
    if recipe.flow and recipe.train is None and recipe.fit is None:
        faults.append("train: is missing; a recipe with [flow] needs [train], or [fit] for a flow along loops")
    if recipe.fit is not None:
        faults += _fit_faults(recipe, recipe.fit)
    if recipe.theory.name not in GAUGE:
        faults += [
            f"samplers.{name}: a heat bath is there for gauge theories only: {', '.join(GAUGE)}"
            for name, sampler in recipe.samplers.items()
            if sampler.kind == "heatbath" or "heatbath" in getattr(sampler, "kernels", ())
        ]
    if recipe.theory.name == "phi4" and recipe.theory.lam == 0 and recipe.theory.m2 <= 0:
        faults.append(f"theory.m2: the free field needs m2 > 0, got {recipe.theory.m2}")
    if recipe.train is not None:
        words = [entry.name for entry in dataclasses.fields(recipe.theory)]
        couplings = [word for word in words if word not in ("name", *DEFINITION)]
        faults += [
            f"train.{table}.{name}: no such coupling{hint(name, couplings) or ', known here: ' + ', '.join(couplings)}"
            for table in ("anneal", "between")
            for name in getattr(recipe.train, table)
            if name not in couplings
        ]
        if recipe.train.anneal and recipe.train.between:
            faults.append("train.anneal: stands beside train.between; a training has one or the other")
    if recipe.theory.name in GAUGE and len(recipe.lattice) < 2:
        faults.append(f"lattice: a gauge theory needs two extents or more, got {list(recipe.lattice)}")
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
    table = json.loads(pydantic.TypeAdapter(Recipe).dump_json(recipe, exclude_none=True))
    for name, sampler in table["samplers"].items():
        table["samplers"][name] = {"kind": sampler.pop("kind"), **sampler}
    return {name: value for name, value in table.items() if value not in ({}, [])}


def to_toml(recipe: Recipe) -> str:
    """Return a recipe as TOML text with a comment beside every key."""
    return tomltext.dumps(as_table(recipe), _comments(recipe))


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
