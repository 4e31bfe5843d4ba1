"""The results of a bench as text: tables, a sentence for everything that is not in them, and a figure."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

HEAD = (
    "workload",
    "backend",
    "CPU ms",
    "spread",
    "wall ms",
    "compile s",
    "memory MiB",
    "items / CPU s",
    "ratio",
    "of limit",
)


def render(found: Mapping[str, Any], width: int | None = None) -> str:
    """Return a table per problem, then what was refused, skipped or is missing."""
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=width or 124, highlight=False, markup=False)
    for title, rows in problems(found).items():
        console.print(_table(title, rows))
    return "\n".join([*map(str.rstrip, text.getvalue().splitlines()), *notes(found)])


def problems(found: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows by the title of their problem."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for row in found["rows"]:
        parts.setdefault(title(row["problem"], found["recipe"]["threads"]), []).append(row)
    return parts


def title(problem: Mapping[str, Any], threads: int) -> str:
    """Return the title of a problem.

    >>> title({"subject": "u1", "lattice": [8, 8], "batch": 64, "dtype": "float64"}, 1)
    'u1 8x8, batch 64, float64, 1 thread'
    """
    size = "x".join(map(str, problem["lattice"]))
    few = "1 thread" if threads == 1 else f"{threads} threads"
    return f"{problem['subject']} {size}, batch {problem['batch']}, {problem['dtype']}, {few}"


def _table(head: str, rows: list[dict[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=head, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, word in enumerate(HEAD):
        table.add_column(word, justify="left" if number < 2 else "right", no_wrap=True)
    last = ""
    for row in rows:
        if row["status"] == "timed":
            table.add_row("" if row["work"] == last else row["work"], row["engine"], *cells(row))
            last = row["work"]
        elif row["status"] == "refused":
            table.add_row(row["work"], row["engine"], "REFUSED", style="bold red")
    return table


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of a timed row."""
    low, high = row["cpu_quartiles"]
    spread = (high - low) / row["cpu_s"] if row["cpu_s"] else 0.0
    memory = row["work_mib"] if row["device_mib"] is None else row["device_mib"]
    limit = row["limit"]
    return [
        f"{1e3 * row['cpu_s']:.3g}",
        f"{spread:.0%}",
        f"{1e3 * row['wall_s']:.3g}",
        f"{row['compile_cpu_s']:.2f}",
        f"{memory:.0f}",
        f"{row['items_per_cpu_s']:,.0f} {row['unit']}",
        f"{ratio(row):.2f}",
        "" if limit is None else f"{limit['fraction']:.0%} {limit['bound']}",
    ]


def ratio(row: Mapping[str, Any]) -> float:
    """Return a row's time relative to the fastest backend: CPU seconds on the CPU, wall seconds on a GPU."""
    return row.get("cpu_ratio", row["wall_ratio"])


def notes(found: Mapping[str, Any]) -> list[str]:
    """Return a line for everything that was not timed, similar ones together, and one for the machine."""
    engines: dict[tuple[str, str, str, str], list[str]] = {}
    for row in found["rows"]:
        if row["status"] != "timed":
            where = title(row["problem"], found["recipe"]["threads"])
            engines.setdefault((row["status"].upper(), row["work"], where, row["reason"]), []).append(row["engine"])
    lines = [
        f"{status} {work} on {', '.join(names)} ({where}): {reason}"
        for (status, work, where, reason), names in engines.items()
    ]
    lines += [f"ABSENT {name}: {reason}" for name, reason in found["absent"].items()]
    rates, kind = found["rates"], found["machine"]
    lines.append(
        f"machine: {kind['cpu']}, {kind['cores']} cores; a copy moves {rates['copy'] / 1e9:.1f} GB/s, matrices "
        f"{rates['flops_float64'] / 1e9:.0f} (float64) and {rates['flops_float32'] / 1e9:.0f} (float32) Gflop/s, "
        f"{rates['sines'] / 1e6:.0f} million sines per second"
    )
    return lines


def faults(found: Mapping[str, Any]) -> list[str]:
    """Return the lines of what was refused or failed, which make the exit code 1."""
    return [line for line in notes(found) if line.startswith(("REFUSED", "FAILED"))]


def picture(found: Mapping[str, Any]) -> str:
    """Return an SVG of the times relative to the fastest backend: a row of dots per workload, a panel per problem."""
    import matplotlib
    from matplotlib.figure import Figure

    from haarflow.report.figures import COLOURS, STYLE

    parts = problems(found)
    engines = found["recipe"]["engines"]
    with matplotlib.rc_context(STYLE):
        heights = [len({row["work"] for row in rows}) for rows in parts.values()]
        figure = Figure(figsize=(7.0, 1.2 + 0.28 * sum(heights) + 0.5 * len(parts)), layout="constrained")
        grid = figure.subplots(len(parts), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
        for (head, rows), axes in zip(parts.items(), grid[:, 0], strict=True):
            names = list(dict.fromkeys(row["work"] for row in rows))
            for colour, engine in zip(COLOURS, engines, strict=False):
                mine = [row for row in rows if row["engine"] == engine and row["status"] == "timed"]
                places = [len(names) - 1 - names.index(row["work"]) for row in mine]
                axes.plot([ratio(row) for row in mine], places, "o", color=colour, label=engine, alpha=0.9)
            axes.set_yticks(range(len(names)), names[::-1])
            axes.set_ylim(-0.6, len(names) - 0.4)
            axes.set_xscale("log")
            axes.axvline(1.0, color="#9a9a9a", linewidth=0.8)
            axes.set_title(head, loc="left", fontsize=10)
        grid[-1, 0].set_xlabel("time relative to the fastest backend")
        grid[0, 0].legend(loc="upper right", ncols=len(engines), fontsize=9)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
