"""Trees: nested dicts, tuples, lists and NamedTuples of arrays, the shape of every state and parameter set.

Dicts are traversed in the order of their sorted keys; `None` is a tree without leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from haarflow.backends.types import Tree

CONTAINERS = (dict, tuple, list)


def flatten(tree: Tree) -> tuple[list[Any], Callable[[list[Any]], Tree]]:
    """Return the leaves of a tree and the function that rebuilds the tree from such a list.

    >>> leaves, rebuild = flatten({"b": 2, "a": (1, None)})
    >>> leaves, rebuild([10, 20])
    ([1, 2], {'a': (10, None), 'b': 20})
    """
    collected: list[Any] = []
    _collect(tree, collected)

    def rebuild(values: list[Any]) -> Tree:
        if len(values) != len(collected):
            raise ValueError(f"this tree has {len(collected)} leaves, got {len(values)}")
        return values[0] if collected and collected[0] is tree else _build(tree, iter(values))

    return collected, rebuild


def leaves(tree: Tree) -> list[Any]:
    """Return the leaves of a tree in order.

    >>> leaves({"w": 1.0, "b": (2.0, None)})
    [2.0, 1.0]
    """
    collected: list[Any] = []
    _collect(tree, collected)
    return collected


def tree_map(f: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """Apply `f` leaf by leaf to trees of the same structure.

    >>> tree_map(lambda a, b: a + b, {"x": 1}, {"x": 2})
    {'x': 3}
    """
    if not (tree is None or isinstance(tree, CONTAINERS) or any(map(_is_container, others))):
        return f(tree, *others)  # a single array, the most frequent tree
    first, rebuild = flatten(tree)
    rest = [leaves(other) for other in others]
    for other in rest:
        if len(other) != len(first):
            raise ValueError(f"trees of the same structure wanted, got {len(first)} and {len(other)} leaves")
    return rebuild([f(*values) for values in zip(first, *rest, strict=True)])


def paths(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """Return the leaves under their dotted paths, their names in files.

    >>> paths({"0": {"w": 1.0}, "1": (2.0,)})
    {'0.w': 1.0, '1.0': 2.0}
    """
    if tree is None:
        return {}
    children = _children(tree)
    if children is None:
        return {prefix: tree}
    by_path: dict[str, Any] = {}
    for name, child in children:
        by_path.update(paths(child, f"{prefix}.{name}" if prefix else name))
    return by_path


def part_names(tree: Tree) -> tuple[str, ...] | None:
    """Return the names of the parts of a NamedTuple, None for any other tree.

    >>> from haarflow.backends.types import State
    >>> part_names(State(1.0)), part_names((1.0, 2.0))
    (('field', 'cache'), None)
    """
    # `_fields` is the only mark of a NamedTuple
    return getattr(tree, "_fields", None) if isinstance(tree, tuple) else None


def _is_container(tree: Tree) -> bool:
    return tree is None or isinstance(tree, CONTAINERS)


def _children(tree: Tree) -> list[tuple[str, Tree]] | None:
    if isinstance(tree, dict):
        return [(str(name), tree[name]) for name in sorted(tree)]
    if isinstance(tree, (tuple, list)):
        return [(str(index), child) for index, child in enumerate(tree)]
    return None


def _collect(tree: Tree, collected: list[Any]) -> None:
    if isinstance(tree, dict):
        for name in sorted(tree):
            _collect(tree[name], collected)
    elif isinstance(tree, (tuple, list)):
        for child in tree:
            _collect(child, collected)
    elif tree is not None:
        collected.append(tree)


def _build(tree: Tree, values: Iterator[Any]) -> Tree:
    if tree is None:
        return None
    if isinstance(tree, dict):
        return {name: _build(tree[name], values) for name in sorted(tree)}
    if part_names(tree) is not None:
        return type(tree)(*[_build(child, values) for child in tree])
    if isinstance(tree, (tuple, list)):
        return type(tree)(_build(child, values) for child in tree)
    return next(values)
