"""Do two run folders hold the same numbers? Arrays bit for bit, estimates figure by figure.

    python -m haarflow.benchmarks.studies.same_numbers OLD NEW [OLD NEW]... [--renamed OLDNAME=NEWNAME ...]

Of each pair of folders: every array and attribute of `ensemble.h5` (shape, type and bytes; of the recipe its values), and
every figure of `summary.json` except those that depend on the machine or the day. A figure in only one of the folders is
paired with a figure of the same value under another name, if there is exactly one, and reported as renamed; `--renamed`
states this beforehand for a part of a path. Missing, added and different figures are printed; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import h5py
import numpy

TIMES = ("cpu", "wall", "seconds", "_s", "date", "versions", "device", "machine", "memory", "per_cpu", "a_second")


def is_time(path: str) -> bool:
    """Return whether a figure depends on the machine and the day.

    >>> is_time("samplers/hmc/cpu_s"), is_time("samplers/hmc/plaquette/value")
    (True, False)
    """
    return any(any(part.endswith(name) or part == name for name in TIMES) for part in path.split("/"))


def flat(tree: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of a JSON tree by their paths.

    >>> flat({"a": {"b": 1, "c": [2, 3]}})
    {'a/b': 1, 'a/c/0': 2, 'a/c/1': 3}
    """
    if isinstance(tree, dict):
        inner = [flat(value, f"{path}/{name}".strip("/")) for name, value in tree.items()]
    elif isinstance(tree, list):
        inner = [flat(value, f"{path}/{index}".strip("/")) for index, value in enumerate(tree)]
    else:
        return {path: tree}
    return {name: value for part in inner for name, value in part.items()}


def arrays(file: Path) -> dict[str, Any]:
    """Return the arrays and attributes of an HDF5 file as (type, shape, bytes) by path."""
    entries: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            entries[name] = fingerprint(item[()])
        entries.update({f"{name}@{key}": fingerprint(value) for key, value in item.attrs.items()})

    with h5py.File(file) as opened:
        entries.update({f"@{key}": fingerprint(value) for key, value in opened.attrs.items() if key != "recipe"})
        recipe = flat(tomllib.loads(str(opened.attrs.get("recipe", ""))), "@recipe")  # its comments are prose
        entries.update({path: fingerprint(value) for path, value in recipe.items()})
        opened.visititems(note)
    return {path: value for path, value in entries.items() if not is_time(path.replace("@", "/"))}


def fingerprint(value: Any) -> tuple[str, tuple[int, ...], Any]:
    """Return what two values must share: type, shape and bytes; of strings their text."""
    array = numpy.asarray(value)
    content = array.tobytes() if array.dtype.kind != "O" else tuple(map(str, array.reshape(-1)))
    return str(array.dtype), array.shape, content


def figures(folder: Path) -> dict[str, Any]:
    """Return the figures of a run's summary, those of the machine left out; floats by their exact digits."""
    tree = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {path: repr(value) for path, value in flat(tree).items() if not is_time(path)}


def differences(old: dict[str, Any], new: dict[str, Any], renamed: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return lines for what differs and for what was renamed.

    >>> differences({"a": 1, "b": 2}, {"a": 1, "c": 2}, {})
    ([], ['renamed: b -> c'])
    >>> differences({"a": 1}, {"a": 2, "d": 3}, {})
    (['different: a', 'added: d'], [])
    """
    old = {rename(path, renamed): value for path, value in old.items()}
    faults = [f"different: {path}" for path, value in old.items() if path in new and new[path] != value]
    missing = {path: old[path] for path in old if path not in new}
    added = {path: new[path] for path in new if path not in old}
    notes = []
    for path, value in list(missing.items()):
        same = [other for other, candidate in added.items() if candidate == value]
        if len(same) == 1 and sum(candidate == value for candidate in missing.values()) == 1:
            notes.append(f"renamed: {path} -> {same[0]}")
            del missing[path], added[same[0]]
    return faults + [f"missing: {path}" for path in missing] + [f"added: {path}" for path in added], notes


def rename(path: str, renamed: dict[str, str]) -> str:
    """Return a path with the new names of its parts.

    >>> rename("samplers/hmc/dH", {"dH": "energy_change"})
    'samplers/hmc/energy_change'
    """
    return "/".join(renamed.get(part, part) for part in path.split("/"))


def compared(old: Path, new: Path, renamed: dict[str, str]) -> int:
    """Print the differences of two run folders; return their number."""
    count = 0
    for kind, read, name in (("array", arrays, "ensemble.h5"), ("figure", figures, "summary.json")):
        paths = [folder / name for folder in (old, new)]
        if not all(path.is_file() for path in paths):
            absent = [str(path) for path in paths if not path.is_file()]
            print(f"  {name}: absent: {', '.join(absent)}")
            count += 1
            continue
        before, after = (read(path if read is arrays else path.parent) for path in paths)
        faults, notes = differences(before, after, renamed)
        print(f"  {name}: {len(before)} {kind}s, {len(faults)} faults, {len(notes)} renamed")
        print("".join(f"    {row}\n" for row in faults + notes), end="")
        count += len(faults) + (not before)
    return count


def main() -> int:
    """Compare all pairs; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="OLD NEW, or several pairs of them")
    parser.add_argument("--renamed", nargs="*", default=[], metavar="OLDNAME=NEWNAME")
    options = parser.parse_args()
    if len(options.folders) % 2:
        parser.error(f"folders come in pairs OLD NEW, got {len(options.folders)} of them")
    renamed = dict(pair.split("=", 1) for pair in options.renamed)
    count = 0
    for old, new in zip(options.folders[::2], options.folders[1::2], strict=True):
        print(f"{old} -> {new}")
        count += compared(old, new, renamed)
    print("the same numbers" if count == 0 else f"{count} faults")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main())
