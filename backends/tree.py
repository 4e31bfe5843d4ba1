"""Trees: nested dicts, tuples, lists and NamedTuples of arrays, the shape of every state and parameter set.

Dicts are walked in sorted order of their keys, `None` is a tree without leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from haarflow.backends.types import Tree


def flatten(tree: Tree) -> tuple[list, Callable[[list], Tree]]:
    """Return the leaves of a tree and the function that puts such a list back into the tree's form.

    >>> leaves, rebuild = flatten({"b": 2, "a": (1, None)})
    >>> leaves, rebuild([10, 20])
    ([1, 2], {'a': (10, None), 'b': 20})
    """
    collected: list = []
    _collect(tree, collected)

    def rebuild(values: list) -> Tree:
        if len(values) != len(collected):
            raise ValueError(f"this tree has {len(collected)} leaves, got {len(values)}")
        return values[0] if collected and collected[0] is tree else _build(tree, iter(values))

    return collected, rebuild


def leaves(tree: Tree) -> list:
    """Return the leaves of a tree in order.

    >>> leaves({"w": 1.0, "b": (2.0, None)})
    [2.0, 1.0]
    """
    collected: list = []
    _collect(tree, collected)
    return collected


def tree_map(f: Callable, tree: Tree, *others: Tree) -> Tree:
    """Apply `f` leaf by leaf to trees of one form.

    >>> tree_map(lambda a, b: a + b, {"x": 1}, {"x": 2})
    {'x': 3}
    """
    first, rebuild = flatten(tree)
    rest = [leaves(other) for other in others]
    for other in rest:
        if len(other) != len(first):
            raise ValueError(f"trees of one form wanted, got {len(first)} and {len(other)} leaves")
    return rebuild([f(*values) for values in zip(first, *rest, strict=True)])


def paths(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """Return the leaves under their dotted paths, the names they carry in files.

    >>> paths({"0": {"w": 1.0}, "1": (2.0,)})
    {'0.w': 1.0, '1.0': 2.0}
    """
    if tree is None:
        return {}
    children = _children(tree)
    if children is None:
        return {prefix: tree}
    found: dict[str, Any] = {}
    for name, child in children:
        found.update(paths(child, f"{prefix}.{name}" if prefix else name))
    return found


def _children(tree: Tree) -> list[tuple[str, Tree]] | None:
    if isinstance(tree, dict):
        return [(str(name), tree[name]) for name in sorted(tree)]
    if isinstance(tree, (tuple, list)):
        return [(str(number), child) for number, child in enumerate(tree)]
    return None


def _collect(tree: Tree, collected: list) -> None:
    if isinstance(tree, dict):
        for name in sorted(tree):
            _collect(tree[name], collected)
    elif isinstance(tree, (tuple, list)):
        for child in tree:
            _collect(child, collected)
    elif tree is not None:
        collected.append(tree)


def _build(tree: Tree, values) -> Tree:
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: _build(tree[name], values) for name in sorted(tree)}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*[_build(child, values) for child in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)(_build(child, values) for child in tree)
    return next(values)
