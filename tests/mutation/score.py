"""Print the share of mutants that are caught, by package with its 95% interval, and list what survived.

    python -m tests.mutation.score

Mutants that are shown to compute the same are listed with the reason in equivalent.toml and do not count; timeouts are
counted apart, not as caught.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

from haarflow.core.statistics.coverage import lower_limit
from tests.mutation.run import results
from tests.mutation.sample import PACKAGES, read

EQUIVALENT = Path(__file__).parent / "equivalent.toml"


def interval(caught: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    >>> [round(end, 3) for end in interval(90, 100)]
    [0.826, 0.945]
    """
    share = caught / n
    return lower_limit(share, n, z), 1.0 - lower_limit(1.0 - share, n, z)


def equivalent() -> dict[str, str]:
    """Return the reasons why mutants compute the same, by name."""
    return tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")) if EQUIVALENT.exists() else {}


def main() -> None:
    """Print the table and the survivors."""
    outcomes, same = {result.name: result.outcome for result in results()}, equivalent()
    for package in PACKAGES:
        names = [mutant.name for mutant in read() if mutant.file.startswith(f"{package}/")]
        counts = Counter("equivalent" if name in same else outcomes.get(name, "not tried") for name in names)
        n = counts["caught"] + counts["survived"] + counts["unreached"]
        share = (
            ""
            if not n
            else f"{counts['caught'] / n:.3f} ({', '.join(f'{x:.3f}' for x in interval(counts['caught'], n))})"
        )
        print(f"{package:9s} {share}  {dict(counts)}")
    for name, outcome in outcomes.items():
        if outcome in ("survived", "unreached") and name not in same:
            print(f"  {outcome}: {name}")


if __name__ == "__main__":
    main()
