"""What the command line says of gauge files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from haarflow.gaugefiles.writing import convert_gauge


def converted(source: Path, destination: Path, format: str | None, **options: Any) -> dict[str, Any]:
    """Convert a gauge file and return what was read and what was written, as nested dicts."""
    found = convert_gauge(source, destination, format, **options)
    return {"read": found.source.as_dict(), "written": found.target.as_dict()}
