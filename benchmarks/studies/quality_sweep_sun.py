"""ESS of the sweep flow of SU(2) and SU(3) on 16 x 16, untrained and as shipped, on NumPy.

    python -m haarflow.benchmarks.studies.quality_sweep_sun [--draws 2048] [--seed 0]

Also the exact ESS of independent plaquettes closed by the last one (`sun_torus.ess_sweep`).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy

from haarflow import backends, models
from haarflow.core import random
from haarflow.core.statistics import ess
from haarflow.flows.modelfile import open_model
from haarflow.flows.sun.sweep import class_sweep
from haarflow.theories import SUNGauge, accelerated
from haarflow.theories.exact import sun_torus

LATTICE, BATCH = (16, 16), 64
CASES = ((2, 1.8), (2, 2.2), (2, 2.7), (3, 4.0), (3, 5.0), (3, 6.0))
SHIPPED = {(3, 6.0): "su3-2d-sweep"}


def measured(model: Any, params: Any, n: int, beta: float, draws: int, seed: int) -> tuple[float, float]:
    """Return the ESS of a model's draws and the CPU seconds per draw."""
    key, theory, parts, start = (
        random.key(seed, backends.get("numpy")),
        accelerated(SUNGauge(LATTICE, n=n)),
        [],
        time.process_time(),
    )
    for index in range(-(-draws // BATCH)):
        y, log_q = model.sample(params, random.fold_in(key, index), BATCH)
        parts.append(-theory.action(y, {"beta": beta}) - log_q)
    log_w = numpy.concatenate(parts)
    return float(ess(log_w)), (time.process_time() - start) / len(log_w)


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{'group':6}{'beta':>6}  {'parameters':14}{'ESS':>7}{'ms/draw':>9}{'independent':>13}")
    for n, beta in CASES:
        model, plain = class_sweep(LATTICE, n, beta), sun_torus.ess_sweep(n, beta, 256)
        rows = {"untrained": (model, model.init(random.key(0, backends.get("numpy"))))}
        if (n, beta) in SHIPPED:
            opened = open_model(models.path_of(SHIPPED[n, beta]), lattice=LATTICE)
            rows["shipped"] = (opened.model, opened.params)
        for name, pair in rows.items():
            quality, cost = measured(*pair, n, beta, options.draws, options.seed)
            print(f"SU({n}) {beta:6.1f}  {name:14}{quality:7.3f}{1e3 * cost:9.2f}{plain:13.3f}", flush=True)


if __name__ == "__main__":
    main()
