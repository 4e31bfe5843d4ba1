"""What is taken from an HDF5 file that may come from anywhere: groups and arrays that lie in it, of sizes that it really stores.

A link to another file, a link in a loop, an array that claims more numbers than the file can hold: each is refused before it
is followed or read.
"""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy

COMPRESSION = 1024  # the largest ratio of an array's bytes to its bytes in the file
KINDS = "biufc"  # types of arrays: booleans, whole, real and complex numbers


def group(parent: Any, name: str) -> Any:
    """Return a group that lies in its parent; raises ValueError for a link, an array, or nothing."""
    return _member(parent, name, h5py.Group, "group")


def dataset(parent: Any, name: str) -> Any:
    """Return an array of numbers that lies in its parent, not yet read.

    Raises ValueError for a link, a group, other types of numbers, data in another file, and sizes beyond what is stored.
    """
    data = _member(parent, name, h5py.Dataset, "array")
    where = data.name
    if data.dtype.kind not in KINDS or data.shape is None:
        raise ValueError(f"{where} holds {data.dtype} instead of numbers")
    if data.is_virtual or data.external:
        raise ValueError(f"{where} keeps its numbers in another file")
    if data.nbytes > COMPRESSION * data.id.get_storage_size():
        raise ValueError(f"{where} claims {data.nbytes} bytes, the file stores {data.id.get_storage_size()} of them")
    return data


def _member(parent: Any, name: str, kind: type, word: str) -> Any:
    link = parent.get(name, getlink=True)
    if link is None:
        raise ValueError(f"{parent.name} has no {word} {name!r:.80}")
    if not isinstance(link, h5py.HardLink) or not isinstance(found := parent[name], kind):
        raise ValueError(f"{name!r:.80} in {parent.name} is no {word} of the file")
    return found


def text(parent: Any, name: str) -> str:
    """Return an attribute that is text; raises ValueError for any other and for none."""
    value = parent.attrs.get(name)
    if not isinstance(value, str):
        raise ValueError(f"the attribute {name!r} of {parent.name} is not text")
    return value


def extents(parent: Any, name: str) -> tuple[int, ...]:
    """Return an attribute that lists whole numbers >= 1; raises ValueError for any other and for none."""
    value = numpy.asarray(parent.attrs.get(name))
    if value.ndim != 1 or value.dtype.kind not in "iu" or not 1 <= value.size <= 32 or value.min() < 1:
        raise ValueError(f"the attribute {name!r} of {parent.name} is not a list of whole numbers >= 1")
    return tuple(map(int, value))


def numbers(parent: Any, name: str) -> dict[str, float]:
    """Return an attribute that is a JSON object of finite numbers; raises ValueError for any other and for none."""
    table = json.loads(text(parent, name))
    if not isinstance(table, dict) or not all(type(value) in (int, float) for value in table.values()):
        raise ValueError(f"the attribute {name!r} of {parent.name} is not a table of numbers")
    return {key: float(value) for key, value in table.items()}
