"""Draw mutants: files in proportion to their code lines, a position in the file, a mutation there; no two alike.

    python -m tests.mutation.sample [--seed 2026] [--count 150]

Positions in annotations, docstrings and `__all__` are passed over: what stands there is never computed. Laws judge, and what
judges them are the wrong objects of tests/mutants: the mutants of laws that are drawn are counted apart, beside as many of
each package as were wanted. What a compiler reads, the folders `compiled`, is a sample of its own.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cosmic_ray.plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).parents[2]
SAMPLE = Path(__file__).parent / "sample.json"
PACKAGES = ("core", "theories", "flows")
LAWS, COMPILED = "laws", "compiled"  # folders, wherever they stand
SAMPLES = (*PACKAGES, COMPILED, LAWS)
# A variable replaced by another one is no fault that people make; what these need is configured, not drawn.
NEVER = ("core/VariableInserter", "core/VariableReplacer")


class Mutant(NamedTuple):
    """One change of one file: an operator of cosmic-ray at its n-th position there, and the line it changes."""

    file: str
    operator: str
    occurrence: int
    line: int

    @property
    def name(self) -> str:
        """A short name that no other mutant has."""
        return f"{self.file}:{self.line}:{self.operator.split('/')[-1]}:{self.occurrence}"


def mutated(mutant: Mutant, source: str) -> str:
    """Return the changed source of a mutant's file; raises ValueError for a file that is not the one it was drawn from."""
    if digest(source) != sources()[mutant.file]:
        raise ValueError(
            f"{mutant.file} has changed since commit {stored()['commit']}, from which the sample was drawn: try mutants in a "
            "checkout of that commit, with the tests of this one, or draw a new sample"
        )
    changed = mutate_code(source, cosmic_ray.plugins.get_operator(mutant.operator)(), mutant.occurrence)
    if changed is None or changed == source:
        raise ValueError(f"{mutant.name} changes nothing")
    return str(changed)


def sample_of(file: str) -> str:
    """Return the sample that counts a file."""
    parts = Path(file).parts
    return next((name for name in (COMPILED, LAWS) if name in parts), parts[0])


def files(sample: str) -> list[Path]:
    """Return the source files from which a sample is drawn, those of a package with its laws."""
    roots = ("theories", "backends") if sample == COMPILED else (sample,)
    paths = [path for root in roots for path in sorted((ROOT / root).rglob("*.py"))]
    return [path for path in paths if (sample_of(str(path.relative_to(ROOT))) == COMPILED) == (sample == COMPILED)]


def code_lines(source: str) -> set[int]:
    """Return the lines on which something is computed: docstrings, annotations and imports left out."""
    tree = ast.parse(source)
    left_out = set()
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_text or isinstance(node, ast.Import | ast.ImportFrom) or _is_list_of_names(node):
            left_out |= set(range(node.lineno, node.end_lineno + 1))
    lines = {node.lineno for node in ast.walk(tree) if isinstance(node, ast.expr | ast.stmt)}
    return lines - left_out


def _is_list_of_names(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets)


def annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return where annotations begin and end, as (line, column)."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.expr):
                found.append(((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)))
    return found


@cache
def mutations(path: Path) -> dict[tuple[int, int], list[Mutant]]:
    """Return the mutations of a file by position (line, column)."""
    source, positions = path.read_text(encoding="utf-8"), {}
    tree, lines, typed = get_ast(source), code_lines(source), annotations(source)
    for name in cosmic_ray.plugins.operator_names():
        if name in NEVER:
            continue
        for occurrence, (line, column) in enumerate(_positions(cosmic_ray.plugins.get_operator(name)(), tree)):
            if line in lines and not any(low <= (line, column) < high for low, high in typed):
                mutant = Mutant(str(path.relative_to(ROOT)), name, occurrence, line)
                positions.setdefault((line, column), []).append(mutant)
    return positions


def _positions(operator, tree) -> Iterator[tuple[int, int]]:
    for node in ast_nodes(tree):
        for start, _ in operator.mutation_positions(node):
            yield start


def draw(sample: str, count: int, seed: int) -> list[Mutant]:
    """Return `count` different mutants of a sample, and those of laws that are drawn on the way."""
    generator, paths = random.Random(f"{seed} {sample}"), files(sample)
    weights = [len(code_lines(path.read_text(encoding="utf-8"))) for path in paths]
    drawn: dict[str, Mutant] = {}
    while sum(sample_of(mutant.file) == sample for mutant in drawn.values()) < count:
        (path,) = generator.choices(paths, weights)
        positions = mutations(path)
        if positions:
            mutant = generator.choice(positions[generator.choice(sorted(positions))])
            drawn[mutant.name] = mutant
    return sorted(drawn.values())


def digest(source: str) -> str:
    """Return a short digest of a source."""
    return hashlib.sha256(source.encode()).hexdigest()[:12]


@cache
def stored() -> dict[str, Any]:
    """Return the sample that is committed: seed, commit, digests of the sources, mutants."""
    table: dict[str, Any] = json.loads(SAMPLE.read_text(encoding="utf-8"))
    return table


def sources() -> dict[str, str]:
    """Return the digests of the sources that the sample was drawn from."""
    digests: dict[str, str] = stored()["sources"]
    return digests


def read() -> list[Mutant]:
    """Return the mutants that are committed."""
    return [Mutant(*row) for row in stored()["mutants"]]


def main() -> None:
    """Draw the sample."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument(
        "--count", type=int, default=150, help="mutants of each package, a third of it of compiled code"
    )
    options = parser.parse_args()
    counts = {sample: options.count for sample in PACKAGES} | {COMPILED: options.count // 3}
    rows = [row for sample, count in counts.items() for row in draw(sample, count, options.seed)]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = sorted({row.file for row in rows})
    digests = {name: digest((ROOT / name).read_text(encoding="utf-8")) for name in names}
    listed = ",\n".join(json.dumps(row) for row in rows)
    head = f'"seed": {options.seed}, "commit": "{commit.stdout.strip()}",\n"sources": {json.dumps(digests)}'
    SAMPLE.write_text(f'{{{head},\n"mutants": [\n{listed}\n]}}\n', encoding="utf-8")
    print(f"{len(rows)} mutants in {SAMPLE}")


if __name__ == "__main__":
    main()
