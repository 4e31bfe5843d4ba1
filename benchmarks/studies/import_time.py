"""What `import haarflow` adds to numpy, h5py, safetensors and array-api-compat, in process CPU seconds.

    python benchmarks/studies/import_time.py

The median of 15 fresh interpreters of each kind, interleaved.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

BELOW = "import numpy, h5py, safetensors.numpy, array_api_compat"
COUNT = "import resource; u = resource.getrusage(resource.RUSAGE_SELF); print(u.ru_utime + u.ru_stime)"


def seconds(code: str) -> float:
    """Return the CPU seconds of a fresh interpreter that runs `code`."""
    done = subprocess.run([sys.executable, "-c", f"{code}\n{COUNT}"], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Print the median difference, and the array libraries that the import loaded (none)."""
    pairs = [(seconds(BELOW), seconds(f"{BELOW}\nimport haarflow")) for _ in range(15)]
    extra = statistics.median(after - before for before, after in pairs)
    code = "import sys, haarflow; print([m for m in ('jax', 'torch', 'cupy', 'matplotlib') if m in sys.modules])"
    engines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    below = statistics.median(before for before, _ in pairs)
    print(f"the four packages below: {below:.3f} s; haarflow adds {extra:.3f} s; engines loaded: {engines}")


if __name__ == "__main__":
    main()
