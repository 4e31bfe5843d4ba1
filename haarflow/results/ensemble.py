"""The ensemble file: every sampler's draws in one HDF5 file, (chain, draw) first.

    /                                attributes: format, recipe (TOML), theory, lattice, couplings, fields
    /SAMPLER                         attributes: kind, fields_every
    /SAMPLER/observables/NAME        (chain, draw[, n])
    /SAMPLER/accepted                (chain, draw)      acceptance of each step, if steps can be rejected
    /SAMPLER/dH                      (chain, draw)      HMC: the change of the energy, where a draw is one trajectory
    /SAMPLER/hits                    (chain, draw)      the share of flux hits that were accepted, where there are some
    /SAMPLER/swapped                 (chain, draw, pair) replicas: which neighbours were exchanged
    /SAMPLER/observables/NAME@ladder (chain, draw, replica)  replicas: an observable at every coupling
    /SAMPLER/log_w                   (chain, draw)      flows: log weight of each proposal
    /SAMPLER/target_log_w/CHAIN      (chain, kept)      flows: log weights of configurations of the Markov chain CHAIN
    /SAMPLER/fields[/PART]           (chain, kept, *field)  every fields_every-th configuration

The draws of a reweighted sampler are those of the flow and count with their weights; all others are draws from e^{-S}.
The file is composed from complete blocks under a temporary name and renamed when it is complete, because a growing HDF5
file has no atomic commit. It contains no times, so that the same recipe gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import h5py
import numpy

from haarflow import backends
from haarflow.core import files
from haarflow.core.untrusted import check_regular, reading
from haarflow.flows.sampling.draws import metropolis
from haarflow.results import stored
from haarflow.run import weighing
from haarflow.run.build import Plan, Setup, stream
from haarflow.run.runfolder import RunFolder
from haarflow.run.samplers import SAMPLERS, row_of
from haarflow.run.stages.sampling import kept_draws
from haarflow.run.toml import to_toml

FORMAT = "haarflow-ensemble 1"
WHAT = "an ensemble file of this version"
STEPS = ("dH", "hits", "swapped")


class EnsembleError(ValueError):
    """A file that is not a complete ensemble file of this version."""


class Sampled(NamedTuple):
    """One sampler's part of an ensemble: observables `(chain, draw[, n])`, and `log_w`, `accepted` `(chain, draw)`.

    `steps` holds what a chain's steps record of themselves beside `accepted`, `(chain, draw)` by name, see STEPS.
    `target_log_w` holds, of a flow, its log weights `(chain, kept)` of configurations of each Markov chain beside it.
    An observable that is complex in the file is there as two real ones, NAME.re and NAME.im.
    """

    kind: str
    observables: dict[str, numpy.ndarray]
    log_w: numpy.ndarray | None
    accepted: numpy.ndarray | None
    target_log_w: Mapping[str, numpy.ndarray] = MappingProxyType({})
    steps: Mapping[str, numpy.ndarray] = MappingProxyType({})

    @property
    def weighted(self) -> bool:
        """Whether the draws count with weights rather than as draws from e^{-S}."""
        return SAMPLERS[self.kind].draws == "weighted"


class Ensemble(NamedTuple):
    """The contents of an ensemble file without its configurations, which `fields(path, sampler)` reads."""

    recipe: str
    theory: str
    lattice: tuple[int, ...]
    couplings: dict[str, float]
    samplers: dict[str, Sampled]


def compose(setup: Setup, folder: RunFolder) -> None:
    """Compose the blocks of all samplers into ensemble.h5.

    Raises OSError, such as for a full disk, without changing an old ensemble.h5.
    """
    recipe = setup.recipe
    with files.replacing(folder.ensemble) as temporary, h5py.File(temporary, "w", libver="v110", locking=False) as file:
        file.attrs["format"] = FORMAT
        file.attrs["recipe"] = to_toml(recipe)
        file.attrs["theory"] = recipe.theory.name
        file.attrs["lattice"] = list(recipe.lattice)
        file.attrs["couplings"] = json.dumps(setup.target.couplings)
        for name in sorted(recipe.samplers):
            _compose_sampler(file.create_group(name), setup, setup.plans[name], folder)


def _compose_sampler(group: Any, setup: Setup, plan: Plan, folder: RunFolder) -> None:
    every = setup.recipe.fields_every
    group.attrs["kind"] = plan.settings.kind
    group.attrs["fields_every"] = every
    kept = slice(plan.warmup, plan.total)
    columns = _columns(plan, folder)
    if row_of(plan.settings).draws == "accepted":
        indices, accepted = metropolis(columns["log_w"], _key(setup, plan))
        for name in columns:
            if name.startswith("observables/"):
                columns[name] = _follow(columns[name], indices)
        columns["accepted"] = accepted
        _write_chain_fields(group, every, plan, folder, indices[kept])
    elif plan.from_flow:
        _write_chain_fields(group, every, plan, folder, numpy.arange(plan.draws)[:, None])
    else:
        _write_kept_fields(group, every, plan, folder)
    for name, column in sorted(columns.items()):
        group.create_dataset(name, data=numpy.moveaxis(column[kept], 0, 1))
    if plan.from_flow:
        _write_target_weights(group, setup, plan, folder)


def _write_target_weights(group: Any, setup: Setup, plan: Plan, folder: RunFolder) -> None:
    """Write the flow's log weights of the configurations of each chain that ran beside it."""
    name = f"{weighing.GROUP}/{weighing.flow_of(setup, plan.name)}"
    others = ("field", "last", "observables", "accepted", "log_w")
    for chain in (other for other in setup.plans.values() if not other.from_flow):
        blocks = [folder.read_block(chain.name, number, without=others) for number in range(chain.blocks)]
        if rows := [block[name] for block in blocks if name in block]:
            group.create_dataset(f"{weighing.GROUP}/{chain.name}", data=numpy.concatenate(rows).T)


def _columns(plan: Plan, folder: RunFolder) -> dict[str, numpy.ndarray]:
    """All arrays except configurations, `(draw, chain[, n])`, warm-up included."""
    blocks = [
        folder.read_block(plan.name, number, without=("field", "last", weighing.GROUP)) for number in range(plan.blocks)
    ]
    return {name: numpy.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _key(setup: Setup, plan: Plan) -> tuple[int, int]:
    words = stream(setup.recipe.seed, plan.name, backends.get("numpy"))
    return int(words[0]), int(words[1])


def _follow(column: numpy.ndarray, indices: numpy.ndarray) -> numpy.ndarray:
    """The proposals' values `(draw, chain[, n])` along the chains."""
    where = indices.reshape(*indices.shape, *(1,) * (column.ndim - 2))
    return numpy.take_along_axis(column, where, axis=0)


def _write_chain_fields(group: Any, every: int, plan: Plan, folder: RunFolder, indices: numpy.ndarray) -> None:
    """Write the configurations of the proposals `indices (draw, chain)`, read block by block."""
    if not every:
        return
    wanted = indices[::every]
    for number in range(plan.blocks):
        block = folder.read_block(plan.name, number)["field"]
        data = _fields_dataset(group, len(wanted), block)
        here = wanted - number * plan.block
        for draw, chain in zip(*numpy.nonzero((here >= 0) & (here < plan.block)), strict=True):
            data[chain, draw] = block[here[draw, chain], chain]


def _write_kept_fields(group: Any, every: int, plan: Plan, folder: RunFolder) -> None:
    if not every:
        return
    written, total = 0, -(-plan.draws // every)
    for number in range(plan.blocks):
        block = folder.read_block(plan.name, number)
        if count := len(kept_draws(plan, number, every)):
            for path in (name for name in sorted(block) if name.split("/")[0] == "field"):
                dataset = _fields_dataset(group, total, block[path], path.replace("field", "fields", 1))
                dataset[:, written : written + count] = numpy.moveaxis(block[path], 0, 1)
            written += count


def _fields_dataset(group: Any, kept: int, block: numpy.ndarray, name: str = "fields") -> Any:
    if name not in group:
        group.create_dataset(name, (block.shape[1], kept, *block.shape[2:]), block.dtype)
    return group[name]


def read(path: str | Path) -> Ensemble:
    """Return the contents of an ensemble file; raises EnsembleError if it is damaged or not an ensemble."""
    with _opened(path) as file, reading(path, EnsembleError, WHAT):
        return Ensemble(
            stored.text(file, "recipe"),
            stored.text(file, "theory"),
            stored.extents(file, "lattice"),
            stored.numbers(file, "couplings"),
            {name: _sampled(stored.group(file, name)) for name in file},
        )


def fields(path: str | Path, sampler: str) -> Iterator[Any]:
    """Yield the kept configurations of a sampler chain by chain, each `(kept, *field_shape)`, of several parts a dict of
    such arrays by name.
    """
    with _opened(path) as file:
        if sampler not in file or "fields" not in file[sampler]:
            raise EnsembleError(f"{path} contains no configurations of {sampler!r}: set fields_every in the recipe")
        with reading(path, EnsembleError, WHAT):
            parts, whole = _field_parts(stored.group(file, sampler))
        for chain in range(len(next(iter(parts.values())))):
            with reading(path, EnsembleError, WHAT):
                rows = {name: part[chain] for name, part in parts.items()}
            yield rows[""] if whole else rows


def _field_parts(group: Any) -> tuple[dict[str, Any], bool]:
    """The arrays of a sampler's configurations by the name of their part, and whether there is only one, without a name."""
    whole = isinstance(group["fields"], h5py.Dataset)
    inner = group if whole else stored.group(group, "fields")
    parts = {"": stored.dataset(group, "fields")} if whole else {name: stored.dataset(inner, name) for name in inner}
    if len({part.shape[:2] for part in parts.values()}) != 1 or any(part.ndim < 2 for part in parts.values()):
        raise ValueError("the configurations are not arrays of the same numbers of chains and draws")
    return parts, whole


def _opened(path: str | Path) -> h5py.File:
    if not Path(path).exists():
        raise EnsembleError(f"there is no ensemble file {path}")
    check_regular(path, EnsembleError)
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise EnsembleError(f"{path} is truncated or not an HDF5 file ({error})") from None
    try:
        with reading(path, EnsembleError, WHAT):
            found = file.attrs.get("format")
            if not isinstance(found, str) or found != FORMAT:
                raise EnsembleError(
                    f"{path} is not an ensemble file of this version: its format is {found!r:.80} instead of {FORMAT!r}"
                )
    except EnsembleError:
        file.close()
        raise
    return file


def real_parts(observables: dict[str, numpy.ndarray]) -> dict[str, numpy.ndarray]:
    """Return observables with a complex one, NAME, as the two real ones NAME.re and NAME.im: errors are those of numbers.

    >>> real_parts({"loop": numpy.asarray([1.0 + 2.0j])})
    {'loop.re': array([1.]), 'loop.im': array([2.])}
    """
    parts: dict[str, numpy.ndarray] = {}
    for name, values in observables.items():
        parts |= {f"{name}.re": values.real, f"{name}.im": values.imag} if values.dtype.kind == "c" else {name: values}
    return parts


def _sampled(group: Any) -> Sampled:
    inner, kind = stored.group(group, "observables"), stored.text(group, "kind")
    if kind not in SAMPLERS:
        raise ValueError(f"{group.name} is of the kind {kind!r:.80}, which is none of {', '.join(SAMPLERS)}")
    data = {name: stored.dataset(inner, name) for name in inner}
    columns = {name: stored.dataset(group, name) for name in ("log_w", "accepted") if name in group}
    shapes = {column.shape[:2] for column in data.values()} | {column.shape for column in columns.values()}
    if not data or len(shapes) != 1 or len(shape := shapes.pop()) != 2 or 0 in shape:
        raise ValueError(f"the series of {group.name} do not have the same number of chains and draws")
    if SAMPLERS[kind].draws == "weighted" and "log_w" not in columns:
        raise ValueError(f"{group.name} has no weights log_w")
    observables = real_parts({name: column[...] for name, column in data.items()})
    log_w, accepted = (columns[name][...] if name in columns else None for name in ("log_w", "accepted"))
    steps = {name: stored.dataset(group, name)[...] for name in STEPS if name in group}
    return Sampled(kind, observables, log_w, accepted, _beside(group), steps)


def _beside(group: Any) -> dict[str, numpy.ndarray]:
    """The log weights by each flow of a chain's configurations."""
    if weighing.GROUP not in group:
        return {}
    inner = stored.group(group, weighing.GROUP)
    return {name: stored.dataset(inner, name)[...] for name in inner}
