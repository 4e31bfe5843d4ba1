"""What must be equal among the processes of one run: the code, by a hash of its sources, and the versions of packages."""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from haarflow import __version__
from haarflow.flows.modelfile import versions

PACKAGE = Path(__file__).resolve().parents[2]
APART = ("benchmarks", "__pycache__")  # folders that draw nothing


class Identity(NamedTuple):
    """The hash of each module's sources, the versions of packages, and the host, which may differ.

    >>> Identity({"haarflow": "a"}, {"numpy": "2"}, "x").unlike(Identity({"haarflow": "b"}, {"numpy": "2"}, "y"))
    ['haarflow code a on x, code b on y']
    """

    code: Mapping[str, str]
    versions: Mapping[str, str]
    host: str = ""

    def unlike(self, other: Identity) -> list[str]:
        """Return what differs from another process, in words, empty if the two may share a run."""
        pairs = (("code ", self.code, other.code), ("", self.versions, other.versions))
        return [
            f"{name} {word}{mine.get(name, 'missing')} on {self.host}, {word}{theirs.get(name, 'missing')} on {other.host}"
            for word, mine, theirs in pairs
            for name in sorted(mine.keys() | theirs.keys())
            if mine.get(name) != theirs.get(name)
        ]


def installed() -> dict[str, str]:
    """Return the installed versions of the packages on which numbers depend.

    >>> {"haarflow", "python", "numpy", "h5py"} <= installed().keys()
    True
    """
    return versions() | {"haarflow": __version__, "h5py": metadata.version("h5py")}


def identity(packages: Iterable[str], modules: Iterable[str] = ()) -> Identity:
    """Return what this process is, as far as `packages` and a person's own `modules` go; a module that cannot be imported has
    the hash "missing".

    >>> found = identity(["numpy"])
    >>> list(found.versions), list(found.code), len(found.code["haarflow"])
    (['numpy'], ['haarflow'], 12)
    """
    here = installed()
    code = {"haarflow": _of_package()} | {name: _of_module(name) for name in modules}
    return Identity(code, {name: here.get(name, "missing") for name in sorted(packages)}, platform.node())


@lru_cache(maxsize=1)
def _of_package() -> str:
    """A hash of all sources of haarflow."""
    found: Any = hashlib.sha256()
    for folder, inner, names in os.walk(PACKAGE, followlinks=True):
        inner[:] = sorted(name for name in inner if name not in APART)
        for path in (Path(folder) / name for name in sorted(names) if name.endswith(".py")):
            found.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes())
    return str(found.hexdigest())[:12]


def _of_module(name: str) -> str:
    """A hash of the source of a person's module; the current folder is searched first, as on the command line."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        path = importlib.import_module(name).__file__
        return hashlib.sha256(Path(str(path)).read_bytes()).hexdigest()[:12]
    except (ImportError, OSError):
        return "missing"
