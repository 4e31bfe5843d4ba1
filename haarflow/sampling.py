"""The samplers of a run, block by block: draw, commit the block, go on where the last committed block ended.

A block's file holds `observables/NAME (draw, chain)`, `accepted`, `log_w` for flows, the kept configurations `field`,
and for Markov chains `last`, the fields the next block starts from. Warm-up draws are blocks like others; they are
dropped when the ensemble is composed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy

from haarflow import assemble
from haarflow.backends import Backend
from haarflow.backends.tree import paths
from haarflow.core import kernels
from haarflow.core.statistics import ess
from haarflow.flows.farm import farm
from haarflow.flows.samplers import DrawBlock
from haarflow.progress import Progress
from haarflow.runfolder import RunFolder
from haarflow.settings import Recipe


@dataclass(frozen=True)
class Plan:
    """How one sampler's draws are cut: chains, draws dropped and kept, draws a block."""

    name: str
    settings: Any
    chains: int
    warmup: int
    draws: int
    block: int

    @property
    def total(self) -> int:
        return self.warmup + self.draws

    @property
    def blocks(self) -> int:
        return -(-self.total // self.block)

    @property
    def is_flow(self) -> bool:
        return self.settings.kind.startswith("flow-")


def plan(recipe: Recipe, name: str) -> Plan:
    """Return the plan of one sampler of a recipe.

    >>> from haarflow.recipes import load
    >>> plan(load("u1-tiny"), "hmc").blocks
    4
    """
    settings = recipe.samplers[name]
    chains, warmup = getattr(settings, "chains", 1), getattr(settings, "warmup", 0)
    block = assemble.block_draws(recipe, settings, chains, warmup + settings.draws)
    return Plan(name, settings, chains, warmup, settings.draws, block)


def sample(
    recipe: Recipe,
    name: str,
    folder: RunFolder,
    backend: Backend,
    flow: tuple[Any, Any, Any] | None,
    progress: Progress,
    executor: Executor | None = None,
) -> None:
    """Draw the blocks of one sampler that the folder has not yet; `flow` is (model, host parameters, condition)."""
    todo = plan(recipe, name)
    if todo.is_flow:
        missing = [number for number in range(todo.blocks) if not folder.block(name, number).exists()]
        draw = _flow_blocks(recipe, todo, backend, flow, executor)
    else:
        first = next(number for number in range(todo.blocks + 1) if not folder.block(name, number).exists())
        missing = list(range(first, todo.blocks))
        draw = _chain_blocks(recipe, todo, backend, flow, folder)
    with progress.task(f"{name}", todo.blocks, todo.blocks - len(missing)) as task:
        for number, (arrays, line) in draw(missing):
            line = {"stage": "sample", "sampler": name, "block": number, **line}
            folder.log(line)
            folder.write_block(name, number, arrays)
            task.advance(_shown(line))


def _shown(line: dict[str, Any]) -> dict[str, float]:
    return {word: line[word] for word in ("acceptance", "ess") if line.get(word) is not None}


def _flow_blocks(
    recipe: Recipe, todo: Plan, backend: Backend, flow: tuple[Any, Any, Any] | None, executor: Executor | None
) -> Callable[[list[int]], Any]:
    if flow is None:
        raise ValueError(f"samplers.{todo.name}: needs a flow, and this recipe has none")
    model, params, condition = flow
    host_key = numpy.asarray(backend.to_numpy(assemble.stream(recipe.seed, todo.name, backend)))
    job = DrawBlock(
        model,
        assemble.theory_of(recipe),
        todo.block * todo.chains,
        backend,
        params,
        (int(host_key[0]), int(host_key[1])),
        assemble.couplings_of(recipe),
        condition,
        assemble.measure_of,
        keep_fields=bool(recipe.fields_every),
    )

    def draw(numbers: list[int]) -> Any:
        for number, block in farm(job, numbers, executor, ahead=2 * _workers(executor)):
            yield number, _flow_arrays(block, todo)

    return draw


def _workers(executor: Executor | None) -> int:
    return getattr(executor, "_max_workers", 4) if executor is not None else 1


def _flow_arrays(block: dict[str, Any], todo: Plan) -> tuple[dict[str, Any], dict[str, Any]]:
    def by_chain(array: Any) -> Any:
        return array.reshape(todo.block, todo.chains, *array.shape[1:])

    arrays = {f"observables/{name}": by_chain(array) for name, array in block["observables"].items()}
    arrays["log_w"] = by_chain(block["log_w"])
    if block["field"] is not None:
        arrays["field"] = by_chain(block["field"])
    line = {"draws": todo.block * todo.chains, "ess": ess(block["log_w"]), "cpu_s": block["cpu_s"]}
    return arrays, line


def _chain_blocks(
    recipe: Recipe, todo: Plan, backend: Backend, flow: tuple[Any, Any, Any] | None, folder: RunFolder
) -> Callable[[list[int]], Any]:
    theory, couplings = assemble.theory_of(recipe), tuple(assemble.couplings_of(recipe).items())
    if flow is not None:
        flow = (flow[0], _on(backend, flow[1]), flow[2])
    kernel = assemble.kernel_of(recipe, todo.settings, flow)
    measure = assemble.measure_of(theory, couplings, bool(recipe.fields_every))
    key = assemble.stream(recipe.seed, todo.name, backend)

    def draw(numbers: list[int]) -> Any:
        begun, field = time.process_time(), None
        if numbers:
            field = _start(recipe, todo, backend, folder, numbers[0])
        if (
            numbers
            and numbers[0] == 0
            and todo.warmup
            and "hmc" in getattr(todo.settings, "kernels", (todo.settings.kind,))
        ):
            field = _settled(recipe, todo, backend, kernel, measure, field)
        for number in numbers:
            # the cache is rebuilt at each block, as it is when a killed run goes on from the block's file
            state, records = kernels.run(
                kernel, key, kernel.init(field), todo.block, number * todo.block, measure, todo.settings.thin
            )
            field = state.field
            arrays = _chain_arrays(recipe, todo, backend, number, records)
            arrays["last"] = backend.to_numpy(field)
            acceptance = float(numpy.mean(arrays["accepted"])) if "accepted" in arrays else None
            cpu = time.process_time() - begun
            begun = time.process_time()
            yield number, (arrays, {"draws": todo.block * todo.chains, "acceptance": acceptance, "cpu_s": cpu})

    return draw


def _settled(recipe: Recipe, todo: Plan, backend: Backend, kernel: Any, measure: Any, field: Any) -> Any:
    """The start after one block with a quarter of HMC's step size.

    From a disordered start leapfrog's error in the energy is as large as the energy that has to go, and with the full
    step nothing would ever be accepted.
    """
    key = assemble.stream(recipe.seed, f"{todo.name} settle", backend)
    gentler = kernel.with_values(_gentler(kernel.values))
    state, _ = kernels.run(gentler, key, gentler.init(field), todo.block, 0, measure, todo.settings.thin)
    return state.field


def _gentler(values: Any) -> Any:
    if isinstance(values, tuple):
        return tuple(_gentler(part) for part in values)
    return {**values, "step_size": 0.25 * values["step_size"]} if "step_size" in values else values


def _on(backend: Backend, params: Any) -> Any:
    from haarflow.backends.tree import tree_map

    return tree_map(backend.asarray, params)


def _start(recipe: Recipe, todo: Plan, backend: Backend, folder: RunFolder, number: int) -> Any:
    if number:
        return backend.asarray(folder.read_block(todo.name, number - 1)["last"])
    key = assemble.stream(recipe.seed, f"{todo.name} start", backend)
    return assemble.hot_start(recipe, key, todo.chains, backend.dtype)


def _chain_arrays(recipe: Recipe, todo: Plan, backend: Backend, number: int, records: Any) -> dict[str, Any]:
    observables, field = records["observables"] if recipe.fields_every else (records["observables"], None)
    arrays = {f"observables/{name}": backend.to_numpy(array) for name, array in observables.items()}
    accepted = [array for name, array in paths(records["info"]).items() if name.split(".")[-1] == "accepted"]
    if accepted:
        arrays["accepted"] = numpy.mean([backend.to_numpy(array).astype(float) for array in accepted], axis=0)
    if field is not None:
        kept = kept_draws(recipe, todo, number)
        arrays["field"] = backend.to_numpy(field)[kept]
    return arrays


def kept_draws(recipe: Recipe, todo: Plan, number: int) -> list[int]:
    """The draws of a block whose configurations go into the ensemble, counted within the block."""
    first, every = number * todo.block - todo.warmup, recipe.fields_every
    return [draw for draw in range(todo.block) if 0 <= first + draw < todo.draws and (first + draw) % every == 0]
