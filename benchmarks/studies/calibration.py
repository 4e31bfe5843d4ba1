"""How often a 1-sigma interval holds the exact value: 0.683 if error bars are right.

    python -m haarflow.benchmarks.studies.calibration [--repeats 2000] [--seed 0] [--rows Metropolis ...] [--json FILE]

Every row is a process with an exact mean, drawn anew for each repeat. `covered` is the share of intervals that hold the
exact value among the estimates without a note, `all` the same with those that have one, `noted` the share that has a
note or no error. A row is calibrated if `covered` lies between 0.64 and 0.72, where a perfect interval fails once in
6,000 rows of 2,000 repeats; it counts as noted if more than half of its estimates are. --json keeps every row as soon as it
is measured, and an interrupted command goes on from them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy
from scipy.signal import lfilter

from haarflow.benchmarks.harness.results import write
from haarflow.core.statistics import Estimate, gamma_method, jackknife, log_z, reweight

LOW, HIGH = 0.64, 0.72
BATCH = 100  # repeats that are drawn together
Draw = Callable[[numpy.random.Generator, int], Any]


class Row(NamedTuple):
    """A process: `draw(generator, repeats)` gives arrays with a leading axis of repeats, `estimate` takes one repeat."""

    name: str
    exact: float
    draw: Draw
    estimate: Callable[..., Estimate]


class Covered(NamedTuple):
    """The shares of a row, and its name."""

    name: str
    repeats: int
    covered: float
    all: float
    noted: float

    @property
    def verdict(self) -> str:
        """Return "calibrated", "noted", or "OFF"."""
        return "noted" if self.noted > 0.5 else "calibrated" if LOW <= self.covered <= HIGH else "OFF"


# ---- processes, (repeat, chain, draw)


def autoregressive(a: float, chains: int, draws: int) -> Draw:
    """AR(1) of unit variance: tau_int = (1 + a) / (2 (1 - a))."""

    def draw(generator: numpy.random.Generator, repeats: int) -> numpy.ndarray:
        noise = generator.normal(size=(repeats, chains, draws))
        noise[..., 1:] *= math.sqrt(1.0 - a * a)
        series: numpy.ndarray = lfilter([1.0], [1.0, -a], noise, axis=-1)
        return series

    return draw


def local_metropolis(chains: int, draws: int, width: float = 2.4) -> Draw:
    """Local Metropolis for a Gaussian of unit variance, from equilibrium."""

    def draw(generator: numpy.random.Generator, repeats: int) -> numpy.ndarray:
        series = numpy.empty((draws, repeats, chains))
        x = generator.normal(size=(repeats, chains))
        for number in range(draws):
            new = x + width * generator.uniform(-1.0, 1.0, size=x.shape)
            x = numpy.where(generator.exponential(size=x.shape) > (new * new - x * x) / 2.0, new, x)
            series[number] = x
        return numpy.moveaxis(series, 0, -1)

    return draw


def independence_metropolis(sigma: float, chains: int, draws: int) -> Draw:
    """Independence Metropolis with log-normal weights, beside them x with <x> = sigma/2 in the target, from equilibrium."""

    def draw(generator: numpy.random.Generator, repeats: int) -> numpy.ndarray:
        series = numpy.empty((draws, repeats, chains))
        log_w = sigma * generator.normal(size=(repeats, chains)) + sigma**2  # of the target
        x = 0.5 * log_w / sigma + math.sqrt(0.75) * generator.normal(size=log_w.shape)
        for number in range(draws):
            new = sigma * generator.normal(size=log_w.shape)
            moved = generator.exponential(size=log_w.shape) > log_w - new
            other = 0.5 * new / sigma + math.sqrt(0.75) * generator.normal(size=log_w.shape)
            log_w, x = numpy.where(moved, new, log_w), numpy.where(moved, other, x)
            series[number] = x
        return numpy.moveaxis(series, 0, -1)

    return draw


def weighted(sigma: float, draws: int) -> Draw:
    """(log_w, x) of independent draws: log w normal of width sigma, x half correlated with it, <x> = sigma/2."""

    def draw(generator: numpy.random.Generator, repeats: int) -> numpy.ndarray:
        z, other = generator.normal(size=(2, repeats, draws))
        return numpy.stack([sigma * z - sigma**2 / 2.0, 0.5 * z + math.sqrt(0.75) * other], axis=1)

    return draw


# ---- estimates


def of_squares(x: numpy.ndarray) -> Estimate:
    """<x^2>."""
    return gamma_method(x * x)


def ratio(x: numpy.ndarray) -> Estimate:
    """<x^2 (1 + x)>/<x^2> = 1 for unit Gaussians."""
    return gamma_method((x * x * (1.0 + x), x * x), lambda a, b: a / b)


def binder(x: numpy.ndarray) -> Estimate:
    """1 - <x^4>/(3 <x^2>^2) = 0 for Gaussians."""
    return gamma_method((x**2, x**4), lambda second, fourth: 1.0 - fourth / (3.0 * second**2))


def connected(x: numpy.ndarray) -> Estimate:
    """<x^2> - <x>^2."""
    return gamma_method((x * x, x), lambda second, first: second - first * first)


def time(x: numpy.ndarray) -> Estimate:
    """tau_int in the place of the mean."""
    found = gamma_method(x)
    return Estimate(found.tau_int, found.tau_error, note=found.note)


def reweighted(parts: numpy.ndarray) -> Estimate:
    """<x> with weights."""
    return reweight(parts[0], parts[1])


def with_gaps(x: numpy.ndarray) -> Estimate:
    """The mean without every draw whose number is 0, 1 or 4 mod 7."""
    kept = numpy.flatnonzero(~numpy.isin(numpy.arange(x.shape[1]) % 7, (0, 1, 4)))
    return gamma_method(x[:, kept], draw_numbers=kept)


def unequal(x: numpy.ndarray) -> Estimate:
    """The mean of chains of which each is shorter than the one before."""
    return gamma_method([row[: x.shape[1] * (len(x) - chain) // len(x)] for chain, row in enumerate(x)])


def folded(x: numpy.ndarray) -> Estimate:
    """1 - <x^4>/(3 <x^2>^2) by the jackknife."""
    return jackknife(lambda s: 1.0 - (s**4).mean() / (3.0 * (s**2).mean() ** 2), x)


def rows() -> list[Row]:
    """Return all rows of the table."""
    ar, tau = autoregressive, lambda a: (1.0 + a) / (2.0 * (1.0 - a))
    return [
        Row("mean, 30 independent draws", 0.0, ar(0.0, 1, 30), gamma_method),
        Row("mean, 200 independent draws", 0.0, ar(0.0, 1, 200), gamma_method),
        Row(
            "mean of exp(x), 1,000 independent draws",
            math.exp(0.5),
            ar(0.0, 1, 1000),
            lambda x: gamma_method(numpy.exp(x)),
        ),
        Row("mean, AR(1) a = -0.5, 500 draws", 0.0, ar(-0.5, 1, 500), gamma_method),
        Row("mean, AR(1) a = 0.5, 500 draws", 0.0, ar(0.5, 1, 500), gamma_method),
        Row("mean, AR(1) a = 0.9, 500 draws", 0.0, ar(0.9, 1, 500), gamma_method),
        Row("mean, AR(1) a = 0.9, 1,200 draws", 0.0, ar(0.9, 1, 1200), gamma_method),
        Row("mean, AR(1) a = 0.9, 5,000 draws", 0.0, ar(0.9, 1, 5000), gamma_method),
        Row("mean, several chains: 2 of 500, a = 0.5", 0.0, ar(0.5, 2, 500), gamma_method),
        Row("mean, several chains: 8 of 400, a = 0.9", 0.0, ar(0.9, 8, 400), gamma_method),
        Row("mean, several chains: 16 of 150, a = 0.5", 0.0, ar(0.5, 16, 150), gamma_method),
        Row("mean, several chains: 64 of 20, a = 0.5", 0.0, ar(0.5, 64, 20), gamma_method),
        Row("mean, several chains: 40 of 5, a = 0.9", 0.0, ar(0.9, 40, 5), gamma_method),
        Row("mean, several chains of unequal length", 0.0, ar(0.7, 4, 800), unequal),
        Row("mean, several chains with gaps", 0.0, ar(0.7, 2, 800), with_gaps),
        Row("mean of x^2, AR(1) a = 0.8, 4 of 500", 1.0, ar(0.8, 4, 500), of_squares),
        Row("ratio, AR(1) a = 0.5, 1,000 draws", 1.0, ar(0.5, 1, 1000), ratio),
        Row("derived: Binder cumulant, 4 of 500, a = 0.5", 0.0, ar(0.5, 4, 500), binder),
        Row("derived: Binder cumulant by the jackknife", 0.0, ar(0.0, 1, 1000), folded),
        Row("derived: <x^2> - <x>^2, a = 0.8, 2,000 draws", 1.0, ar(0.8, 1, 2000), connected),
        Row("Metropolis, local: x, 4 of 500", 0.0, local_metropolis(4, 500), gamma_method),
        Row("Metropolis, local: x^2, 4 of 500", 1.0, local_metropolis(4, 500), of_squares),
        Row(
            "Metropolis, independence, light weights, 2,000", 0.25, independence_metropolis(0.5, 1, 2000), gamma_method
        ),
        Row("Metropolis, independence, sigma = 1, 3,000", 0.5, independence_metropolis(1.0, 1, 3000), gamma_method),
        Row("Metropolis, independence, sigma = 2, 5,000", 1.0, independence_metropolis(2.0, 1, 5000), gamma_method),
        Row("reweighted, light weights, 1,000 draws", 0.25, weighted(0.5, 1000), reweighted),
        Row("reweighted, light weights, 30 draws", 0.25, weighted(0.5, 30), reweighted),
        Row("reweighted, sigma = 1, 2,000 draws", 0.5, weighted(1.0, 2000), reweighted),
        Row("reweighted, heavy weights (sigma = 2), 5,000", 1.0, weighted(2.0, 5000), reweighted),
        Row("reweighted, heavy weights (sigma = 3), 5,000", 1.5, weighted(3.0, 5000), reweighted),
        Row("ln Z, light weights, 1,000 draws", 0.0, weighted(0.5, 1000), lambda parts: log_z(parts[0])),
        Row("tau_int, 2,000 independent draws", 0.5, ar(0.0, 1, 2000), time),
        Row("tau_int, AR(1) a = 0.5, 4,000 draws", tau(0.5), ar(0.5, 1, 4000), time),
        Row("tau_int, AR(1) a = 0.5, 8 of 500", tau(0.5), ar(0.5, 8, 500), time),
        Row("tau_int, AR(1) a = 0.9, 10,000 draws", tau(0.9), ar(0.9, 1, 10_000), time),
        Row("tau_int, AR(1) a = -0.3, 2,000 draws", tau(-0.3), ar(-0.3, 1, 2000), time),
    ]


def measured(row: Row, repeats: int, seed: int = 0) -> Covered:
    """Return a row's shares; the draws depend on the row's name and the seed."""
    found = list(_estimates(row, repeats, seed))
    with_error = [one for one in found if one.value is not None and one.error is not None]
    quiet = [one for one in with_error if not one.note]
    covered, everything = (
        sum(abs(one.value - row.exact) < one.error for one in some) / max(len(some), 1)  # type: ignore[operator]
        for some in (quiet, with_error)
    )
    return Covered(row.name, repeats, covered, everything, 1.0 - len(quiet) / len(found))


def _estimates(row: Row, repeats: int, seed: int) -> Iterator[Estimate]:
    generator = numpy.random.default_rng([seed, *row.name.encode()])
    for begin in range(0, repeats, BATCH):
        yield from map(row.estimate, row.draw(generator, min(BATCH, repeats - begin)))


def kept_in(path: Path | None, words: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the rows of a file by name, none where there is none yet; raises SystemExit for other repeats or seeds."""
    if path is None or not path.exists():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    if (stored.get("kind"), stored["recipe"]) != ("calibration", words):
        raise SystemExit(f"{path} holds {stored.get('kind')} of {stored['recipe']}, not of {words}: name another file")
    return {row["name"]: row for row in stored["rows"]}


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--rows", nargs="*", default=[""], help="only rows with one of these words in their name")
    options.add_argument("--json", type=Path, help="also write the table to this file")
    asked = options.parse_args()
    words = {"repeats": asked.repeats, "seed": asked.seed}
    table = kept_in(asked.json, words)
    print(f"{'1-sigma intervals of':52} covered    all  noted")
    for row in rows():
        if not any(word in row.name for word in asked.rows):
            continue
        if row.name not in table:
            found = measured(row, asked.repeats, asked.seed)
            table[row.name] = {**found._asdict(), "verdict": found.verdict}
            if asked.json:
                write(asked.json, "calibration", words, list(table.values()))
        print("{name:52} {covered:7.3f} {all:6.3f} {noted:6.3f}  {verdict}".format(**table[row.name]), flush=True)


if __name__ == "__main__":
    main()
