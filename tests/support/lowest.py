"""The lowest versions that pyproject.toml allows, as pins for pip: `python tests/support/lowest.py > lowest.txt`.

torch is left out: its lowest version is the one that the tests run with, and any other can bring gigabytes.
"""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement

EXTRAS = ("cli", "compiled", "jax", "verify")


def pins(project):
    """Return "name==version" of every direct requirement of the library and of EXTRAS."""
    wanted = [*project["dependencies"], *(line for name in EXTRAS for line in project["optional-dependencies"][name])]
    found = map(Requirement, wanted)
    return sorted(f"{one.name}=={next(iter(one.specifier)).version}" for one in found)


if __name__ == "__main__":
    table = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    print("\n".join(pins(table["project"])))
