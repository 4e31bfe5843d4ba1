"""The samplers of a run, block by block: draw, write the block, continue from the last block written.

The file of a block holds `observables/NAME (draw, chain)`, `accepted`, `log_w` for flows, the kept configurations
`field`, and for Markov chains `last`, the fields from which the next block starts. A field of several parts has an entry
for each, `field/U`, `last/U`, ... Warm-up draws are written in blocks like all others and dropped when the ensemble is
composed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import numpy

from haarflow.backends.tree import flatten, paths
from haarflow.core import spaces
from haarflow.core.chains import kernel as kernels
from haarflow.core.chains.kernel import Kernel
from haarflow.core.parts import described
from haarflow.core.statistics import ess
from haarflow.flows.sampling.draws import DrawBlock
from haarflow.flows.sampling.farm import farm
from haarflow.run.build import Plan, Setup
from haarflow.run.progress import Progress
from haarflow.run.records import SampleLine
from haarflow.run.runfolder import RunFolder
from haarflow.run.target import measure_of

Block = tuple[SampleLine, dict[str, Any]]
Blocks = Iterator[Block]


def sample(setup: Setup, name: str, folder: RunFolder, progress: Progress, executor: Executor | None = None) -> None:
    """Draw the blocks of one sampler that are not yet in the folder."""
    plan = setup.plans[name]
    if plan.from_flow:
        missing = [number for number in range(plan.blocks) if not folder.block(name, number).exists()]
        blocks = _flow_blocks(setup, plan, missing, executor)
    else:
        first = next(number for number in range(plan.blocks + 1) if not folder.block(name, number).exists())
        missing = list(range(first, plan.blocks))
        blocks = _chain_blocks(setup, plan, missing, folder)
    with progress.task(name, plan.blocks, plan.blocks - len(missing), setup.waiting) as task:
        for line, arrays in blocks:
            folder.write_line(line)
            folder.write_block(name, line.block, arrays)
            task.advance(_shown(line))


def _shown(line: SampleLine) -> dict[str, float]:
    shown = {"acceptance": line.acceptance, "ess": line.ess}
    return {word: value for word, value in shown.items() if value is not None}


def _flow_blocks(setup: Setup, plan: Plan, numbers: list[int], executor: Executor | None) -> Blocks:
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
    return 1 if executor is None else getattr(executor, "_max_workers", 4)  # an Executor does not say how many it has


def _flow_block(block: dict[str, Any], plan: Plan, number: int) -> Block:
    def by_chain(array: Any) -> Any:
        return array.reshape(plan.block, plan.chains, *array.shape[1:])

    arrays = {f"observables/{name}": by_chain(array) for name, array in block["observables"].items()}
    arrays["log_w"] = by_chain(block["log_w"])
    if block["field"] is not None:
        arrays["field"] = by_chain(block["field"])
    line = SampleLine(plan.name, number, plan.block * plan.chains, ess=float(ess(block["log_w"])), cpu_s=block["cpu_s"])
    return line, arrays


def _chain_blocks(setup: Setup, plan: Plan, numbers: list[int], folder: RunFolder) -> Blocks:
    target, kernel = setup.target, setup.kernels[plan.name]
    measure = measure_of(target.theory, tuple(target.couplings.items()), bool(setup.recipe.fields_every))
    key, thin = setup.stream(plan.name), plan.settings.thin
    begun, field = time.process_time(), None
    if numbers:
        field = _start(setup, plan, folder, numbers[0])
    if numbers and numbers[0] == 0 and plan.warmup and _has_step(kernel.values):
        field = _settled(setup, plan, kernel, measure, field)
    for number in numbers:
        # the cache is rebuilt at each block, as when an interrupted run resumes from the file of a block
        state, records = kernels.run(kernel, key, kernel.init(field), plan.block, number * plan.block, measure, thin)
        field = state.field
        arrays = _chain_arrays(setup, plan, number, records)
        arrays |= {path: setup.backend.to_numpy(part) for path, part in spaces.paths(field, "last").items()}
        acceptance = float(numpy.mean(arrays["accepted"])) if "accepted" in arrays else None
        cpu = time.process_time() - begun
        begun = time.process_time()
        yield SampleLine(plan.name, number, plan.block * plan.chains, acceptance=acceptance, cpu_s=cpu), arrays


def _settled(setup: Setup, plan: Plan, kernel: Kernel, measure: Any, field: Any) -> Any:
    """The start after one block with a quarter of HMC's step size.

    At a disordered start the energy error of leapfrog is as large as the energy that must be dissipated; with the full
    step size no trajectory would ever be accepted.
    """
    key = setup.stream(f"{plan.name} settle")
    gentler = kernel.with_values(_gentler(kernel.values))
    state, _ = kernels.run(gentler, key, gentler.init(field), plan.block, 0, measure, plan.settings.thin)
    return state.field


def _has_step(values: Any) -> bool:
    """Whether a kernel, or one of a cycle's kernels, has a step size."""
    return any(map(_has_step, values)) if isinstance(values, tuple) else "step_size" in values


def _gentler(values: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(_gentler(part) for part in values)
    return {**values, "step_size": 0.25 * values["step_size"]} if "step_size" in values else values


def _start(setup: Setup, plan: Plan, folder: RunFolder, number: int) -> Any:
    if number:
        block, (parts, rebuild) = (
            folder.read_block(plan.name, number - 1),
            flatten(described(setup.target.theory).spaces),
        )
        names = list(spaces.paths(rebuild(parts), "last"))
        return rebuild([setup.backend.asarray(block[name]) for name in names])
    return setup.target.hot_start(setup.stream(f"{plan.name} start"), plan.chains, setup.backend.dtype)


def _chain_arrays(setup: Setup, plan: Plan, number: int, records: Any) -> dict[str, Any]:
    every, host = setup.recipe.fields_every, setup.backend.to_numpy
    observables, field = records["observables"] if every else (records["observables"], None)
    arrays = {f"observables/{name}": host(array) for name, array in observables.items()}
    accepted = [array for name, array in paths(records["info"]).items() if name.split(".")[-1] == "accepted"]
    if accepted:
        arrays["accepted"] = numpy.mean([host(array).astype(float) for array in accepted], axis=0)
    if field is not None:
        kept = kept_draws(plan, number, every)
        arrays |= {path: host(part)[kept] for path, part in spaces.paths(field).items()}
    return arrays


def kept_draws(plan: Plan, number: int, every: int) -> list[int]:
    """Return the draws of a block whose configurations are kept in the ensemble, counted within the block."""
    first = number * plan.block - plan.warmup
    return [draw for draw in range(plan.block) if 0 <= first + draw < plan.draws and (first + draw) % every == 0]
