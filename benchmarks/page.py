"""The page of the stored results, docs/benchmarks.md; a test compares it with the committed file.

python -m haarflow.benchmarks.page > docs/benchmarks.md
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from haarflow.benchmarks.harness import console
from haarflow.benchmarks.harness.results import FOLDER
from haarflow.benchmarks.studies import alarms
from haarflow.report.text import with_error

Table = Callable[[Mapping[str, Any]], list[str]]

HEAD = """# Benchmarks

The same workloads on every backend, from the same seed; before anything is timed the results are compared, and a backend
that disagrees is refused. `haarflow bench` does this on your machine: see `haarflow bench --help`. With `--json new.json`
it stores the results, with `--compare old.json` it exits with 1 if a row became slower. On a shared machine rows below a
millisecond vary by factors of 1.5 between two runs: use `--threshold 2` there.

Times are process CPU seconds of one thread, medians of rounds in which the backends take turns, on the machine named above
each table. Quote ratios rather than times: they change little from machine to machine. "Of limit" is the time that the
necessary bytes, operations or sines would take at the machine's best rates (a copy of 64 MiB, a product of large matrices,
NumPy's sine), divided by the measured time; workloads that fit into the caches can exceed the bandwidth of memory. "Memory"
is the peak memory of a call beyond its inputs, compiled code included; "compile" is the first call minus a later one.

This page is generated from `benchmarks/results/` by

    python -m haarflow.benchmarks.page > docs/benchmarks.md
"""


def statement(folder: Path = FOLDER) -> str:
    """Return the whole page."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = [HEAD.rstrip()]
    for kind, (title, words, table) in SECTIONS.items():
        mine = [entry for entry in found if entry.get("kind", "bench") == kind]
        if mine:
            parts += [f"## {title}", words]
        for entry in sorted(mine, key=lambda entry: entry["date"]):
            parts += [machine_line(entry), *table(entry)]
    return "\n\n".join(parts) + "\n"


def machine_line(found: Mapping[str, Any]) -> str:
    """Return the machine, the date and the versions in a line."""
    kind = found["machine"]
    versions = ", ".join(
        f"{name} {found['versions'][name]}"
        for name in ("numpy", "jax", "torch", "cupy", "numba")
        if name in found["versions"]
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
    for title, rows in console.problems(found).items():
        cells = [[row["work"], row["engine"], *console.cells(row)] for row in rows if row["status"] == "timed"]
        parts.append(f"### {title}\n\n{markdown(console.HEAD, cells)}")
    missing = [line for line in console.notes(found) if not line.startswith("machine")]
    return [*parts, "\n".join(f"- {line}" for line in missing)]


def column_table(columns: Mapping[str, Callable[[Mapping[str, Any]], str]], left: int = 2) -> Table:
    """Return what makes the table of a result: a row each, a column for each heading and how it reads a row.

    >>> column_table({"work": lambda row: row["work"]}, left=1)({"rows": [{"work": "force"}]})
    ['| work |\\n|:--|\\n| force |']
    """

    def table(found: Mapping[str, Any]) -> list[str]:
        return [markdown(list(columns), [[cell(row) for cell in columns.values()] for row in found["rows"]], left)]

    return table


def text(name: str, form: str = "", scale: float = 1.0) -> Callable[[Mapping[str, Any]], str]:
    """Return what writes one entry of a row, numbers times `scale`; nothing for None.

    >>> text("cpu_s", ".3g", 1e3)({"cpu_s": 0.0125})
    '12.5'
    """

    def cell(row: Mapping[str, Any]) -> str:
        value = row[name]
        return "" if value is None else format(scale * value if form else value, form)

    return cell


def interval(row: Mapping[str, Any]) -> str:
    """Return the 95% interval of a ratio."""
    return "{:.2f} to {:.2f}".format(*row["interval"])


twin_table = column_table(
    {
        "workload": text("work"),
        "backend": text("engine"),
        "ours, CPU ms": text("ours_cpu_s", ".3g", 1e3),
        "twin, CPU ms": text("twin_cpu_s", ".3g", 1e3),
        "ratio": text("ratio", ".2f"),
        "95%": interval,
        "bar": text("bar", "g"),
    }
)
coupling_table = column_table(
    {
        "group": text("group"),
        "lattice": text("lattice"),
        "workload": text("work"),
        "batch": text("batch"),
        "ours, CPU ms": text("ours_cpu_s", ".3g", 1e3),
        "first call, CPU s": text("first_cpu_s", ".1f"),
        "twin, CPU ms": text("twin_cpu_s", ".3g", 1e3),
        "twin / ours": text("ratio", ".2f"),
        "95%": interval,
    },
    left=3,
)
peer_table = column_table(
    {
        "workload": text("work"),
        "peer": text("peer"),
        "ours, CPU ms": text("ours_cpu_s", ".3g", 1e3),
        "peer, CPU ms": text("peer_cpu_s", ".3g", 1e3),
        "ours / peer": text("ratio", ".2f"),
        "95%": interval,
        "faster": text("faster"),
    }
)
depth_table = column_table(
    {
        "backend": text("engine"),
        "variant": text("variant"),
        "layers": text("layers"),
        "batch": text("batch"),
        "compile, CPU s": text("compile_cpu_s", ".2f"),
        "run, CPU ms": text("run_cpu_s", ".4g", 1e3),
        "memory, MiB": text("temporary_mib", ".1f"),
        "process, MiB": lambda row: format(row["process_mib"], ".0f") if "process_mib" in row else "",
    }
)
scaling_table = column_table(
    {
        "work": lambda row: f"{row['subject']} {row['work']}",
        "backend": text("engine"),
        "against": text("against"),
        "sizes": lambda row: f"{row['from']} to {row['to']}",
        "time ~ size^": text("time_exponent", ".2f"),
        "memory ~ size^": text("memory_exponent", ".2f"),
        "largest, CPU ms": text("largest_cpu_s", ".4g", 1e3),
        "largest, MiB": text("largest_mib", ".0f"),
        "next, MiB in all": lambda row: "" if row.get("next_mib") is None else format(row["next_mib"], ".0f"),
    }
)


def pulls_table(found: Mapping[str, Any]) -> list[str]:
    """Return a row for each theory and coupling, a column for each sampler: its pull and its effective draws."""
    cases: dict[tuple, dict[str, Mapping[str, Any]]] = {}
    for row in found["rows"]:
        case = row["group"], row["lattice"], f"{row['beta']:g}", row["known"]
        cases.setdefault(case, {})[row["sampler"]] = row
    samplers = list(dict.fromkeys(row["sampler"] for row in found["rows"]))
    lines = [
        [
            *case,
            *(
                f"{rows[name]['pull']:+.2f} ({rows[name]['effective']:,.0f})" if name in rows else ""
                for name in samplers
            ),
        ]
        for case, rows in cases.items()
    ]
    return [
        markdown(["group", "lattice", "β", "plaquette", *samplers], lines),
        verdict(row["pull"] for row in found["rows"]),
    ]


def verdict(pulls: Iterable[float]) -> str:
    """Return what all pulls together say.

    >>> verdict([1.0, -2.0])
    '2 pulls, largest 2.00, χ² 5.0.'
    """
    pulls = list(pulls)
    return f"{len(pulls)} pulls, largest {max(map(abs, pulls)):.2f}, χ² {sum(pull * pull for pull in pulls):.1f}."


growth_table = column_table(
    {
        "workload": text("work"),
        "lattice": lambda row: f"{row['extent']}^4",
        "batch": text("batch"),
        "CPU µs a site": text("us_a_site", ".3g"),
        "over 8^4": text("over_8", ".2f"),
        "95%": interval,
        "MiB a configuration": text("mib_a_configuration", ".3g"),
    }
)
worker_table = column_table(
    {
        "workload": text("work"),
        "workers": text("workers"),
        "wall s": text("wall_s", ".3g"),
        "speed-up": text("speedup", ".2f"),
        "efficiency": text("efficiency", ".0%"),
        "results": text("equal"),
    },
    left=1,
)
precision_table = column_table(
    {
        "flow": text("work"),
        "backend": text("engine"),
        "ESS, double": text("ess_field", ".6f"),
        "ESS, mixed": text("ess_float32", ".6f"),
        "largest change of log w": text("log_w_change", ".1e"),
        "round trip, double": text("round_trip_field", ".0e"),
        "mixed": text("round_trip_float32", ".0e"),
        "train step, mixed over double": lambda row: "{:.2f} ({:.2f} to {:.2f})".format(*row["train step ratio"]),
        "draw": lambda row: "{:.2f} ({:.2f} to {:.2f})".format(*row["draw ratio"]),
    }
)
hmc_table = column_table(
    {
        "group": text("group"),
        "lattice": text("lattice"),
        "chains": text("chains"),
        "backend": text("engine"),
        "trajectories / CPU s": text("trajectories_a_second", ",.3g"),
        "forces / CPU s": text("forces_a_second", ",.3g"),
        "twin's trajectories": text("twin_trajectories_a_second", ".3g"),
        "factor": text("factor", ".1f"),
        "95%": interval,
        "of flops": text("flops_fraction", ".0%"),
        "of copy": text("copy_fraction", ".0%"),
    }
)
mended_table = column_table(
    {
        "improved": text("what"),
        "measure": text("measure"),
        "before": text("before", ".3g"),
        "after": text("after", ".3g"),
    }
)


calibration_table = column_table(
    {
        "1-sigma intervals of": text("name"),
        "covered": text("covered", ".3f"),
        "with those noted": text("all", ".3f"),
        "noted": text("noted", ".3f"),
        "verdict": text("verdict"),
    },
    left=1,
)


def estimate(name: str) -> Callable[[Mapping[str, Any]], str]:
    """Return what writes one of a row's estimates, with its error on the last digits; nothing where there is none.

    >>> estimate("Q2")({"estimates": {"Q2": {"value": 0.0573, "error": 0.0013}}})
    '0.0573(13)'
    """

    def cell(row: Mapping[str, Any]) -> str:
        found = row["estimates"].get(name)
        return "" if found is None else with_error(found["value"], found["error"])

    return cell


def largest_pull(row: Mapping[str, Any]) -> str:
    """Return the largest pull of a row, and how many there are; nothing for a row that is not judged.

    >>> largest_pull({"pulls": {"Q2": 0.5, "plaquette": -1.25}}), largest_pull({"pulls": {}}), largest_pull({})
    ('-1.25 of 2', 'not supported', '')
    """
    if "pulls" not in row:
        return ""
    pulls = row["pulls"]
    return f"{max(pulls.values(), key=abs):+.2f} of {len(pulls)}" if pulls else "not supported"


def judged_table(columns: Mapping[str, str], estimates: Mapping[str, str]) -> Table:
    """Return the table of a study that holds samplers against each other, with the verdict on all pulls: columns by heading, the
    entries of rows and their estimates.
    """
    table = column_table(
        {
            **{heading: text(name) for heading, name in columns.items()},
            **{heading: estimate(name) for heading, name in estimates.items()},
            "acceptance or ESS": text("quality", ".3f"),
            "largest pull": largest_pull,
            "CPU s": text("cpu_s", ".0f"),
        },
        left=len(columns),
    )

    def judged(found: Mapping[str, Any]) -> list[str]:
        return [*table(found), verdict(pull for row in found["rows"] for pull in row.get("pulls", {}).values())]

    return judged


schemes_table = judged_table(
    {"lattice": "lattice", "λ": "lam", "g": "g", "scheme": "scheme"},
    {
        "⟨φ²⟩": "phi2",
        "χ₂": "chi2",
        "ln\\|det M\\|": "log_det",
        "φ condensate": "phi_condensate",
        "sign": "sign",
        "ln Z": "ln_Z",
    },
)
schwinger_table = judged_table(
    {"lattice": "lattice", "β": "beta", "κ": "kappa", "sampler": "sampler"},
    {
        "plaquette": "plaquette",
        "⟨Q²⟩": "Q2",
        "p(Q = 0)": "p_Q0",
        "condensate": "condensate",
        "ln\\|det D\\|": "log_det",
        "sign": "sign",
    },
)


def alarms_table(found: Mapping[str, Any]) -> list[str]:
    """Return the counts of every case, and how often each text was said."""
    rows = [alarms.Row(**row) for row in found["rows"]]
    counts = [
        [
            one.case,
            str(one.runs),
            "" if one.flagged is None else str(one.flagged),
            "" if one.flagged is None else "{:.3f} to {:.3f}".format(*alarms.interval(one.flagged, one.runs)),
            str(one.alarmed),
            "{:.3f} to {:.3f}".format(*alarms.interval(one.alarmed, one.runs)),
            str(one.alarms),
        ]
        for one in alarms.counted(rows)
    ]
    said = [[*key, str(number)] for key, number in sorted(alarms.texts(rows).items())]
    return [
        markdown(["case", "runs", "flagged", "95%", "with a false alarm", "95%", "false alarms"], counts, left=1),
        markdown(["case", "is", "text, without its numbers", "times"], said, left=3),
    ]


schwinger_flow_table = column_table(
    {
        "model": text("model"),
        "images": text("images"),
        "draws": text("draws"),
        "CPU ms a draw": text("cpu_s_per_draw", ".3g", 1e3),
        "ESS": text("ess", ".3f"),
        "mode-aware ESS": lambda row: f"{row['mode_aware_ess']:.3f} ± {row['mode_aware_ess_error']:.3f}",
        "<Q^2>, flow": text("Q2", ".3f"),
        "<Q^2>, HMC": text("hmc_Q2", ".3f"),
        "ESS untrained": text("pure_gauge_ess", ".3f"),
    },
    left=1,
)

SECTIONS: dict[str, tuple[str, str, Table]] = {
    "twins": (
        "What being array-agnostic costs",
        "The library relative to hand-written code for one backend that does the same (`benchmarks/twins/`), in one process, in "
        "turns, after the results agreed: `python -m haarflow.benchmarks.studies.twin_ratios`. The bars: 1.1 for flows, 1.2 for HMC. "
        "HMC's trajectories are compiled kernels here (package numba); without them U(1) on Torch takes 1.5 to 1.6 times the "
        "twin's time, the others are within the bars too.",
        twin_table,
    ),
    "exactness_sun": (
        "Plaquettes of SU(N) by every sampler",
        "In two dimensions compared with the exact result on the same torus, in four with known values and the strong-coupling "
        "series: (value - expected) over the combined error, and the number of effective independent draws; chains start from "
        "unit links, flows draw with weights: `python -m haarflow.benchmarks.studies.exactness_sun`.",
        pulls_table,
    ),
    "calibration": (
        "How often error bars hold the exact value",
        "2,000 repeats of each process; 0.683 is right, 0.64 to 0.72 the bar. `covered`: estimates without a note; a row counts as "
        "noted if more than half of its estimates have a note, or no error: `python -m haarflow.benchmarks.studies.calibration`.",
        calibration_table,
    ),
    "alarms": (
        "Whether warnings come when numbers are wrong, and only then",
        "Whole runs. Flagged: every sampler whose numbers are wrong has a warning, in a phi^4 flow that leaves out a part of two "
        "wells (`wells`), in one that draws from one of them, beside HMC and alone, and in `u1-freezing`. A false alarm is a sampler "
        "with right numbers that has one, or a verdict that bids not to trust such a run; of u1-tiny the runs with an ESS above 0.5 "
        "count. Notes at single numbers say how well an error bar is known. Wilson's 95% intervals: "
        "`python -m haarflow.benchmarks.studies.alarms`.",
        alarms_table,
    ),
    "yukawa_schemes": (
        "Yukawa model by every exact scheme",
        "m² = -4, nothing but the action shared: on 2x2 pulls against quadrature, on 8x8 against HMC. No pull of a row whose weights have "
        "a note, such as of too few effective draws: it supports no comparison. Bars: χ² p > 0.001, none above 3.5, ln Z on 2x2 to "
        "2e-3. Two of the tables were stored with four digits, which moves pulls by 0.1: "
        "`python -m haarflow.benchmarks.studies.yukawa_schemes`.",
        schemes_table,
    ),
    "schwinger_exactness": (
        "Schwinger model by HMC, pseudofermions, flux hits and reweighted exact draws",
        "Two flavours; pulls against HMC with hits of estimates without a note. HMC without hits is not judged. Bars: χ² p > 0.001, "
        "none above 4. Of 4x4 four digits were stored, too few for pulls of the condensate: "
        "`python -m haarflow.benchmarks.studies.schwinger_exactness`.",
        schwinger_table,
    ),
    "hmc_sun": (
        "HMC of SU(N) against plain PyTorch",
        "Ten leapfrog steps, complex128, against a chain as one would write it by hand (matrices last, `@`, staple force, "
        "`torch.matrix_exp`), in turns: `python -m haarflow.benchmarks.studies.hmc_sun --engines jax numpy torch plain`. Trajectories run as "
        'compiled vector code (theories/compiled/gauge_trajectory.py, package numba); "plain" is JAX without it. The last columns: '
        "operations and bytes that the steps cannot do without, over what the machine does in a product of large matrices "
        "and in a copy.",
        hmc_table,
    ),
    "mended": (
        "Improvements made with these benchmarks",
        "Each pair of figures was measured on the same machine on the same day.",
        mended_table,
    ),
    "peers": (
        "Comparison with other packages",
        "bijx and normflows build the published architecture; zuko and flowjax have generic couplings of as many numbers with "
        "dense nets, which make a fifth of the multiplications and know no lattice: at that work they are faster than our "
        "convolutions, and a user who has no lattice should take them. Same batch and precision, one run; versions in `benchmarks/peers/`: "
        "`python -m haarflow.benchmarks.studies.beside_peers bijx normflows zuko flowjax`.",
        peer_table,
    ),
    "coupling_sun": (
        "Couplings of SU(N) links beside plain Torch",
        "The trivialising flow of two steps, on JAX, and a twin of the same layers as one writes them by hand in PyTorch, matrices "
        "last, `slogdet` and `matrix_exp`, on one thread in double precision, in turns, after links, log-determinants and "
        "gradients agreed to 1e-10: `python -m haarflow.benchmarks.studies.coupling_sun`. The bar: 5 times the twin's speed.",
        coupling_table,
    ),
    "schwinger_flow": (
        "Flows for the Schwinger model",
        "Two flavours, beta = 2, kappa = 0.276. The mode-aware ESS is that of configurations of HMC with flux hits, which may lie "
        "where the flow never draws; untrained are exact draws of pure gauge theory: "
        "`python -m haarflow.benchmarks.studies.schwinger_flow --model NAME`.",
        schwinger_flow_table,
    ),
    "depth": (
        "Deep flows: compiling, scanning, memory",
        "The published U(1) layers on 8x8: `python -m haarflow.benchmarks.studies.depth`. The bars for 48 layers: 5 CPU seconds to "
        "compile forward, 15 for the gradient. Memory: on JAX what XLA allocates for a call, on Torch the "
        "peak of its tensors; process: the growth of its memory, including what malloc keeps.",
        depth_table,
    ),
    "scaling": (
        "Time and memory as functions of the size",
        "Exponents of a straight line through the logarithms of the larger half of the sizes: "
        "`python -m haarflow.benchmarks.studies.scaling`. Volumes double as long as the process stays below a limit of memory: what the "
        "next size would have held in all is foretold in the last column. The memory of a call is what it holds beyond its inputs.",
        scaling_table,
    ),
    "growth_sun": (
        "Growth with the volume in four dimensions",
        "SU(3) on JAX at equal batch times volume: a trajectory of 10 leapfrog steps, a heat bath sweep, the trivialising flow of "
        "two steps with its log-determinant; each size in a process of its own, all in turns: `python -m "
        "haarflow.benchmarks.studies.growth_sun`. The bar: 1.2 from 8^4 to 16^4; the compiled kernels of HMC and heat bath find the links "
        "of 8^4 in the caches, those of 16^4 in memory. Memory is what a call holds beyond its inputs.",
        growth_table,
    ),
    "workers": (
        "Several workers and devices",
        "Wall seconds, as efficiency is about them; where the machine was shared or JAX's devices are one processor cut in two, "
        "they say that it works and that the numbers stay, not what more hardware gains: `python -m haarflow.benchmarks.studies.workers`.",
        worker_table,
    ),
    "net_precision": (
        "Nets in single precision",
        'A word of a flow\'s definition, in a recipe `[flow] net_precision = "float32"`: the nets of its couplings are computed in '
        "float32, fields, transforms, log-determinants and parameters stay float64. A coupling's way back sees the numbers of "
        "its way there, so it stays exact; two computations of a net (another engine or batch) differ by float32's rounding, and "
        "a net's features that lie on a rounding edge can turn over on the way back, about once in 10^9 numbers. Same "
        "parameters, same draws: `python -m haarflow.benchmarks.studies.net_precision`.",
        precision_table,
    ),
    "bench": (
        "The same work on every engine",
        "Ratios are times over that of the fastest engine of the row's work.",
        bench_tables,
    ),
}


if __name__ == "__main__":
    print(statement(), end="")
