"""What a run draws of a sampler with a ladder of couplings: the start of all replicas, and what is measured of each.

A recipe's numbers are those of the replica at its couplings. Of the others the observables of the report are kept, as
`NAME@ladder (draw, chain, replica)` among the block's observables.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Key, Tree
from haarflow.core.chains.tempering import as_arrays, replicas_of
from haarflow.core.parts import described
from haarflow.run import target as targets
from haarflow.run.samplers import rungs_of
from haarflow.run.target import Target

ON_LADDER = "@ladder"


def own_rung(couplings: Mapping[str, float], settings: Any) -> int:
    """Return the number of the replica at the recipe's couplings.

    Raises ValueError where there is none.

    >>> from haarflow.run.sampler_settings import ReplicaExchange
    >>> own_rung({"beta": 3.0}, ReplicaExchange(ladder={"beta": (2.0, 3.0)}))
    1
    """
    rungs = list(zip(*settings.ladder.values(), strict=True))
    return rungs.index(tuple(couplings[name] for name in settings.ladder))


def couplings_at(couplings: Mapping[str, float], settings: Any, rung: int) -> dict[str, float]:
    """Return the couplings of one replica.

    >>> from haarflow.run.sampler_settings import ReplicaExchange
    >>> couplings_at({"beta": 3.0, "lam": 0.5}, ReplicaExchange(ladder={"beta": (2.0, 3.0)}), 0)
    {'beta': 2.0, 'lam': 0.5}
    """
    return dict(couplings) | {name: values[rung] for name, values in settings.ladder.items()}


def hot_start(target: Target, settings: Any, key: Key, chains: int, dtype: str) -> Tree:
    """Return disordered fields of the chains, of every replica of each where there are some."""
    rungs = rungs_of(settings)
    start = target.hot_start(key, chains * max(rungs, 1), dtype)
    return tree_map(lambda part: part.reshape(chains, rungs, *part.shape[1:]), start) if rungs else start


def measure_of(target: Target, settings: Any, with_field: bool = False) -> Any:
    """Return the function that measures the fields of a sampler's chains, see `target.measure_of`."""
    couplings = tuple(target.couplings.items())
    if not rungs_of(settings):
        return targets.measure_of(target.theory, couplings, with_field)
    ladder = tuple(settings.ladder.items())
    return _measure(target.theory, couplings, ladder, own_rung(target.couplings, settings), with_field)


@lru_cache(maxsize=16)
def _measure(theory: Any, couplings: Any, ladder: Any, own: int, with_field: bool) -> Any:
    """The same function object for the same arguments, so that it compiles once."""
    observables, kept = targets.observables_of(theory), reported(theory)

    def measure(field: Tree) -> Any:
        values = observables(field, as_arrays(dict(couplings) | dict(ladder), field))
        found: dict[str, Array] = {name: value[:, own, ...] for name, value in values.items()}
        found |= {f"{name}{ON_LADDER}": value for name, value in values.items() if name in kept and value.ndim == 2}
        return (found, replicas_of(theory, field)[own]) if with_field else found

    return measure


def reported(theory: Any) -> tuple[str, ...]:
    """Return the observables that are kept of every replica: those of the theory's report, and those that are odd.

    >>> from haarflow.theories import U1Gauge
    >>> reported(U1Gauge((4, 4)))[:2]
    ('plaquette', 'Q')
    """
    offered = described(theory)
    return tuple(dict.fromkeys([*(offered.part("summary") or ("action",)), *offered.symmetries.odd]))
