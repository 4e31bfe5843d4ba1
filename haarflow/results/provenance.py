"""Where and when a run was made: for people, and apart from its numbers."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2]


def provenance(wall_s: float) -> dict[str, Any]:
    """Return {"date", "host", "commit", "wall_s"}: UTC, the machine and its cores, the commit of the source or None.

    >>> sorted(provenance(1.0))
    ['commit', 'date', 'host', 'wall_s']
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": f"{platform.node()}, {platform.machine()}, {os.cpu_count()} cores",
        "commit": _commit(),
        "wall_s": round(wall_s, 1),
    }


def _commit() -> str | None:
    """The commit of the source, marked where files differ from it; None for a package that was installed."""
    if not (SOURCE / ".git").exists():
        return None
    command = ["git", "-C", str(SOURCE), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
