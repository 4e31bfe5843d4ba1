"""Conditional flows of pseudofermions at fixed links in two dimensions: parallel-transport couplings beside the exponential,
and exponentials with coefficients of a net.

    python -m haarflow.benchmarks.studies.transport [--extents 4 4] [--n 1] [--beta 2] [--kappa 0.2] [--repeats 1 2]
        [--orders 1 2 4] [--nets 1 2] [--steps 400] [--links 16] [--seed 1]

Links are exact draws of pure gauge theory, half to train on, half to test on. The loss is exact at fixed links: with
W = A^+ (Dhat Dhat^+)^-1 A the divergence of q(phi|U) is tr W - n - ln det W, and the ESS det(2 W - 1)/det(W)^2, or 0 if an
eigenvalue of W is 1/2 or less. A row for each flow: its numbers, divergence and ESS on the links kept for the test, untrained
and trained, CPU microseconds for one draw of a batch of 256, and what it has reached per number and per CPU second: -1/ln ESS.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy

from haarflow import backends
from haarflow.backends.tree import leaves
from haarflow.core import random
from haarflow.flows.fermions.hopping import HoppingExponential
from haarflow.flows.fermions.local_hopping import LocalHopping
from haarflow.flows.fermions.transport import transport_layers
from haarflow.flows.flow import Chain
from haarflow.flows.priors import Noise
from haarflow.flows.training.optimisers import Adam, apply_updates
from haarflow.theories.fermions.hops import OddHops
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.gauge.sun import SUNGauge
from haarflow.theories.gauge.u1 import U1Gauge
from haarflow.theories.samplers.sun import exact_sample
from haarflow.theories.samplers.u1 import exact_sample as exact_angles

DRAWS, RATE = 256, 0.02


def parsed() -> argparse.Namespace:
    """Return the command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extents", type=int, nargs=2, default=[4, 4])
    parser.add_argument("--n", type=int, default=1, help="N of SU(N), 1 for U(1)")
    parser.add_argument("--beta", type=float, default=2.0)
    parser.add_argument("--kappa", type=float, default=0.2)
    parser.add_argument("--repeats", type=int, nargs="*", default=[1, 2], help="rounds of the masks")
    parser.add_argument("--orders", type=int, nargs="*", default=[1, 2, 4], help="hopping orders")
    parser.add_argument("--nets", type=int, nargs="*", default=[1, 2], help="hopping orders with coefficients of a net")
    parser.add_argument("--hidden", type=int, nargs="*", default=[8], help="features of the net")
    parser.add_argument("--steps", type=int, default=400, help="of Adam")
    parser.add_argument("--links", type=int, default=16, help="gauge fields to train on, and as many for the test")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def gauge_fields(given: argparse.Namespace) -> numpy.ndarray:
    """Return exact draws of pure gauge theory, for training and for the test."""
    key, lattice, couplings = random.key(given.seed, backends.get("numpy")), tuple(given.extents), {"beta": given.beta}
    if given.n == 1:
        return exact_angles(U1Gauge(lattice), key, 2 * given.links, couplings).field
    return exact_sample(SUNGauge(lattice, n=given.n), key, 2 * given.links, couplings)


def inverses(hops: OddHops, links: numpy.ndarray) -> numpy.ndarray:
    """Return (Dhat Dhat^+)^-1 as matrices, one for each gauge field."""
    size = math.prod(hops.shape)
    units = numpy.eye(size, dtype=complex).reshape(size, *hops.shape)
    found = []
    for one in links:
        dhat = hops.form.schur(hops.form.prepare(one), hops.kappa, units).reshape(size, size).T
        found.append(numpy.linalg.inv(dhat @ dhat.conj().T))
    return numpy.stack(found)


def divergence(flow: Any, shape: tuple[int, ...], backend: Any) -> Any:
    """Return the function (params, links, inverse) -> (tr W - n - ln det W, W) of a batch of links."""
    size = math.prod(shape)
    units = backend.asarray(numpy.eye(size, dtype=complex).reshape(size, 1, *shape))

    def measured(params: Any, links: Any, inverse: Any) -> tuple[Any, Any]:
        xp = backend.xp
        fields = units + xp.zeros((1, links.shape[0], *(1,) * len(shape)), dtype=units.dtype)
        moved, log_det = flow.forward(params, fields, {"links": links[None, ...]})
        a = xp.permute_dims(xp.reshape(moved, (size, links.shape[0], size)), (1, 2, 0))
        w = xp.matmul(xp.conj(xp.permute_dims(a, (0, 2, 1))), xp.matmul(inverse, a))
        trace = xp.real(xp.sum(w * units.reshape(size, size), axis=(-2, -1)))
        # ln det W = ln det(Dhat Dhat^+)^-1 + ln |det A|^2, and log_det is the latter, in real components
        return xp.mean(trace - log_det[0, ...]), w

    return measured


def ess_of(w: numpy.ndarray) -> float:
    """Return the ESS of weights with this W."""
    values = numpy.linalg.eigvalsh(w)
    return float(numpy.exp(numpy.sum(numpy.log(2 * values - 1) - 2 * numpy.log(values)))) if values.min() > 0.5 else 0.0


def trained(measured: Any, params: Any, data: tuple[Any, Any], steps: int, backend: Any) -> Any:
    """Return the parameters after some steps of Adam."""
    adam, slope = Adam(rate=RATE, clip=1.0), backend.value_and_grad(lambda p, *rest: measured(p, *rest)[0])

    def step(params: Any, state: Any) -> tuple[Any, Any]:
        updates, state = adam.update(slope(params, *data)[1], state, params)
        return apply_updates(params, updates), state

    program, state = backend.jit(step), adam.init(params)
    for _ in range(steps):
        params, state = program(params, state)
    return params


def seconds_of(flow: Any, params: Any, links: Any, shape: tuple[int, ...], backend: Any) -> float:
    """Return CPU seconds for one draw."""
    noise = Noise(shape).sample(random.key(0, backend), DRAWS)
    given = backend.asarray(numpy.resize(backend.to_numpy(links), (DRAWS, *links.shape[1:])))
    program = backend.jit(lambda x, u: flow.forward(params, x, {"links": u})[0])
    backend.to_numpy(program(noise, given))
    best = math.inf
    for _ in range(10):
        start = time.process_time()
        backend.to_numpy(program(noise, given))
        best = min(best, time.process_time() - start)
    return best / DRAWS


def main() -> None:
    """Print the table."""
    given = parsed()
    import jax

    jax.config.update("jax_enable_x64", True)
    backend, lattice = backends.get("jax"), tuple(given.extents)
    hops, links = OddHops(Wilson(lattice, given.n), given.kappa), gauge_fields(given)
    inverse, size = inverses(hops, links), math.prod(hops.shape)
    fit, test = (
        tuple(backend.asarray(x[part]) for x in (links, inverse))
        for part in (slice(given.links), slice(given.links, None))
    )
    rest = size + float(numpy.mean(numpy.linalg.slogdet(inverse[given.links :])[1]))
    flows: list[tuple[str, Any]] = [
        (f"exponential, J = {order}", HoppingExponential(hops, order)) for order in given.orders
    ]
    flows += [(f"a net's, J = {order}", LocalHopping(hops, order, tuple(given.hidden))) for order in given.nets]
    flows += [(f"transport, {8 * r} layers", Chain(transport_layers(lattice, given.n, r))) for r in given.repeats]
    head = f"{'':>22}{'numbers':>8}{'KL':>10}{'ESS':>9}{'trained: KL':>14}{'ESS':>9}{'us a draw':>11}"
    print(f"{head}{'merit a number':>16}{'a CPU us':>10}")
    for name, flow in flows:
        measured, params = divergence(flow, hops.shape, backend), flow.init(random.key(given.seed, backend))
        program, found = backend.jit(measured), []
        for one in (params, trained(measured, params, fit, given.steps, backend)):
            loss, w = program(one, *test)
            found += [float(loss) - rest, float(numpy.mean([ess_of(x) for x in backend.to_numpy(w)]))]
            params = one
        count = sum(math.prod(x.shape) for x in leaves(params))
        spent, merit = 1e6 * seconds_of(flow, params, fit[0], hops.shape, backend), _merit(found[3])
        row = f"{name:>22}{count:8d}{found[0]:10.4f}{found[1]:9.4f}{found[2]:14.4f}{found[3]:9.4f}{spent:11.2f}"
        print(f"{row}{merit / count:16.3f}{merit / spent:10.3f}", flush=True)


def _merit(ess: float) -> float:
    """-1/ln ESS: the volumes of this kind that an ESS of 1/e allows."""
    return -1.0 / math.log(ess) if 0.0 < ess < 1.0 else 0.0


if __name__ == "__main__":
    main()
