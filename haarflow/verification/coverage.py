"""The coverage statement: every public flow, prior, theory, kernel and group against every law of its kind.

    python -m haarflow.verification.coverage > docs/coverage.md

A law checks a class if it applies to an entry made of that class; if it applies to none of its entries, the table gives
the reason; a class without an entry is missing, and a test fails.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from haarflow.core.laws.law import Law, formula
from haarflow.verification.classes import PUBLIC, parts, public
from haarflow.verification.entry import Entry
from haarflow.verification.objects import ENTRIES, LAWS


class Covered(NamedTuple):
    """A class and a law: the entries by which it is checked, or the `reason` why not, "missing" without an entry."""

    kind: str
    name: str
    law: str
    entries: tuple[str, ...]
    reason: str


def coverage() -> list[Covered]:
    """Return a row for each public class and law."""
    made = [(entry, entry.make(entry.lattices[0])) for entry in ENTRIES if entry.kind in PUBLIC]
    known = [(entry, obj, set(parts(obj))) for entry, obj in made]
    return [
        _covered(kind, name, law, [(entry, obj) for entry, obj, names in known if entry.kind == kind and name in names])
        for kind in PUBLIC
        for name in public(kind)
        for law in LAWS[kind]
    ]


def _covered(kind: str, name: str, law: Law, held: list[tuple[Entry, Any]]) -> Covered:
    reasons = {entry.name: law.applies(obj) for entry, obj in held}
    checked = tuple(entry for entry, reason in reasons.items() if reason is None)
    why = next((reason for reason in reasons.values() if reason), "") if held else "missing"
    return Covered(kind, name, law.name, checked, "" if checked else why)


def statement() -> str:
    """Return the statement as Markdown."""
    rows = coverage()
    text = [HEAD]
    for kind, laws in LAWS.items():
        text += [f"## {TITLES[kind]}", ""]
        text += [f"- `{law.name}`: {formula(law.law)}" for law in laws] + [""]
        if kind in PUBLIC:
            text += _table([row for row in rows if row.kind == kind]) + [""]
    return "\n".join(text).rstrip() + "\n"


def _table(rows: list[Covered]) -> list[str]:
    names = list(dict.fromkeys(row.name for row in rows))
    laws = list(dict.fromkeys(row.law for row in rows))
    cell = {(row.name, row.law): "checked" if row.entries else row.reason for row in rows}
    why = [reason for reason in dict.fromkeys(cell.values()) if reason not in ("checked", "missing")]
    short = {"checked": "checked", "missing": "**missing**"} | {reason: f"({n + 1})" for n, reason in enumerate(why)}
    head = ["| law | " + " | ".join(f"`{name}`" for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    body = [f"| `{law}` | " + " | ".join(short[cell[name, law]] for name in names) + " |" for law in laws]
    notes = [f"({n + 1}) does not apply, because {reason}  " for n, reason in enumerate(why)]
    return head + body + ([""] + notes if notes else [])


TITLES = {
    "backend": "Backends, each of those named above",
    "random": "Random numbers, on each of them",
    "group": "Groups",
    "solver": "Solvers of linear systems, rational approximations, ends of spectra",
    "kernel": "Kernels",
    "theory": "Theories",
    "operator": "Dirac operators",
    "determinant": "Determinants of Dirac operators, in each of their forms",
    "pairs": "Theories of pairs of a field and its pseudofermions",
    "prior": "Priors",
    "model": "Flows, on a prior",
    "density": "Mixtures and symmetrised models",
    "path": "Paths between couplings of which ln Z of both ends is known",
    "weights": "Weighted draws of models of targets whose ln Z is known",
    "estimator": "Estimators of ln Z",
}
HEAD = """# What is checked

Every public group, kernel, theory, prior and flow against every law of its kind. A cell says "checked" when the law is
held against an object made of that class on NumPy (also with read-only arrays), array-api-strict, JAX and PyTorch, in
the tests and by `haarflow verify`; on CuPy where there is a GPU. Theories, scalar flows and those of U(1) are also traced by
PyTorch's compiler as one graph, and a few on JAX that compiles nothing (tests/laws/test_hostile.py). Otherwise the
number of the reason stands there. The tests write this page and fail where an object is missing:

    python -m haarflow.verification.coverage > docs/coverage.md
"""

if __name__ == "__main__":
    print(statement(), end="")
