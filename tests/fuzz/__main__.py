"""`python -m tests.fuzz [COUNT] [SEED] [KIND]`: fuzz every kind of file and print how many ended how; exit 1 on failures."""

import sys
import tempfile
import time

from tests.fuzz.kinds import KINDS
from tests.fuzz.tally import tally


def main(count=10_000, start=0, only=None):
    """Print a row per kind: files, read, refused, failures; then each kind of failure with its first file."""
    failed = False
    print(f"{'kind':<14} {'N':>7} {'read':>7} {'refused':>8} {'failures':>9} {'CPU s':>7}", flush=True)
    for name, kind in KINDS.items():
        if only is not None and name != only:
            continue
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            found = tally(kind, count, folder, start)
        cpu, bad = time.process_time() - begun, sum(found.failures.values())
        print(f"{name:<14} {found.count:>7} {found.read:>7} {found.refused:>8} {bad:>9} {cpu:>7.0f}", flush=True)
        for end, number in found.failures.most_common():
            print(f"    {number} x {end}\n      {found.examples[end][:3000]!r}")
        failed |= bad > 0
    return failed


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(main(*map(int, words[:2]), *words[2:3]))
