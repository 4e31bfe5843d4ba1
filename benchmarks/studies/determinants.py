"""ln |det D| of Wilson's operator: agreement of its forms on all backends, and speed beside dense slogdet with autodiff.

    python -m haarflow.benchmarks.studies.determinants agreement [--long 64] [--json FILE]
    python -m haarflow.benchmarks.studies.determinants speed [--extent 16] [--batch 64] [--pairs 5] [--json FILE]

Agreement: the largest difference of all forms on all backends that are here from the dense determinant on NumPy, on free and
on random fields; and of slices from even-odd on NumPy at `--long` squared, on angles of normal numbers with deviation 0.5.

Speed: the library's log_det on JAX, value and value with gradient, by the compiled elimination of slices ("slices") and by array
code ("arrays"), and a twin: slogdet of the dense matrix, differentiated by
JAX, the same batch, float64, one thread. First all must give the same numbers; then they take turns, each with two calls of which the second counts, for the first pays for
giving back the memory of the twin. Figures are medians of
process CPU milliseconds for one configuration and the median of the ratios within a turn, with its range. The agreement of
slices and even-odd at 64 squared takes 2.5 GB.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow.benchmarks.studies.flow_speed import cpu_seconds

KAPPA, SPREAD, SEED, TOLERANCE = 0.276, 0.5, 2202, 1e-10


def angles(extent, batch):
    """Angles near those at beta 2, `(batch, 2, extent, extent)`."""
    return numpy.random.default_rng(SEED).normal(scale=SPREAD, size=(batch, 2, extent, extent))


def forms_apart(extent):
    """For every form and backend the largest difference of ln |det D| from NumPy's dense one: free field, random fields."""
    from haarflow.backends import members
    from haarflow.theories import accelerated
    from haarflow.theories.fermions.determinants.determinant import forms_for, log_det
    from haarflow.theories.fermions.wilson import Wilson

    operator, fields = (
        Wilson((extent, extent)),
        numpy.concatenate([numpy.zeros((1, 2, extent, extent)), angles(extent, 4)]),
    )
    exact = numpy.linalg.slogdet(operator.matrix(operator.prepare(fields), KAPPA))
    found = {}
    for name in (one for one in members.OURS if members.absence(one) is None):
        backend = members.member(name)
        ways = {form: (operator, form) for form in forms_for(operator)} | {
            "compiled slices": (accelerated(operator), "slices")
        }
        for form, (one, way) in ways.items():
            run = backend.jit(lambda x, one=one, way=way: log_det(one, x, KAPPA, way))
            log_abs, sign = (backend.to_numpy(x) for x in run(backend.asarray(fields)))
            off = numpy.maximum(abs(log_abs - exact[1]), abs(sign - exact[0].real))
            found[f"{form} on {name}, {extent}x{extent}"] = (float(off[0]), float(off[1:].max()))
    return found


def free_apart(extents):
    """The difference of the cheapest form from the product over momenta, on NumPy."""
    from haarflow.theories.exact import free_fermions
    from haarflow.theories.fermions.determinants.determinant import log_det
    from haarflow.theories.fermions.wilson import Wilson

    apart = {}
    for extent in extents:
        log_abs, _ = log_det(Wilson((extent, extent)), numpy.zeros((2, extent, extent)), KAPPA)
        apart[extent] = float(abs(log_abs - free_fermions.log_det((extent, extent), KAPPA)))
    return apart


def long_apart(extent):
    """ln |det D| by slices and by even-odd on one random field, and their CPU seconds, on NumPy."""
    from haarflow.theories.fermions.determinants.determinant import log_det
    from haarflow.theories.fermions.wilson import Wilson

    operator, field, values, seconds = Wilson((extent, extent)), angles(extent, 1)[0], {}, {}
    for form in ("slices", "even-odd"):
        seconds[form] = cpu_seconds(lambda form=form: values.update({form: log_det(operator, field, KAPPA, form)}))
    log_abs = {form: float(value[0]) for form, value in values.items()}
    return {"log_abs": log_abs, "apart": abs(log_abs["slices"] - log_abs["even-odd"]), "cpu_s": seconds}


def works_of(extent, batch):
    """What is timed: functions without arguments, checked against each other."""
    import jax
    import jax.numpy as jnp

    from haarflow.theories import accelerated
    from haarflow.theories.fermions.determinants.determinant import log_det
    from haarflow.theories.fermions.wilson import Wilson

    operator, fields = Wilson((extent, extent)), jnp.asarray(angles(extent, batch))
    fast = accelerated(operator)

    def ours(x):
        return log_det(fast, x, KAPPA)[0]

    def arrays(x):
        return log_det(operator, x, KAPPA)[0]

    def twin(x):
        return jnp.linalg.slogdet(operator.matrix(operator.prepare(x), KAPPA))[1]

    programs = {}
    for name, value in (("slices", ours), ("arrays", arrays), ("dense", twin)):
        programs[name, "value"] = jax.jit(value)
        programs[name, "gradient"] = jax.jit(jax.value_and_grad(lambda x, value=value: jnp.sum(value(x))))
    for kind in ("value", "gradient"):
        first, *others = (jax.tree.leaves(programs[name, kind](fields))[-1] for name in ("dense", "arrays", "slices"))
        for other in others:
            numpy.testing.assert_allclose(numpy.array(other), numpy.array(first), rtol=0.0, atol=TOLERANCE)
    return {key: (lambda program=program: jax.block_until_ready(program(fields))) for key, program in programs.items()}


def repeated(work):
    """CPU seconds of the second of two calls: the first one gives back to the system what the work before it held."""
    work()
    return cpu_seconds(work)


def speed(extent, batch, pairs):
    """Milliseconds of a configuration, and the factors over the twin: median, smallest, largest."""
    works = works_of(extent, batch)
    turns = [{key: 1e3 * repeated(work) / batch for key, work in works.items()} for _ in range(pairs)]
    figures = {f"{name} {kind} ms": statistics.median(turn[name, kind] for turn in turns) for name, kind in works}
    for kind in ("value", "gradient"):
        ratios = sorted(turn["dense", kind] / turn["slices", kind] for turn in turns)
        figures[f"{kind} factor"] = (statistics.median(ratios), ratios[0], ratios[-1])
    return figures


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("agreement", "speed"))
    parser.add_argument("--long", type=int, default=64)
    parser.add_argument("--extent", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "speed":
        figures = speed(options.extent, options.batch, options.pairs)
        print(
            f"Schwinger ln |det D|, {options.extent}x{options.extent}, kappa {KAPPA}, batch {options.batch}, JAX, one thread"
        )
    else:
        figures = {
            **forms_apart(4),
            **forms_apart(8),
            "free, L": free_apart((4, 8, 16, 32, 64)),
            "long": long_apart(options.long),
        }
        print(f"largest differences of ln |det D| and of its sign at kappa {KAPPA}: (free, random)")
    for name, value in figures.items():
        print(f"  {name}: {value}")
    if options.json:
        from haarflow.core.files import write_json

        write_json(options.json, figures)


if __name__ == "__main__":
    main()
