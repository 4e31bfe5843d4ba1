"""The spaces of a field: for each of its arrays the group of the values and the shape of one configuration.

A field is an array `(*batch, *shape)`, or a NamedTuple (or dict) of such arrays that share the batch axes. Its spaces have
the same structure, with a `Space` in place of each array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from haarflow.backends.tree import CONTAINERS, part_names
from haarflow.backends.types import Array, Group, Tree


@dataclass(frozen=True)
class Space:
    """Where the values of one array of a field live: the group of its elements and the shape of one configuration.

    >>> from haarflow.core.groups.additive import U1
    >>> Space(U1(), (2, 4, 4)).shape
    (2, 4, 4)
    """

    group: Group
    shape: tuple[int, ...]


class Pair(NamedTuple):
    """Gauge links U and the pseudofermion field phi on them, with the same batch axes; or the spaces of both."""

    U: Any
    phi: Any


def batch_shape(spaces: Tree, field: Tree, owner: str = "") -> tuple[int, ...]:
    """Return the batch axes of a field; `owner` is the theory's name in messages.

    Raises ValueError when the parts of the field are not those of the spaces, when the last axes of a part are not the
    shape of its space, and when the parts have different batch axes.

    >>> import numpy as np
    >>> from haarflow.core.groups.additive import Real
    >>> batch_shape(Space(Real(), (4, 4)), np.zeros((3, 4, 4)))
    (3,)
    """
    if isinstance(spaces, Space) and not isinstance(field, CONTAINERS):
        return _batch("field", spaces.shape, field, owner)
    parts, wanted = paths(field), paths(spaces)
    if list(parts) != list(wanted):
        subject = f"{owner} wants a field" if owner else "a field"
        verb = "" if owner else " wanted"
        raise ValueError(f"{subject} of the parts {', '.join(wanted)}{verb}, got {', '.join(parts) or 'none'}")
    shapes = [_batch(path, wanted[path].shape, part, owner) for path, part in parts.items()]
    if len(set(shapes)) != 1:
        raise ValueError(f"the parts of a field share their batch axes, got {dict(zip(parts, shapes, strict=True))}")
    return shapes[0]


def _batch(path: str, shape: tuple[int, ...], part: Array, owner: str) -> tuple[int, ...]:
    batch = part.ndim - len(shape)
    if batch < 0 or tuple(part.shape[batch:]) != tuple(shape):
        wanted = f"{owner} wants {'fields' if path == 'field' else path} of" if owner else f"{path} wants the"
        raise ValueError(
            f"{wanted} shape (*batch, {', '.join(map(str, shape))}), got {tuple(part.shape)}: the lattice axes come last"
        )
    return tuple(part.shape[:batch])


def paths(field: Tree, name: str = "field") -> dict[str, Any]:
    """Return the parts of a field, or its spaces, under their names in files: "field", or "field/U", "field/phi" ...

    Raises TypeError for a tuple or a list, whose entries have no names.

    >>> import numpy as np
    >>> list(paths(np.zeros(2))), list(paths({"U": np.zeros(2), "phi": np.zeros(2)}))
    (['field'], ['field/U', 'field/phi'])
    """
    children = _children(field)
    if children is None:
        return {name: field}
    return {path: leaf for child, part in children for path, leaf in paths(part, f"{name}/{child}").items()}


def _children(field: Tree) -> list[tuple[str, Tree]] | None:
    """The named parts of a field, in the order in which trees are traversed; None for an array."""
    if isinstance(field, dict):
        return [(str(name), field[name]) for name in sorted(field)]
    if not isinstance(field, (tuple, list)):
        return None
    names = part_names(field)
    if names is None:
        raise TypeError(
            f"a field is an array, a NamedTuple or a dict of arrays, got a {type(field).__name__}: name its parts"
        )
    return list(zip(names, field, strict=True))
