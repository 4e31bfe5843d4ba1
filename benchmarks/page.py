"""The page of the stored results, docs/benchmarks.md, which a test compares with what is committed.

python -m haarflow.benchmarks.page > docs/benchmarks.md
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from haarflow.benchmarks import show
from haarflow.benchmarks.stored import FOLDER

HEAD = """# Benchmarks

The same work on every engine, from the same seed; before anything is timed the engines' numbers are compared, and what
disagrees is refused. `haarflow bench` does this on your machine: see `haarflow bench --help`. With `--json new.json` it
stores what it found, with `--compare old.json` it exits with 1 where a row became slower. On a machine that does other
work too, rows below a millisecond drift by factors of 1.5 between two runs: give `--threshold 2` there.

Times are process CPU seconds of one thread, medians of rounds in which the engines take turns, and belong to the machine
named above each table. What may be quoted is a ratio: it moves little from machine to machine. "Of limit" is the time
that the bytes, operations or sines a work cannot do without would take at the machine's best (a copy of 64 MiB, a product
of large matrices, NumPy's sine), over the time it took; what fits into the caches can pass the copy of memory. "Memory"
is what a call holds at most beyond its inputs, compiled code included; "compile" is the first call less a later one.

This page is written from `benchmarks/results/` by

    python -m haarflow.benchmarks.page > docs/benchmarks.md
"""


def statement(folder: Path = FOLDER) -> str:
    """Return the whole page."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = [HEAD.rstrip()]
    for kind, (title, text, table) in SECTIONS.items():
        mine = [entry for entry in found if entry.get("kind", "bench") == kind]
        if mine:
            parts += [f"## {title}", text]
        for entry in sorted(mine, key=lambda entry: entry["date"]):
            parts += [machine_line(entry), *table(entry)]
    return "\n\n".join(parts) + "\n"


def machine_line(found: Mapping[str, Any]) -> str:
    """Return the machine, the date and the versions in a line."""
    kind = found["machine"]
    versions = ", ".join(
        f"{name} {found['versions'][name]}" for name in ("numpy", "jax", "torch", "cupy") if name in found["versions"]
    )
    rates = found.get("rates")
    best = (
        f" A copy moves {rates['copy'] / 1e9:.1f} GB/s, matrix products make {rates['flops_float64'] / 1e9:.0f} Gflop/s in "
        f"double and {rates['flops_float32'] / 1e9:.0f} in single precision."
        if rates
        else ""
    )
    return f"*{kind['cpu']}, {kind['cores']} cores, {kind['system']}; {found['date']}; {versions}.*{best}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 2) -> str:
    """Return a table, the first `left` columns flush left.

    >>> print(markdown(["a", "b"], [["x", "1"]], left=1))
    | a | b |
    |:--|--:|
    | x | 1 |
    """
    rule = "|".join(":--" if number < left else "--:" for number in range(len(head)))
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def bench_tables(found: Mapping[str, Any]) -> list[str]:
    """Return a table for each problem, then what has no figure."""
    parts = []
    for title, rows in show.problems(found).items():
        cells = [[row["work"], row["engine"], *show.cells(row)] for row in rows if row["status"] == "timed"]
        parts.append(f"### {title}\n\n{markdown(show.HEAD, cells)}")
    missing = [line for line in show.notes(found) if not line.startswith("machine")]
    return [*parts, "\n".join(f"- {line}" for line in missing)]


def twin_table(found: Mapping[str, Any]) -> list[str]:
    """Return the ratios over the twins."""
    rows = [
        [
            row["work"],
            row["engine"],
            f"{1e3 * row['ours_cpu_s']:.3g}",
            f"{1e3 * row['twin_cpu_s']:.3g}",
            f"{row['ratio']:.2f}",
            f"{row['interval'][0]:.2f} to {row['interval'][1]:.2f}",
            f"{row['bar']:g}",
        ]
        for row in found["rows"]
    ]
    return [markdown(["work", "engine", "ours, CPU ms", "twin, CPU ms", "ratio", "95%", "bar"], rows)]


def depth_table(found: Mapping[str, Any]) -> list[str]:
    """Return compile time, run time and memory of deep flows."""
    rows = [
        [
            row["engine"],
            row["variant"],
            f"{row['layers']}",
            f"{row['batch']}",
            f"{row['compile_cpu_s']:.2f}",
            f"{1e3 * row['run_cpu_s']:.4g}",
            f"{row['temporary_mib']:.1f}",
        ]
        for row in found["rows"]
    ]
    return [markdown(["engine", "variant", "layers", "batch", "compile, CPU s", "run, CPU ms", "memory, MiB"], rows)]


def scaling_table(found: Mapping[str, Any]) -> list[str]:
    """Return the fitted exponents with the sizes they come from."""
    rows = [
        [
            f"{row['subject']} {row['work']}",
            row["engine"],
            row["against"],
            f"{row['from']} to {row['to']}",
            f"{row['time_exponent']:.2f}",
            f"{row['memory_exponent']:.2f}" if row["memory_exponent"] is not None else "",
            f"{1e3 * row['largest_cpu_s']:.4g}",
            f"{row['largest_mib']:.0f}",
        ]
        for row in found["rows"]
    ]
    head = ["work", "engine", "against", "sizes", "time ~ size^", "memory ~ size^", "largest, CPU ms", "largest, MiB"]
    return [markdown(head, rows)]


def worker_table(found: Mapping[str, Any]) -> list[str]:
    """Return efficiencies against the number of workers or devices."""
    rows = [
        [
            row["work"],
            f"{row['workers']}",
            f"{row['wall_s']:.3g}",
            f"{row['speedup']:.2f}",
            f"{row['efficiency']:.0%}",
            row["equal"],
        ]
        for row in found["rows"]
    ]
    return [markdown(["work", "workers", "wall s", "speed-up", "efficiency", "results"], rows, left=1)]


def mended_table(found: Mapping[str, Any]) -> list[str]:
    """Return what was mended with the measure before and after."""
    rows = [[row["what"], row["measure"], f"{row['before']:.3g}", f"{row['after']:.3g}"] for row in found["rows"]]
    return [markdown(["mended", "measure", "before", "after"], rows)]


def peer_table(found: Mapping[str, Any]) -> list[str]:
    """Return peers beside ours on the same work."""
    rows = [
        [
            row["work"],
            row["peer"],
            f"{1e3 * row['ours_cpu_s']:.3g}",
            f"{1e3 * row['peer_cpu_s']:.3g}",
            f"{row['ratio']:.2f}",
            f"{row['interval'][0]:.2f} to {row['interval'][1]:.2f}",
            row["faster"],
        ]
        for row in found["rows"]
    ]
    return [markdown(["work", "peer", "ours, CPU ms", "peer, CPU ms", "ours / peer", "95%", "faster"], rows)]


SECTIONS: dict[str, tuple[str, str, Callable[[Mapping[str, Any]], list[str]]]] = {
    "twins": (
        "What being array-agnostic costs",
        "The library over hand-written code for one engine that does the same (`benchmarks/twins/`), in one process, in "
        "turns, after the numbers agreed: `python -m haarflow.benchmarks.twin_ratios`. The bars: 1.1 for flows, 1.2 for HMC.",
        twin_table,
    ),
    "mended": (
        "Mended with these benchmarks",
        "Each pair of figures was taken on the same machine on the same day.",
        mended_table,
    ),
    "peers": (
        "Beside other packages",
        "bijx and normflows build the published architecture; zuko and flowjax have generic couplings of as many numbers with "
        "dense nets, which make a fifth of the multiplications and know no lattice: at that work they are faster than our "
        "convolutions, and a user who has no lattice should take them. Same batch and precision, one run; versions in `benchmarks/peers/`: "
        "`python -m haarflow.benchmarks.beside_peers bijx normflows zuko flowjax`.",
        peer_table,
    ),
    "depth": (
        "Deep flows: compiling, scanning, memory",
        "The published U(1) layers on 8x8: `python -m haarflow.benchmarks.depth`. The bars for 48 layers: 5 CPU seconds to "
        "compile forward, 15 for the gradient. Memory: on JAX what XLA allots to a call, on Torch the rise of the peak.",
        depth_table,
    ),
    "scaling": (
        "Time and memory against size",
        "Exponents of a straight line through the logarithms of the larger half of the sizes: "
        "`python -m haarflow.benchmarks.scaling`.",
        scaling_table,
    ),
    "workers": (
        "Several workers and devices",
        "Wall seconds, as efficiency is about them; where the machine was shared or JAX's devices are one processor cut in two, "
        "they say that it works and that the numbers stay, not what more hardware gains: `python -m haarflow.benchmarks.workers`.",
        worker_table,
    ),
    "bench": (
        "The same work on every engine",
        "Ratios are times over that of the fastest engine of the row's work.",
        bench_tables,
    ),
}


if __name__ == "__main__":
    print(statement(), end="")
