"""Print the share of mutants that are caught, by package and for compiled code, with its 95% interval, and list what survived.

    python -m tests.mutation.score

Mutants that are shown to compute the same are listed with the reason in equivalent.toml and do not count; timeouts are
counted apart, not as caught.
"""

from __future__ import annotations

from collections import Counter

from haarflow.core.statistics.coverage import lower_limit
from tests.mutation.run import equivalent, latest
from tests.mutation.sample import SAMPLES, read, sample_of


def interval(caught: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share.

    >>> [round(end, 3) for end in interval(90, 100)]
    [0.826, 0.945]
    """
    share = caught / n
    return lower_limit(share, n, z), 1.0 - lower_limit(1.0 - share, n, z)


def main() -> None:
    """Print the table and the survivors."""
    outcomes, same = {name: result.outcome for name, result in latest().items()}, equivalent()
    for sample in SAMPLES:
        names = [mutant.name for mutant in read() if sample_of(mutant.file) == sample]
        counts = Counter("equivalent" if name in same else outcomes.get(name, "not tried") for name in names)
        n = counts["caught"] + counts["survived"] + counts["unreached"]
        share = (
            ""
            if not n
            else f"{counts['caught'] / n:.3f} ({', '.join(f'{x:.3f}' for x in interval(counts['caught'], n))})"
        )
        print(f"{sample:9s} {share}  {dict(counts)}")
    for name, outcome in outcomes.items():
        if outcome in ("survived", "unreached") and name not in same:
            print(f"  {outcome}: {name}")


if __name__ == "__main__":
    main()
