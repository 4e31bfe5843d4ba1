"""CPU time of a weighed draw along loops: the exact masked steps over the Runge-Kutta steps of the continuous form.

    python -m haarflow.benchmarks.studies.loop_cost [--n 3] [--beta 6] [--extent 16] [--backends numpy jax torch] [--turns 5]

Both forms have the shipped coefficients: two masked steps and five Runge-Kutta steps (what draws cost before the masked steps
were the default). They take turns in one process; the ratio is the median over turns, between the smallest and the largest.
The bar is 3.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from typing import Any

from haarflow import backends, models
from haarflow.benchmarks.studies.quality_loops import BATCH, weigher
from haarflow.core import random
from haarflow.flows.modelfile import open_model

FORMS = {"masked": 2, "continuous": 5}  # steps


def seconds(program: Any, backend: Any, beta: float, turn: int) -> float:
    """Return the CPU seconds per draw of one batch."""
    key, coupling = random.key(turn, backend), backend.asarray(beta)
    start = time.process_time()
    backend.to_numpy(program(key, coupling))
    return (time.process_time() - start) / BATCH


def main() -> None:
    """Print one line for each backend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=3)
    parser.add_argument("--beta", type=float, default=6.0)
    parser.add_argument("--extent", type=int, default=16)
    parser.add_argument("--backends", nargs="+", default=["numpy", "jax", "torch"])
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    model, params, _ = open_model(models.path_of(f"su{given.n}-2d-loops"))
    lattice = (given.extent,) * 2
    print(f"{'backend':>10}{'masked':>10}{'continuous':>12}   CPU s a draw{'ratio':>8}")
    for name in given.backends:
        if name == "jax":
            import jax

            jax.config.update("jax_enable_x64", True)
        backend = backends.get(name)
        programs = {
            form: weigher(
                dataclasses.replace(model.flow, scheme=form, steps=steps), params["coefficients"], lattice, backend
            )
            for form, steps in FORMS.items()
        }
        times: dict[str, list[float]] = {form: [] for form in FORMS}
        for turn in range(given.turns + 1):  # the first compiles
            for form, program in programs.items():
                times[form].append(seconds(program, backend, given.beta, turn))
        masked, continuous = (times[form][1:] for form in FORMS)
        ratios = [a / b for a, b in zip(masked, continuous, strict=True)]
        low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
        print(
            f"{name:>10}{statistics.median(masked):10.4f}{statistics.median(continuous):12.4f}{'':15}{middle:8.2f} "
            f"({low:.2f} to {high:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
