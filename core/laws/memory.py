"""The law that nothing computed before changes what is computed now, and how the library's memory is put aside to check it.

Caches of functions and module-level dicts, lists and sets outlive the objects that fill them. One keyed by less than what
its entries depend on gives the second lattice the first one's tables, and shows only when both are used in one process.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy

from haarflow.backends.tree import leaves
from haarflow.backends.types import Tree
from haarflow.core.laws.law import Verdict, judge, to_host, void

LIBRARY = "haarflow."
# lattices of one volume with permuted extents, by dimension; from d = 3 on some share their last extent, too
LATTICES = {
    1: ((4,), (6,)),
    2: ((4, 8), (8, 4)),
    3: ((4, 2, 2), (2, 4, 2), (2, 2, 4)),
    4: ((4, 2, 2, 2), (2, 4, 2, 2), (2, 2, 2, 4)),
}
MUTABLE = (dict, list, set)
# what a cached function returns, if it is machine code: it takes seconds to make again, and `equals_plain` checks it against
# array code on lattices with exchanged extents
PROGRAMS = ("Code", "Bodies")


def remembers_nothing(
    computations: Sequence[Callable[[], Tree]], owners: Sequence[Any] = (), **example: Any
) -> Verdict:
    """f_A after f_B is f_A alone, bit for bit, for computations A and B in either order.

    `computations` make their objects anew and return arrays; A and B should differ in as little as the cache's key could
    confuse: lattices of one volume with permuted extents, precisions, couplings, groups. Each is computed alone with empty
    caches, then all of them in one process, forwards and backwards. The modules of `owners` may have caches, too. The
    residual is the number of computations that gave something else; the law is void where one of them raises ValueError.

    >>> table = {}
    >>> remembers_nothing([lambda: 1.0, lambda: 2.0]).passed
    True
    """
    alone = []
    for compute in computations:
        with forgotten(owners):
            try:
                alone.append(_bits(compute()))
            except ValueError as refusal:
                return void(remembers_nothing, f"it does not fit the lattices of this law: {refusal}")
    wrong = []
    for order in (range(len(computations)), range(len(computations) - 1, -1, -1)):
        with forgotten(owners):
            wrong += [number for number in order if _bits(computations[number]()) != alone[number]]
    return judge(remembers_nothing, float(len(wrong)), 0.0, "bit for bit", computations=wrong, **example)


@contextmanager
def forgotten(owners: Sequence[Any] = ()) -> Iterator[None]:
    """Within this block caches of the library's functions, of PROGRAMS apart, are empty; afterwards they are as before.

    Its module-level dicts, lists and sets keep their entries, and lose those that the block added. So do those of the
    modules in which the classes of `owners` and of their fields are defined.

    >>> from haarflow.core.chains import metropolis
    >>> with forgotten():
    ...     _ = metropolis.colours((5,), 1)
    ...     inside = metropolis.colours.cache_info().currsize
    >>> inside
    1
    """
    places = [(place, name, value) for place in _places(owners) for name, value in list(vars(place).items())]
    caches = {id(value): value for _, _, value in places if _is_cache(value)}
    fresh = {key: lru_cache(**value.cache_parameters())(value.__wrapped__) for key, value in caches.items()}
    holders = [(place, name, value) for place, name, value in places if id(value) in caches]
    kept = [(value, value.copy()) for _, name, value in places if type(value) in MUTABLE and not name.startswith("__")]
    for place, name, value in holders:
        setattr(place, name, fresh[id(value)])
    try:
        yield
    finally:
        for place, name, value in holders:
            setattr(place, name, value)
        for value, before in kept:
            _restore(value, before)


def _is_cache(value: Any) -> bool:
    if not (hasattr(value, "cache_parameters") and hasattr(value, "__wrapped__")):
        return False
    code = getattr(value.__wrapped__, "__code__", None)
    if code is not None and not code.co_argcount:  # without arguments there is nothing to confuse
        return False
    returned = str(getattr(value.__wrapped__, "__annotations__", {}).get("return", ""))
    return not any(name in returned for name in PROGRAMS)


def _places(owners: Sequence[Any]) -> list[Any]:
    """The modules that may remember something, and the classes that they define."""
    names = {name for owner in owners for name in _modules_of(owner)}
    modules = [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and (name.startswith(LIBRARY) or name in names)
    ]
    classes = [
        value
        for module in modules
        for value in list(vars(module).values())
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    return [*modules, *classes]


def _modules_of(obj: Any) -> Iterator[str]:
    """The modules of the classes of which an object is made."""
    yield type(obj).__module__
    if isinstance(obj, (tuple, list)):
        for part in obj:
            yield from _modules_of(part)
    elif is_dataclass(obj) and not isinstance(obj, type):
        for entry in fields(obj):
            yield from _modules_of(getattr(obj, entry.name))
    elif callable(obj):
        yield str(getattr(obj, "__module__", ""))


def _restore(value: Any, before: Any) -> None:
    if value == before if not isinstance(value, dict) else value.keys() == before.keys():
        return
    value.clear()
    (value.extend if isinstance(value, list) else value.update)(before)


def _bits(tree: Tree) -> list[tuple[str, tuple[int, ...], bytes]]:
    arrays = [numpy.asarray(to_host(leaf)) for leaf in leaves(tree)]
    return [(str(array.dtype), array.shape, array.tobytes()) for array in arrays]
