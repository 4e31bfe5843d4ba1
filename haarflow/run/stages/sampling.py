"""The samplers of a run, block by block: draw, write the block, continue from the last block written.

The file of a block holds `observables/NAME (draw, chain)`, `accepted`, `log_w` for flows, the kept configurations
`field`, and for Markov chains `last`, the fields from which the next block starts, and `target_log_w` where flows run
beside them. A field of several parts has an entry for each, `field/U`, `last/U`, ... Warm-up draws are written in
blocks like all others and dropped when the ensemble is composed.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import paths
from haarflow.core import spaces
from haarflow.core.chains import kernel as kernels
from haarflow.core.solvers.solution import Unconverged
from haarflow.core.statistics import ess
from haarflow.flows.sampling.draws import DrawBlock
from haarflow.flows.sampling.farm import farm
from haarflow.run import chains, replicas, weighing
from haarflow.run.build import Plan, Setup
from haarflow.run.progress import Progress
from haarflow.run.records import SampleLine
from haarflow.run.runfolder import RunFolder
from haarflow.run.target import measure_of

Block = tuple[SampleLine, dict[str, Any]]
Blocks = Iterator[Block]

NEVER = 100  # measured steps, over all chains, after which one that has accepted nothing is stopped


SHARES = ("accepted", "hits")  # what the steps of a chain record of themselves, averaged over the kernels of a cycle


class ChainStopped(ArithmeticError):
    """A chain that does not move; finished blocks are kept."""


def sample(
    setup: Setup,
    name: str,
    folder: RunFolder,
    progress: Progress,
    executor: Executor | None = None,
    numbers: Sequence[int] | None = None,
) -> None:
    """Draw the blocks of one sampler that are not yet in the folder: those of `numbers`, by default all.

    Raises Stopped, after the blocks under way, if the run has been asked to end, ChainStopped for chains that accept nothing after the warm-up, NotTuned where no step size is accepted,
    Unconverged for a solve that failed in a step.
    """
    plan = setup.plans[name]
    wanted = range(plan.blocks) if numbers is None else numbers
    missing = [number for number in wanted if not folder.block(name, number).exists()]
    if plan.from_flow:
        blocks = _flow_blocks(setup, plan, progress.stop.until(missing), executor)
    else:
        missing = [number for number in wanted if missing and number >= missing[0]]
        blocks = _chain_blocks(setup, plan, missing, folder, progress) if missing else iter(())
    with progress.task(name, len(wanted), len(wanted) - len(missing), setup.waiting) as task:
        try:
            for line, arrays in blocks:
                folder.write_line(line)
                folder.write_block(name, line.block, arrays)
                task.advance(_shown(line))
        except Unconverged as failure:
            raise Unconverged(f"samplers.{name}: {failure}; finished blocks are kept") from None
    progress.stop.check()


def _shown(line: SampleLine) -> dict[str, float]:
    shown = {"acceptance": line.acceptance, "ess": line.ess}
    return {word: value for word, value in shown.items() if value is not None}


def _flow_blocks(setup: Setup, plan: Plan, numbers: Iterable[int], executor: Executor | None) -> Blocks:
    if plan.name not in setup.proposals:
        raise ValueError(f"samplers.{plan.name}: needs a flow: give the recipe a [flow] or a model")
    model, params, condition = setup.proposals[plan.name]
    host_key = numpy.asarray(setup.backend.to_numpy(setup.stream(plan.name)))
    job = DrawBlock(
        model,
        setup.target.theory,
        plan.block * plan.chains,
        setup.backend,
        params,
        (int(host_key[0]), int(host_key[1])),
        setup.target.couplings,
        condition,
        measure_of,
        keep_fields=bool(setup.recipe.fields_every),
    )
    for number, block in farm(job, numbers, executor, ahead=2 * _workers(executor)):
        yield _flow_block(block, plan, number)


def _workers(executor: Executor | None) -> int:
    return 1 if executor is None else getattr(executor, "workers", 4)  # other executors do not say how many they have


def _flow_block(block: dict[str, Any], plan: Plan, number: int) -> Block:
    def by_chain(array: Any) -> Any:
        return array.reshape(plan.block, plan.chains, *array.shape[1:])

    arrays = {f"observables/{name}": by_chain(array) for name, array in block["observables"].items()}
    arrays["log_w"] = by_chain(block["log_w"])
    if block["field"] is not None:
        arrays["field"] = by_chain(block["field"])
    quality = None if numpy.isnan(block["log_w"]).any() else float(ess(block["log_w"]))
    line = SampleLine(plan.name, number, plan.block * plan.chains, ess=quality, cpu_s=block["cpu_s"])
    return line, arrays


def _chain_blocks(setup: Setup, plan: Plan, numbers: list[int], folder: RunFolder, progress: Progress) -> Blocks:
    target, begun, stride = setup.target, time.process_time(), weighing.every(setup, plan)
    with_field = bool(setup.recipe.fields_every or stride)
    measure = replicas.measure_of(target, plan.settings, with_field)
    key, thin = setup.stream(plan.name), plan.settings.thin
    kernel, field = chains.begun(setup, plan, folder, numbers[0], measure, progress)
    idle = 0 if numbers[0] * plan.block <= plan.warmup else None
    for number in progress.stop.until(numbers):
        # the cache is rebuilt at each block, as when an interrupted run resumes from the file of a block
        state, records = kernels.run(kernel, key, kernel.init(field), plan.block, number * plan.block, measure, thin)
        field = state.field
        observables, fields = records["observables"] if with_field else (records["observables"], None)
        arrays = _chain_arrays(setup, plan, number, observables, fields, records["info"])
        idle = _idle(plan, number, arrays, records, idle)
        arrays |= {path: setup.backend.to_numpy(part) for path, part in spaces.paths(field, "last").items()}
        acceptance = float(numpy.mean(arrays["accepted"])) if "accepted" in arrays else None
        cpu = time.process_time() - begun
        if stride:
            arrays |= weighing.weighed(setup, plan, fields, kept_draws(plan, number, stride))
        begun = time.process_time()
        yield SampleLine(plan.name, number, plan.block * plan.chains, acceptance=acceptance, cpu_s=cpu), arrays


def _idle(plan: Plan, number: int, arrays: dict[str, Any], records: Any, idle: int | None) -> int | None:
    """How many measured steps there were in which nothing was ever accepted; None once something was.

    Raises ChainStopped when they are too many to be bad luck.
    """
    measured = arrays.get("accepted", numpy.ones(1))[max(0, plan.warmup - number * plan.block) :]
    if idle is None or measured.any():
        return None
    idle += measured.size * plan.settings.thin
    if idle < NEVER:
        return idle
    changes = _of_steps(records["info"], "dH")
    undefined = any(bool(numpy.isnan(backends.of(change).to_numpy(change)).any()) for change in changes)
    raise ChainStopped(
        f"samplers.{plan.name} does not move: none of {idle} steps after the warm-up was accepted"
        f"{', and the energy change dH is NaN' if undefined else ''}. {_remedy(plan)}; finished blocks are kept"
    )


def _remedy(plan: Plan) -> str:
    words = vars(plan.settings)
    if "step_size" in words:
        tune = "" if plan.tuning else "set target_acceptance = 0.8, which tunes the step size in the warm-up, or "
        return f"With another --out {tune}take a step_size below {words['step_size']:g} or a longer warmup"
    return "With another --out take a smaller width or another sampler"


def _chain_arrays(setup: Setup, plan: Plan, number: int, observables: Any, field: Any, info: Any) -> dict[str, Any]:
    every, host = setup.recipe.fields_every, setup.backend.to_numpy
    arrays = {f"observables/{name}": host(array) for name, array in observables.items()}
    for name in SHARES:
        if found := _of_steps(info, name):
            arrays[name] = numpy.mean([_of_chains(host(array)) for array in found], axis=0)
    if plan.settings.thin == 1 and (changes := [array for array in _of_steps(info, "dH") if array.ndim == 2]):
        arrays["dH"] = host(changes[0])
    if swaps := _of_steps(info, "swapped"):
        arrays["swapped"] = host(swaps[0])
    if every:
        kept = kept_draws(plan, number, every)
        arrays |= {path: host(part)[kept] for path, part in spaces.paths(field).items()}
    return arrays


def _of_chains(marks: numpy.ndarray) -> numpy.ndarray:
    """Marks `(draw, chain)`, averaged over replicas where there are some."""
    return marks.astype(float).reshape(*marks.shape[:2], -1).mean(axis=-1)


def _of_steps(info: Any, name: str) -> list[Any]:
    """What the kernels of a step say of it under a name."""
    return [array for path, array in paths(info).items() if path.split(".")[-1] == name]


def kept_draws(plan: Plan, number: int, every: int) -> list[int]:
    """Return the draws of a block whose configurations are kept in the ensemble, counted within the block."""
    first = number * plan.block - plan.warmup
    return [draw for draw in range(plan.block) if 0 <= first + draw < plan.draws and (first + draw) % every == 0]
