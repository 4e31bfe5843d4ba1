"""Solves and forces of pseudofermions in QCD: the library beside plain PyTorch, and the cost of a trajectory against volume.

    python -m haarflow.benchmarks.studies.qcd_hmc speed [--extent 8] [--kappa 0.15] [--beta 5.6] [--chains 1] [--pairs 3]
    python -m haarflow.benchmarks.studies.qcd_hmc precisions [--extents 4 8] [--kappa 0.15] [--beta 5.6] [--chains 1] [--pairs 3]
    python -m haarflow.benchmarks.studies.qcd_hmc volumes [--extents 4 6 8] [--force-extents 16] [--json FILE]

Speed: X = (Dhat Dhat^+)^-1 phi and the force of phi^+ X on SU(3) links of a heat bath, JAX and the twin
`benchmarks/twins/qcd_torch.py`, double precision, the same batch, one thread, process CPU seconds. Both must agree first, then
they take turns: medians, and the factor with its range. The twin multiplies by matmul or einsum, at its faster. Operations
count hops alone, 1,320 a site; the twin computes those of both parities, as rolls do.

Precisions: the same solve and force, and a trajectory of pseudofermion HMC of three steps, in double precision and mixed: steps in single
precision between residuals in double. Solutions agree first, then both take turns.

Volumes: one trajectory of pseudofermion HMC, one force and one draw of the flow of qcd-4d, at beta = 1 and kappa = 0.1, and the
exponent z of CPU seconds ~ V^z.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow.benchmarks.studies.flow_speed import cpu_seconds

SEED, TOLERANCE, SWEEPS, OPERATIONS = 2208, 1e-9, 40, 1320


def thermal(operator, beta, chains):
    """Links `(chains, 4, 3, 3, *lattice)` after heat-bath sweeps of the pure gauge theory from U = 1, on NumPy."""
    from haarflow.backends import numpy as backend
    from haarflow.core import random
    from haarflow.core.chains.heatbath_sun import SUNHeatBath
    from haarflow.core.chains.kernel import run
    from haarflow.theories import SUNGauge

    bath = SUNHeatBath(SUNGauge(operator.lattice, n=3), values={"couplings": {"beta": beta}})
    cold = numpy.zeros((chains, *operator.field_shape), dtype="complex128")
    for colour in range(3):
        cold[:, :, colour, colour] = 1.0
    state, _ = run(bath, random.key(SEED, backend), bath.init(cold), SWEEPS)
    return state.field


def matrices_last(x, internal, d):
    """An array `(chain, ..., *internal, *lattice)` as a tensor with the internal axes last."""
    import torch

    first = x.ndim - d - internal
    axes = (*range(first), *range(first + internal, x.ndim), *range(first, first + internal))
    return torch.from_numpy(numpy.ascontiguousarray(numpy.transpose(x, axes)))


def works_of(extent, beta, kappa, chains):
    """What is timed, functions without arguments that return steps, after both gave the same forces."""
    import jax
    import torch

    from haarflow import backends
    from haarflow.benchmarks.twins import qcd_torch as twin
    from haarflow.core import random
    from haarflow.theories.fermions.pseudofermions import pseudofermion
    from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy, Factor, background
    from haarflow.theories.fermions.wilson import Wilson

    torch.set_num_threads(1)
    backend, operator, accuracy = backends.get("jax"), Wilson((extent,) * 4, 3), Accuracy(TOLERANCE, 2000)
    links = backend.asarray(thermal(operator, beta, chains))
    draw = backend.jit(lambda u, key: pseudofermion.drawn(background(operator, u), Factor(kappa), key, accuracy)[0])
    phi = draw(links, random.key(SEED + 1, backend))
    solve = backend.jit(lambda u, phi: pseudofermion.solve(background(operator, u), kappa, phi, accuracy))
    force = backend.jit(lambda u, phi: pseudofermion.force(background(operator, u), Factor(kappa), phi, accuracy))
    its_links = matrices_last(numpy.asarray(operator.links(numpy.asarray(links))), 2, 4)
    form = operator.even_odd
    its_phi = matrices_last(numpy.asarray(form.merge(0 * phi, phi)).swapaxes(1, 2), 2, 4)
    own = {
        "solve": lambda: int(jax.block_until_ready(solve(links, phi))[1].steps.max()),
        "force": lambda: int(jax.block_until_ready(force(links, phi))[1].steps.max()),
    }
    group: Any = operator.group
    ours = numpy.asarray(group.algebra(numpy.asarray(force(links, phi)[0])))
    theirs = twin.force(its_links, kappa, its_phi, TOLERANCE, twin.by_matmul)[0]
    numpy.testing.assert_allclose(theirs.numpy(), 1j * matrices_last(ours, 2, 4).numpy(), rtol=0.0, atol=1e-6)
    ways = {
        carry: cpu_seconds(lambda c=carry: twin.hop(its_links, its_phi, c))
        for carry in (twin.by_matmul, twin.by_einsum) * 3
    }
    carry = min(ways, key=ways.__getitem__)
    plain = {
        "solve": lambda: twin.solve(its_links, kappa, its_phi, TOLERANCE, carry)[1],
        "force": lambda: twin.force(its_links, kappa, its_phi, TOLERANCE, carry)[1],
    }
    return own, plain, carry.__name__


def speed(extent, beta, kappa, chains, pairs):
    """CPU seconds and GFlop/s of both, and the factors: median, smallest, largest."""
    own, plain, way = works_of(extent, beta, kappa, chains)
    figures = {"the twin's products": way}
    for kind in ("solve", "force"):
        own[kind]()  # compiles
        turns = [(cpu_seconds(own[kind]), cpu_seconds(plain[kind])) for _ in range(pairs)]
        steps, sites = own[kind](), chains * extent**4
        ratios = sorted(theirs / ours for ours, theirs in turns)
        for who, column, parities in (("library", 0, 1), ("twin", 1, 2)):
            seconds = statistics.median(turn[column] for turn in turns)
            rate = steps * 4 * parities * OPERATIONS * sites / 2 / seconds / 1e9
            figures[f"{kind}, {who}"] = f"{seconds:.3f} s, {steps} steps, hops at {rate:.2f} GFlop/s"
        figures[f"{kind} factor"] = (statistics.median(ratios), ratios[0], ratios[-1])
    return figures


def precision_works(extent, beta, kappa, chains, mixed):
    """Solve, force and trajectory on JAX as functions without arguments: those of solves return X and the steps."""
    import jax

    from haarflow import backends
    from haarflow.core import random
    from haarflow.core.chains.kernel import run
    from haarflow.theories.fermions.pseudofermions import pseudofermion
    from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy, Factor, background
    from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import ACTION, FORCE, PseudofermionHMC
    from haarflow.theories.models.qcd import QCD

    backend, theory, accuracy = backends.get("jax"), QCD((extent,) * 4), FORCE._replace(mixed=mixed)
    operator, values = theory.operator, {"couplings": {"beta": beta, "kappa": kappa}, "step_size": 0.05}
    links, key = backend.asarray(thermal(operator, beta, chains)), random.key(SEED + 1, backend)
    exact = Accuracy(1e-12, 2000)
    phi = backend.jit(lambda u: pseudofermion.drawn(background(operator, u), Factor(kappa), key, exact)[0])(links)
    solve = backend.jit(lambda u, phi: pseudofermion.solve(background(operator, u), kappa, phi, accuracy))
    force = backend.jit(lambda u, phi: pseudofermion.force(background(operator, u), Factor(kappa), phi, accuracy))
    in_action = ACTION._replace(mixed=mixed)
    hmc = PseudofermionHMC(theory.marginal, steps=3, values=values, for_action=in_action, for_force=accuracy)
    state = hmc.init(links)
    return {
        "solve": lambda: jax.block_until_ready(solve(links, phi)),
        "force": lambda: jax.block_until_ready(force(links, phi)),
        "trajectory": lambda: jax.block_until_ready(run(hmc, key, state, 1)[1]),
    }


def precisions(extents, beta, kappa, chains, pairs):
    """CPU seconds in double and in mixed precision, and the factors: median, smallest, largest."""
    figures: dict[str, Any] = {}
    for extent in extents:
        double, mixed = (precision_works(extent, beta, kappa, chains, way) for way in (False, True))
        (x, its), (y, others) = double["solve"](), mixed["solve"]()
        off = float(numpy.linalg.norm(x - y) / numpy.linalg.norm(x))
        figures[f"{extent}^4, solutions apart"], steps = off, (int(its.steps.max()), int(others.steps.max()))
        figures[f"{extent}^4, steps"] = dict(zip(("double", "mixed"), steps, strict=True))
        for kind, work in double.items():
            work(), mixed[kind]()  # compile
            turns = [(cpu_seconds(work), cpu_seconds(mixed[kind])) for _ in range(pairs)]
            seconds = [statistics.median(turn[side] for turn in turns) for side in (0, 1)]
            ratios = sorted(one / other for one, other in turns)
            figures[f"{extent}^4, {kind}"] = (
                f"double {seconds[0]:.4f} s, mixed {seconds[1]:.4f} s, factor {statistics.median(ratios):.2f} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
    return figures


def exponent(volumes, seconds):
    """The slope of ln seconds over ln V by least squares."""
    return float(numpy.polyfit(numpy.log(volumes), numpy.log(seconds), 1)[0])


def trajectory_of(extent):
    """A compiled trajectory of five steps on SU(3) links, one chain, as a function without arguments."""
    from haarflow import backends
    from haarflow.core import random
    from haarflow.core.chains.kernel import run
    from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import PseudofermionHMC
    from haarflow.theories.models.qcd import QCD

    theory, backend = QCD((extent,) * 4).marginal, backends.get("jax")
    hmc = PseudofermionHMC(theory, steps=5, values={"couplings": {"beta": 1.0, "kappa": 0.1}, "step_size": 0.1})
    state = hmc.init(theory.group.haar(random.key(SEED, backend), (1, *theory.field_shape), "float64"))
    return lambda: run(hmc, random.key(SEED, backend), state, 1)[0].field.block_until_ready()


def force_of(extent):
    """A compiled force on random links near one, as a function without arguments."""
    from haarflow import backends
    from haarflow.core import random
    from haarflow.theories.fermions.pseudofermions import pseudofermion
    from haarflow.theories.fermions.pseudofermions.pseudofermion import Accuracy, Factor, background
    from haarflow.theories.fermions.wilson import Wilson

    backend, operator = backends.get("jax"), Wilson((extent,) * 4, 3)
    links = operator.group.haar(random.key(SEED, backend), (1, *operator.field_shape), "float64")

    def force(links, key):
        gauge = background(operator, links)
        phi, _ = pseudofermion.drawn(gauge, Factor(0.1), key, Accuracy(TOLERANCE, 2000))
        return pseudofermion.force(gauge, Factor(0.1), phi, Accuracy(TOLERANCE, 2000))[0]

    compiled, key = backend.jit(force), random.key(SEED, backend)
    return lambda: compiled(links, key).block_until_ready()


def draw_of(extent):
    """One compiled weighed draw of the flow of qcd-4d, as a function without arguments."""
    import jax

    from haarflow import backends
    from haarflow.core import random
    from haarflow.flows.pairs import loops_and_hops
    from haarflow.flows.sampling.draws import draw
    from haarflow.theories.models.qcd import QCD

    backend, couplings, lattice = backends.get("jax"), {"beta": 1.0, "kappa": 0.1}, (extent,) * 4
    theory = QCD(lattice)
    model = loops_and_hops(lattice, theory.hops, beta=couplings["beta"], kappa=couplings["kappa"])
    params = model.init(random.key(SEED, backend))
    return lambda: jax.block_until_ready(draw(model, params, theory, random.key(SEED, backend), 1, couplings).log_w)


def volumes(extents, pairs, works):
    """CPU seconds by extent of each work, at their medians, and the exponents."""
    figures = {}
    for name, (make, wanted) in works.items():
        seconds = {}
        for extent in wanted or extents:
            work = make(extent)
            work()
            seconds[extent] = statistics.median(cpu_seconds(work) for _ in range(pairs))
        figures[f"{name}, s"] = seconds
        if len(seconds) > 1:
            figures[f"{name}, exponent of V"] = exponent(
                [float(extent) ** 4 for extent in seconds], list(seconds.values())
            )
    return figures


def main():
    """Measure, print, and store the results if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("speed", "precisions", "volumes"))
    parser.add_argument("--extent", type=int, default=8)
    parser.add_argument("--kappa", type=float, default=0.15)
    parser.add_argument("--beta", type=float, default=5.6)
    parser.add_argument("--chains", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--extents", type=int, nargs="+", default=[4, 6, 8])
    parser.add_argument("--force-extents", type=int, nargs="*", default=[4, 6, 8, 12, 16])
    parser.add_argument("--draw-extents", type=int, nargs="*", default=[4, 6])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "speed":
        figures = speed(options.extent, options.beta, options.kappa, options.chains, options.pairs)
        print(
            f"QCD {options.extent}^4, beta {options.beta}, kappa {options.kappa}, {options.chains} chains, one thread"
        )
    elif options.what == "precisions":
        figures = precisions(options.extents, options.beta, options.kappa, options.chains, options.pairs)
        print(
            f"QCD, beta {options.beta}, kappa {options.kappa}, {options.chains} chains, JAX, one thread: process CPU seconds"
        )
    else:
        works = {
            "trajectory": (trajectory_of, options.extents),
            "force": (force_of, options.force_extents),
            "draw": (draw_of, options.draw_extents),
        }
        figures = volumes(options.extents, options.pairs, works)
        print("QCD, beta 1, kappa 0.1, JAX, one chain, one thread: process CPU seconds by extent")
    for name, value in figures.items():
        print(f"  {name}: {value}")
    if options.json:
        from haarflow.core.files import write_json

        write_json(options.json, figures)


if __name__ == "__main__":
    main()
