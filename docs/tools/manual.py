"""The tables of the physics manual: `python -m docs.tools.manual` writes them anew into the pages of docs/manual/.

A page says where a table stands by a pair of comments, `<!-- theory u1 -->` and `<!-- end -->`. What is between them comes
from the catalogues of theories and flows, from the theories themselves, from the recipes, from the stored benchmarks and
from references.bib; all else on a page is written by hand. The tests fail where a table is out of date. What
no page names yet stands at the end of the index, by `<!-- rest -->`.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from docs.tools.costs import costs
from docs.tools.papers import cited
from docs.tools.tables import table
from haarflow.backends import numpy as backend
from haarflow.core import random
from haarflow.core.parts import described
from haarflow.flows.catalogue import FLOWS, constructor, options
from haarflow.flows.catalogue import Row as FlowRow
from haarflow.run import recipes
from haarflow.run.samplers import SAMPLERS
from haarflow.run.target import Target
from haarflow.theories.catalogue import THEORIES, Coupling, Option, Row

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "manual"
MARKED = re.compile(r"<!-- (\w+)((?: [\w-]+)*) -->\n(.*?)<!-- end -->", flags=re.DOTALL)


def with_tables(text: str) -> str:
    """Return a page with its tables as the sources have them now.

    >>> "beta" in with_tables("<!-- theory u1 -->\\n<!-- end -->")
    True
    """

    def filled(match: re.Match[str]) -> str:
        lines = "\n".join(TABLES[match[1]](text, match[2].split())).rstrip()
        return f"<!-- {match[1]}{match[2]} -->\n\n{lines}\n\n<!-- end -->"

    return MARKED.sub(filled, text)


def subjects(text: str, word: str) -> set[str]:
    """Return what a page has tables of: theories by the word "theory", families of flows by "flows"."""
    return {name for match in MARKED.finditer(text) if match[1] == word for name in match[2].split()}


def theory(text: str, names: Sequence[str]) -> list[str]:
    """Return the tables of theories: definition, settings, what is measured, what is exactly known."""
    return [line for name in names for line in _theory(name, THEORIES[name])]


def _theory(name: str, row: Row) -> list[str]:
    made = _small(row)
    couplings = [_setting(word, "coupling", one, _number(one.default)) for word, one in row.couplings.items()]
    choices = [_setting(word, "option", one, _chosen(row, word, one)) for word, one in row.options.items()]
    return [
        f'### In a recipe: `theory.name = "{name}"`',
        "",
        f"    {row.formula}",
        "",
        f"{row.title}, in {row.dimensions} dimension{'s' * (row.dimensions > 1)} or more. Flows: {_of_family(row.family)}. "
        f"Samplers: {', '.join(f'`{word}`' for word in _samplers(row))}.",
        "",
        *table(("setting", "kind", "symbol", "bounds", "default", "what it is"), [*couplings, *choices]),
        "",
        f"What is measured, on {_lattice(made)} for example:",
        "",
        *table(("name", "meaning"), _measured(made)),
        "",
        *_exact(made),
    ]


def _setting(name: str, kind: str, entry: Coupling | Option, default: str) -> tuple[str, ...]:
    bounds = "" if entry.least is None else f"≥ {entry.least:g}"
    return (f"`{name}`", kind, entry.symbol, bounds, default, entry.what)


def _number(default: float | None) -> str:
    return "to be set" if default is None else f"`{default:g}`"


def _chosen(row: Row, name: str, option: Option) -> str:
    return "to be set" if option.required else f"`{row.defaults[name]!r}`"


def _of_family(family: str) -> str:
    return ", ".join(f"`{kind}`" for kind in FLOWS.get(family, {})) or "none"


def _samplers(row: Row) -> list[str]:
    """The samplers all of whose kernels the theory admits."""
    return [name for name, sampler in SAMPLERS.items() if sampler.kernels and set(sampler.kernels) <= set(row.samplers)]


def _small(row: Row) -> Target:
    """A row's theory on a small lattice, at its default couplings."""
    words = {name: 3 for name, option in row.options.items() if option.required}
    made = row.make((4,) * max(2, row.dimensions), **words)
    return Target(typing.cast(Any, None), row, made, dict(described(made).part("couplings")), words)


def _lattice(target: Target) -> str:
    return "×".join(map(str, target.theory.lattice))


def _measured(target: Target) -> list[tuple[str, ...]]:
    known, start = described(target.theory), target.hot_start(random.key(0, backend), 2, "float64")
    measured = [*known.part("observables")(start, target.couplings), *(known.part("derived") or {})]
    return [(f"`{name}`", target.labels.get(name, "")) for name in dict.fromkeys(measured)]


def _exact(target: Target) -> list[str]:
    values = ", ".join(f"{name} = {value:g}" for name, value in target.couplings.items())
    if not target.exact:
        return ["No exact value is known."]
    rows = [(f"`{name}`", f"{value:.6g}") for name, value in target.exact.items()]
    return [f"Exactly known on {_lattice(target)} at {values}:", "", *table(("name", "value"), rows)]


def flows(text: str, families: Sequence[str]) -> list[str]:
    """Return the tables of families of flows: kinds, and the options of [flow] with their defaults."""
    return [line for family in families for kind, row in FLOWS[family].items() for line in _flow(kind, row)]


def _flow(kind: str, row: FlowRow) -> list[str]:
    defaults = inspect.signature(constructor(row)).parameters
    given = {name: hint for name, hint in options(row).items() if typing.get_origin(hint) is not Callable}
    rows = [(f"`{name}`", _type(hint), _value(defaults, name)) for name, hint in given.items()]
    taken = (
        f" From the theory unless set: {', '.join(f'`{word}`' for word in row.takes if word in given)}."
        if row.takes
        else ""
    )
    untrained = " It needs no training." if row.untrained else ""
    head = [
        f'### In a recipe: `flow.kind = "{kind}"`',
        "",
        f"{row.what[0].upper()}{row.what[1:]}.{taken}{untrained}",
        "",
    ]
    return [*head, *table(("option", "type", "default"), rows), ""]


def _type(hint: Any) -> str:
    return f"`{hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else _plain(str(hint))}`"


def _plain(hint: str) -> str:
    return re.sub(r"typing\.|collections\.abc\.|[\w.]+\.(?=[A-Z])", "", hint).replace("|", "or")


def _value(parameters: Any, name: str) -> str:
    if name not in parameters or parameters[name].default is inspect.Parameter.empty:
        return ""
    return f"`{parameters[name].default!r}`"


def samplers(text: str, names: Sequence[str]) -> list[str]:
    """Return the tables of samplers: what one draw is, and the settings of [samplers.NAME]."""
    return [line for name in names for line in _sampler(name)]


def _sampler(name: str) -> list[str]:
    row = SAMPLERS[name]
    head = [f'### In a recipe: `kind = "{name}"`', "", f"{inspect.getdoc(row.settings)} A draw: {row.draw}.", ""]
    found = typing.get_type_hints(row.settings, include_extras=True)
    rows = [_sampler_setting(one, found[one.name]) for one in dataclasses.fields(row.settings) if one.name != "kind"]
    return [*head, *table(("setting", "default", "what it is"), rows), ""]


def _sampler_setting(one: Any, hint: Any) -> tuple[str, str, str]:
    what = next(
        (str(note.description) for note in getattr(hint, "__metadata__", ()) if hasattr(note, "description")), ""
    )
    made = one.default_factory is not dataclasses.MISSING
    return f"`{one.name}`", f"`{one.default_factory() if made else one.default!r}`", what


def recipe(text: str, names: Sequence[str]) -> list[str]:
    """Return a list of the recipes that ship for theories."""
    found = [(name, what) for name, what in recipes.names().items() if recipes.read(name)["theory"]["name"] in names]
    return [f"- `haarflow run {name}`: {what}" for name, what in found] or ["No recipe ships for it."]


def papers(text: str, names: Sequence[str]) -> list[str]:
    """Return the papers that a page cites by their arXiv numbers outside its tables."""
    return [f"- {reference}" for reference in cited(MARKED.sub("", text))]


def rest(text: str, names: Sequence[str]) -> list[str]:
    """Return the tables of all theories, families of flows and samplers that stand on no page by name."""
    lines = []
    for word, known in (("theory", THEORIES), ("flows", FLOWS), ("samplers", SAMPLERS)):
        shown = {name for page in MANUAL.glob("*.md") for name in subjects(page.read_text(encoding="utf-8"), word)}
        lines += TABLES[word](text, [name for name in known if name not in shown])
    return lines or ["Every theory, every family of flows and every sampler has its page."]


TABLES: dict[str, Callable[[str, Sequence[str]], list[str]]] = {
    "theory": theory,
    "flows": flows,
    "samplers": samplers,
    "recipes": recipe,
    "costs": costs,
    "papers": papers,
    "rest": rest,
}

if __name__ == "__main__":
    for page in sorted(MANUAL.glob("*.md")):
        page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")
