"""Write gauge files slab by slab, under a temporary name until they are complete; convert between formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core import files
from haarflow.gaugefiles.checks import PROJECTABLE, UNITARITY
from haarflow.gaugefiles.formats.table import FORMATS, check_metadata, precision_of, target
from haarflow.gaugefiles.plaquette import Measured, Passing, measured, passed
from haarflow.gaugefiles.reading import opened, stream
from haarflow.gaugefiles.records import Header, Recorded, Report
from haarflow.gaugefiles.unitarity import defects, projected


class Converted(NamedTuple):
    """The reports on the file that was read and on the one that was written."""

    source: Report
    target: Report


def write_gauge(
    path: str | Path,
    links: Array,
    format: str | None = None,
    *,
    precision: str | None = None,
    byte_order: str | None = None,
    metadata: Mapping[str, str] | None = None,
    check: bool = True,
) -> Report:
    """Write links `(4, N, N, T, X, Y, Z)` of any backend to a gauge file and return the report on it.

    ILDG files hold links in two and three dimensions and angles `(d, T, X, ...)` of U(1) as well. `format`: ildg, nersc
    (two rows), nersc-3x3, openqcd or hirep; by default from the suffix (.lime .ildg .nersc .openqcd .hirep). `precision`:
    float64 or float32, by default that of the links where the format can store it; links of single precision that are
    written in double precision are projected onto the group, which the report notes. `byte_order`: big (default) or little,
    for NERSC. `metadata`: "ildg-data-lfn" for ILDG, "ENSEMBLE_ID", "ENSEMBLE_LABEL", "SEQUENCE_NUMBER", "CREATOR", ... for
    NERSC. The file is written completely or not at all.

    Raises ValueError for links of another shape, for what the format cannot store, and for links that deviate from SU(N) by
    more than 1e-9 (single precision: 1e-5) unless `check` is False; OSError without changing an old file.

    >>> import numpy
    >>> cold = numpy.zeros((4, 3, 3, 4, 2, 2, 2)) + numpy.eye(3).reshape(1, 3, 3, 1, 1, 1, 1)
    >>> write_gauge("cold.nersc", cold, metadata={"ENSEMBLE_ID": "cold"}).format
    'NERSC'
    """
    n, lattice = _shape(links)
    held = "float32" if str(links.dtype).endswith(("complex64", "float32")) else "float64"
    kind = precision or precision_of(path, format, held)
    header = target(path, format, n, lattice, kind, byte_order)._replace(metadata=dict(metadata or {}))
    check_metadata(header.format, header.metadata)
    slabs = _slabs(links) if n > 1 else _phases(links)
    return _stored(path, header, slabs, UNITARITY[held] if check else None, (held, kind) == ("float32", "float64"))


def convert_gauge(
    source: str | Path,
    destination: str | Path,
    format: str | None = None,
    *,
    precision: str | None = None,
    check: bool = True,
    project: bool | None = None,
    metadata: Mapping[str, str] | None = None,
    lattice: Sequence[int] | None = None,
    group: int | str | None = None,
) -> Converted:
    """Read a gauge file and write it in another format, with a few time slices in memory at a time.

    `precision` is by default that of the source if the format allows it, and float64 for projected links; links of single
    precision that are not projected are nonetheless where they are written in double precision, which is noted. The other
    arguments are those of `read_gauge` and `write_gauge`. Metadata that the target can store is copied.

    Raises what those raise; nothing is written if the links contradict the header of the source, unless `check` is False.
    """
    reports: list[Report] = []
    with opened(source, None, lattice, group) as found:
        header = found.header
        kind = precision or precision_of(destination, format, header.precision if project is False else "float64")
        goal = target(destination, format, header.n, header.lattice, kind, None)
        check_metadata(goal.format, metadata or {})
        kept = {word: value for word, value in header.metadata.items() if word in FORMATS[goal.format].words}
        goal = goal._replace(metadata={**kept, **(metadata or {})})

        def slabs() -> Iterator[numpy.ndarray]:
            reports.append((yield from stream(found, check, project)))

        rounded = project is False and (header.precision, kind) == ("float32", "float64")
        written = _stored(destination, goal, slabs(), None, rounded)
    return Converted(reports[0], written)


def _shape(links: Array) -> tuple[int, tuple[int, ...]]:
    """N and the lattice of links of SU(N), or of angles of U(1)."""
    shape = tuple(links.shape)
    d = shape[0] if shape else 0
    if 2 <= d <= 4 and min(shape) >= 1:
        if len(shape) == d + 3 and shape[1] == shape[2] >= 2:
            return shape[1], shape[3:]
        if len(shape) == d + 1 and "float" in str(links.dtype):
            return 1, shape[1:]
    raise ValueError(
        "links (d, N, N, T, X, ...), or U(1) as angles (d, T, X, ...), in d = 2, 3 or 4 dimensions of one configuration "
        f"were wanted, got the shape {shape} of {links.dtype}: pick one of a batch by its index, bring other layouts here with "
        "haarflow.gaugefiles.from_layout"
    )


def _slabs(links: Array) -> Iterator[numpy.ndarray]:
    """The time slices on the host, one at a time, so that a device array is not copied as a whole."""
    for t in range(links.shape[3]):
        slab = links[:, :, :, t, ...]
        yield slab if isinstance(slab, numpy.ndarray) else backends.of(slab).to_numpy(slab)


def _phases(angles: Array) -> Iterator[numpy.ndarray]:
    """The time slices e^{i theta} of U(1), as 1 x 1 matrices."""
    for t in range(angles.shape[1]):
        slab = angles[:, t, ...]
        host = slab if isinstance(slab, numpy.ndarray) else backends.of(slab).to_numpy(slab)
        yield numpy.exp(1j * host.astype(numpy.float64))[:, None, None]


def _stored(
    path: str | Path, header: Header, slabs: Iterator[numpy.ndarray], limit: float | None, project: bool
) -> Report:
    """Write slabs under a temporary name, then the numbers of the header, and rename the file."""
    row, state, moved = FORMATS[header.format], Passing(), 0.0
    assert row.write is not None and row.finish is not None

    def observed() -> Iterator[numpy.ndarray]:
        nonlocal state, moved
        for given in slabs:
            slab = given.astype(numpy.complex128, copy=False)
            if project and defects(slab)[0] <= PROJECTABLE:
                slab = projected(slab)
                moved = max(moved, float(numpy.max(numpy.abs(slab - given))))
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
    return _report(str(path), header, found, moved)


def _refuse(found: Measured, header: Header, limit: float | None) -> None:
    worst = float(numpy.maximum(found.unitarity_defect, found.determinant_defect))
    if limit is not None and not worst <= limit:
        raise ValueError(
            f"links of {header.group} within {limit:g} were wanted, these are off by {worst:.2g}: project them first, or "
            "pass check=False"
        )


def _report(path: str, header: Header, found: Measured, moved: float) -> Report:
    note = f"links of single precision projected onto {header.group}: entries moved by at most {moved:.2g}"
    return Report(
        path,
        FORMATS[header.format].title,
        header.lattice,
        header.group,
        header.precision,
        header.byte_order,
        *found,
        "written" if header.checksum else "none",
        (),
        "",
        moved > 0,
        (note,) * (moved > 0),
        dict(header.metadata),
    )
