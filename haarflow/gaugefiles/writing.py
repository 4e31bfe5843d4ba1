"""Write gauge files slab by slab, under a temporary name until they are complete; convert between formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core import files
from haarflow.gaugefiles.checks import UNITARITY
from haarflow.gaugefiles.formats import FORMATS, check_metadata, target, wanted
from haarflow.gaugefiles.plaquette import Measured, Passing, measured, passed
from haarflow.gaugefiles.reading import opened, stream
from haarflow.gaugefiles.records import Header, Recorded, Report


class Converted(NamedTuple):
    """The reports on the file that was read and on the one that was written."""

    source: Report
    target: Report


def write_gauge(
    path: str | Path,
    links: Array,
    format: str | None = None,
    *,
    precision: str = "float64",
    byte_order: str | None = None,
    metadata: Mapping[str, str] | None = None,
    check: bool = True,
) -> Report:
    """Write links `(4, N, N, T, X, Y, Z)` of any backend to a gauge file and return the report on it.

    `format`: ildg, nersc (two rows), nersc-3x3 or openqcd; by default from the suffix (.lime .ildg .nersc .openqcd).
    `precision`: float64 or float32. `byte_order`: big (default) or little, for NERSC. `metadata`: "ildg-data-lfn" for
    ILDG, "ENSEMBLE_ID", "ENSEMBLE_LABEL", "SEQUENCE_NUMBER", "CREATOR", ... for NERSC. The file is written
    completely or not at all.

    Raises ValueError for links of another shape, for what the format cannot store, and for links that deviate from SU(N) by
    more than 1e-9 (single precision: 1e-5) unless `check` is False; OSError without changing an old file.

    >>> import numpy
    >>> cold = numpy.zeros((4, 3, 3, 4, 2, 2, 2)) + numpy.eye(3).reshape(1, 3, 3, 1, 1, 1, 1)
    >>> write_gauge("cold.nersc", cold, metadata={"ENSEMBLE_ID": "cold"}).format
    'NERSC'
    """
    n, lattice = _shape(links)
    header = target(path, format, n, lattice, precision, byte_order)._replace(metadata=dict(metadata or {}))
    check_metadata(header.format, header.metadata)
    single = str(links.dtype).endswith(("complex64", "float32"))
    return _stored(path, header, _slabs(links), UNITARITY["float32" if single else "float64"] if check else None)


def convert_gauge(
    source: str | Path,
    destination: str | Path,
    format: str | None = None,
    *,
    precision: str | None = None,
    check: bool = True,
    project: bool | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Converted:
    """Read a gauge file and write it in another format, with a few time slices in memory at a time.

    `precision` is by default that of the source if the format allows it, and float64 for projected links; the other
    arguments are those of `read_gauge` and `write_gauge`. Metadata that the target can store is copied.

    Raises what those raise; nothing is written if the links contradict the header of the source, unless `check` is False.
    """
    reports: list[Report] = []
    with opened(source, check) as found:
        header = found.header
        rounded = project is False and wanted(destination, format) != "openqcd"
        kind = precision or (header.precision if rounded else "float64")
        goal = target(destination, format, header.n, header.lattice, kind, None)
        check_metadata(goal.format, metadata or {})
        kept = {word: value for word, value in header.metadata.items() if word in FORMATS[goal.format].words}
        goal = goal._replace(metadata={**kept, **(metadata or {})})

        def slabs() -> Iterator[numpy.ndarray]:
            reports.append((yield from stream(found, check, project)))

        written = _stored(destination, goal, slabs(), None)
    return Converted(reports[0], written)


def _shape(links: Array) -> tuple[int, tuple[int, ...]]:
    shape = tuple(links.shape)
    if len(shape) != 7 or shape[0] != 4 or shape[1] != shape[2] or shape[1] < 2 or min(shape) < 1:
        raise ValueError(
            f"links (4, N, N, T, X, Y, Z) of one configuration were wanted, got the shape {shape}: pick one of a batch "
            "by its index, bring other layouts here with haarflow.gaugefiles.from_layout"
        )
    return shape[1], shape[3:]


def _slabs(links: Array) -> Iterator[numpy.ndarray]:
    """The time slices on the host, one at a time, so that a device array is not copied as a whole."""
    for t in range(links.shape[3]):
        slab = links[:, :, :, t, :, :, :]
        yield slab if isinstance(slab, numpy.ndarray) else backends.of(slab).to_numpy(slab)


def _stored(path: str | Path, header: Header, slabs: Iterator[numpy.ndarray], limit: float | None) -> Report:
    """Write slabs under a temporary name, then the numbers of the header, and rename the file."""
    row, state = FORMATS[header.format], Passing()
    assert row.write is not None and row.finish is not None

    def observed() -> Iterator[numpy.ndarray]:
        nonlocal state
        for slab in slabs:
            state = passed(state, slab)
            yield slab

    with files.replacing(path) as temporary, open(temporary, "wb+") as file:
        sums = row.write(file, header, observed())
        found = measured(state)
        _refuse(found, header, limit)
        header = header._replace(
            plaquette=Recorded(found.plaquette), link_trace=Recorded(found.link_trace), checksum=sums
        )
        row.finish(file, header)
    return _report(str(path), header, found)


def _refuse(found: Measured, header: Header, limit: float | None) -> None:
    worst = float(numpy.maximum(found.unitarity_defect, found.determinant_defect))
    if limit is not None and not worst <= limit:
        raise ValueError(
            f"links of SU({header.n}) within {limit:g} were wanted, these are off by {worst:.2g}: project them first, or "
            "pass check=False"
        )


def _report(path: str, header: Header, found: Measured) -> Report:
    return Report(
        path,
        FORMATS[header.format].title,
        header.lattice,
        f"SU({header.n})",
        header.precision,
        header.byte_order,
        *found,
        "written" if header.checksum else "none",
        (),
        "",
        False,
        (),
        dict(header.metadata),
    )
