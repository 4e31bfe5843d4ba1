"""Wilson's hop: the compiled kernel beside array code, and what the machine does at best in the same run.

    python -m haarflow.benchmarks.studies.hop_wilson [--engines jax numpy] [--lattice 8 8 8 8] [--n 3] [--turns 15] [--json FILE]

H psi on all sites and H_oe psi of one parity, in double and in single precision, on one thread, in process CPU seconds; kernel and
array code agree first and then take turns, and each counts at its median and at its best. Operations a site of H psi without 1 -
kappa H: 1,320 for SU(3) in four dimensions. The shares are those of products of large matrices (`machine.rates`) and of a copy
at the bytes that a hop cannot do without: the links of both directions, one spinor read, one written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

BARS = {"float64": (10.0, 14.0), "float32": (16.0, 24.0)}  # GFlop/s for SU(3), as issue and reference ask, and beyond
TOLERANCE = {"float64": 1e-13, "float32": 1e-4}
COLUMNS = "engine|sites|precision|kernel GFlop/s|best|arrays GFlop/s|best|of matrix rate|of copy"


def operations(d: int, n: int) -> int:
    """Return the operations of H psi at a site: projections, products with links, the sum over directions.

    >>> operations(4, 3), operations(2, 1)
    (1320, 44)
    """
    half = 2 ** (d // 2) // 2 * n  # complex numbers of a half spinor
    product = 8 * n - 2  # of one of them with a row of a link
    return 2 * d * half * (2 + product) + 4 * half * (2 * d - 1)


def bytes_moved(d: int, n: int, size: int) -> int:
    """Return the bytes of links, one spinor in and one out at a site, for complex numbers of `size` bytes."""
    return size * (2 * d * n * n + 2 * 2 ** (d // 2) * n)


def rows_of(engine: str, lattice: tuple[int, ...], n: int, turns: int) -> list[dict[str, Any]]:
    """Return the measured rows of an engine."""
    from haarflow import backends
    from haarflow.benchmarks.harness import machine

    if engine == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    backend, rates = backends.get(engine), machine.rates()
    return [
        measured(backend, lattice, n, turns, number, packed, rates)
        for number in BARS
        for packed in (False, True)[: 1 + all(extent % 2 == 0 for extent in lattice)]
    ]


def measured(
    backend: Any, lattice: tuple[int, ...], n: int, turns: int, number: str, packed: bool, rates: dict[str, float]
) -> dict[str, Any]:
    """Return the speeds of kernel and array code, in turns, after they agreed."""
    import numpy

    from haarflow.benchmarks.harness.meter import timed
    from haarflow.theories import accelerated
    from haarflow.theories.fermions.wilson import Wilson

    operator, complex_type = Wilson(lattice, n), "complex128" if number == "float64" else "complex64"
    calls = []
    for one in (accelerated(operator), operator):
        form: Any = one.even_odd if packed else one
        field, psi = fields(operator, backend, number, complex_type)
        links = backend.jit(form.prepare)(field)
        psi = form.split(psi).even if packed else psi
        hop = backend.jit(form.hop_oe if packed else form.hop)
        calls.append(lambda hop=hop, links=links, psi=psi: hop(links, psi))
    first, second = (backend.to_numpy(call()) for call in calls)
    off = float(numpy.abs(first - second).max() / numpy.abs(second).max())
    if not off < TOLERANCE[number]:
        raise ValueError(
            f"kernel and array code differ by {off:.1e} of the largest number, at most {TOLERANCE[number]:.0e}"
        )
    seconds: list[list[float]] = [[], []]
    for _ in range(turns):
        for found, call, repeats in zip(seconds, calls, (20, 3), strict=True):
            found.append(timed(call, backend, repeats)[0].cpu)
    sites = math.prod(lattice) // (2 if packed else 1)
    work = operations(len(lattice), n) * sites
    speeds = [[work / statistics.median(times) / 1e9, work / min(times) / 1e9] for times in seconds]
    moved = bytes_moved(len(lattice), n, 16 if number == "float64" else 8) * sites
    return {
        "engine": backend.name,
        "sites": "one parity" if packed else "all",
        "precision": number,
        "kernel": speeds[0],
        "arrays": speeds[1],
        "of_matrix_rate": speeds[0][0] * 1e9 / rates[f"flops_{number}"],
        "of_copy": speeds[0][0] * 1e9 * moved / work / rates["copy"],
        "matrix_gflops": rates[f"flops_{number}"] / 1e9,
        "copy_gb": rates["copy"] / 1e9,
    }


def fields(operator: Any, backend: Any, number: str, complex_type: str) -> tuple[Any, Any]:
    """Return random links and a random spinor."""
    from haarflow.core import random

    links = operator.group.haar(random.key(1, backend), operator.field_shape, number)
    real, imaginary = random.normal(random.key(2, backend), (2, *operator.spinor_shape), number)
    return links, backend.xp.astype(real, getattr(backend.xp, complex_type)) + 1j * imaginary


def cells(row: dict[str, Any]) -> list[str]:
    """Return a row as text."""
    speeds = [f"{speed:.2f}" for speed in (*row["kernel"], *row["arrays"])]
    return [
        row["engine"],
        row["sites"],
        row["precision"],
        *speeds,
        f"{row['of_matrix_rate']:.2f}",
        f"{row['of_copy']:.2f}",
    ]


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", default=["jax", "numpy"])
    parser.add_argument("--lattice", nargs="+", type=int, default=[8, 8, 8, 8])
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    found = [row for engine in words.engines for row in rows_of(engine, tuple(words.lattice), words.n, words.turns)]
    group = "U(1)" if words.n == 1 else f"SU({words.n})"
    print(f"{group} {'x'.join(map(str, words.lattice))}, one thread; bars for SU(3) (beyond): {BARS}")
    print(" | ".join(COLUMNS.split("|")))
    for row in found:
        print(" | ".join(cells(row)), f"({row['matrix_gflops']:.0f} GFlop/s, {row['copy_gb']:.1f} GB/s)")
    if words.json:
        words.json.write_text(json.dumps({"lattice": words.lattice, "n": words.n, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
