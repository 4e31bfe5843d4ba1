"""The mutants and the laws that must catch them, as a page: `python -m tests.mutants.table > docs/mutants.md`."""

from __future__ import annotations

from collections.abc import Iterable

from tests.mutants import (
    Mutant,
    core,
    determinants,
    fermion_kernels,
    fermions,
    paths,
    solvers,
    theories,
    weights,
)
from tests.mutants.flows import table as flows
from tests.mutants.pairs import kernels as pair_kernels
from tests.mutants.pairs import theories as pair_theories

HEAD = """# Every law bites

Deliberately wrong members of every kind, and the laws meant for them. The tests hold each mutant against each of its laws
on NumPy, theories and flows against the first of them on array-api-strict, JAX and PyTorch, and all others against each law
there too, as far as an engine can host it, and fail where one passes
(tests/laws/test_core.py, test_solvers.py, test_theories.py, test_operators.py, test_determinants.py,
test_pair_theories.py, test_flows.py, test_weights.py and test_paths.py,
test_fermion_kernels.py and test_pair_kernels.py on NumPy; operators' not on JAX, most kernels' there by `make test-slow`).
They write this page, too:

    python -m tests.mutants.table > docs/mutants.md

| kind | mutants | different laws that catch them |
|---|---|---|"""


def everything() -> tuple[Mutant, ...]:
    """Return the mutants of all layers."""
    return (
        *core.MUTANTS,
        *solvers.MUTANTS,
        *theories.MUTANTS,
        *fermions.MUTANTS,
        *fermion_kernels.MUTANTS,
        *determinants.MUTANTS,
        *pair_theories.MUTANTS,
        *pair_kernels.MUTANTS,
        *flows.MUTANTS,
        *weights.MUTANTS,
        *paths.MUTANTS,
    )


def statement() -> str:
    """Return the page as Markdown."""
    mutants = everything()
    kinds = list(dict.fromkeys(mutant.kind for mutant in mutants))
    grouped = {kind: [mutant for mutant in mutants if mutant.kind == kind] for kind in kinds}
    counts = [f"| {kind} | {len(found)} | {len(_laws(found))} |" for kind, found in grouped.items()]
    total = f"| all | {len(mutants)} | {len({(mutant.kind, law) for mutant in mutants for law in mutant.laws})} |"
    return "\n".join([HEAD, *counts, total, *(_table(kind, found) for kind, found in grouped.items())]) + "\n"


def _laws(mutants: Iterable[Mutant]) -> set[str]:
    return {law for mutant in mutants for law in mutant.laws}


def _table(kind: str, mutants: list[Mutant]) -> str:
    rows = [f"| {mutant.name} | {', '.join(f'`{law}`' for law in mutant.laws)} |" for mutant in mutants]
    return "\n".join(["", f"## {kind.capitalize()}", "", "| mutant | caught by |", "|---|---|", *rows])


if __name__ == "__main__":
    print(statement(), end="")
