"""Read gauge files slab by slab: into an array, only for a report, or into another file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import array_api_compat
import numpy

from haarflow.backends.types import Array
from haarflow.core.lattice.geometry import check_lattice
from haarflow.gaugefiles.checks import PROJECTABLE, checks, remedy, sentence, verdict
from haarflow.gaugefiles.formats.table import FORMATS, known
from haarflow.gaugefiles.plaquette import Measured, Passing, measured, passed
from haarflow.gaugefiles.records import (
    Asked,
    Check,
    Gauge,
    GaugeFileError,
    Header,
    Report,
    group_name,
    group_number,
)
from haarflow.gaugefiles.sites import size_of
from haarflow.gaugefiles.unitarity import defects, projected

Stream = Generator[numpy.ndarray, None, Report]
OTHER = {"big": "little", "little": "big"}


class Opened(NamedTuple):
    """An open gauge file with its header."""

    path: str
    file: BinaryIO
    header: Header
    order_agrees: bool


def read_gauge(
    path: str | Path,
    backend: Any = None,
    *,
    check: bool = True,
    project: bool | None = None,
    byte_order: str | None = None,
    lattice: Sequence[int] | None = None,
    group: int | str | None = None,
) -> Gauge:
    """Read a gauge field from an ILDG, NERSC, openQCD, HiRep, MILC or BQCD file; the format is recognised from its content.

    Returns `links` `(mu, N, N, T, X, Y, Z)`, complex128 on the host or arrays of a `backend` in its precision, and
    `report`; fewer dimensions lack Z, or Y and Z, and links of U(1) are angles `(mu, T, X, ...)` in [-pi, pi]. Checksum,
    plaquette and link trace of the header are compared with those of the links, and the links with SU(N). `project`:
    project the links onto SU(N), by default if the file has single precision. `byte_order`: "big" or "little" overrides
    the header. `lattice` (T, X, Y, Z) and `group` (3, "su3", "u1", ...): for files that say neither; another file must
    agree with them.

    Raises GaugeFileError if the file is not a complete gauge file, and if a check fails unless `check` is False.

    >>> import numpy, haarflow
    >>> cold = numpy.zeros((4, 3, 3, 4, 2, 2, 2)) + numpy.eye(3).reshape(1, 3, 3, 1, 1, 1, 1)
    >>> _ = haarflow.write_gauge("cold.lime", cold)
    >>> links, report = haarflow.read_gauge("cold.lime")
    >>> links.shape, report.plaquette, report.checksum
    ((4, 3, 3, 4, 2, 2, 2), 1.0, 'agrees')
    """
    with opened(path, byte_order, lattice, group) as source:
        links = _space_for(source.header, backend is not None and backend.dtype == "float32")

        def keep(t: int, slab: numpy.ndarray) -> None:
            if source.header.n == 1:
                links[:, t] = numpy.angle(slab[:, 0, 0])
            else:
                links[:, :, :, t] = slab

        report = drained(stream(source, check, project), keep)
    return Gauge(links if backend is None else _handed_over(links, backend), report)


def gauge_info(
    path: str | Path,
    *,
    byte_order: str | None = None,
    lattice: Sequence[int] | None = None,
    group: int | str | None = None,
) -> Report:
    """Return the report on a gauge file, with a few time slices in memory at a time; a failed check is not an error.

    `byte_order`, `lattice` and `group` as in `read_gauge`. Raises GaugeFileError if the file is not a complete gauge file.
    """
    with opened(path, byte_order, lattice, group) as source:
        report = drained(stream(source, check=False, project=False), lambda t, slab: None)
    if report.precision == "float64":
        return report
    return report._replace(notes=(*report.notes, f"single precision: reading projects the links onto {report.group}"))


@contextlib.contextmanager
def opened(
    path: str | Path,
    byte_order: str | None = None,
    lattice: Sequence[int] | None = None,
    group: int | str | None = None,
) -> Iterator[Opened]:
    """Open a gauge file, find its byte order, and name the path in every error."""
    row, asked = FORMATS[known(path)], _asked(lattice, group)
    if byte_order not in (None, *OTHER):
        raise ValueError(f"a byte order is big or little, got {byte_order!r}")
    with open(path, "rb") as file:
        try:
            header = row.read_header(file, size_of(file), asked)
            _check_asked(header, asked)
            agrees = True
            if byte_order is not None:
                header = header._replace(byte_order=byte_order)
            else:
                header, agrees = _ordered(file, header)
        except GaugeFileError as error:
            raise GaugeFileError(f"{path}: {error}") from None
        yield Opened(str(path), file, header, agrees)


def stream(source: Opened, check: bool, project: bool | None) -> Stream:
    """Yield the time slices of an open file, projected if requested, and return the report.

    Raises GaugeFileError at the end if a check fails and `check` is True, immediately for a wrong byte order.
    """
    header, row = source.header, FORMATS[source.header.format]
    state, sums, moved = Passing(), None, 0.0
    if check and not source.order_agrees:
        raise GaugeFileError(sentence(_report(source, Measured(*[float("nan")] * 4), (), False, 0.0)))
    for slab in row.slabs(source.file, header):
        state = passed(state, slab.links)
        sums = slab.checksum if sums is None else row.combine(sums, slab.checksum)
        links = _on_the_group(slab.links, header, project)
        moved = max(moved, _distance(links, slab.links))
        yield links
    report = _report(source, measured(state), sums or (), bool(project), moved)
    if check and not report.agrees:
        raise GaugeFileError(sentence(report))
    return report


def drained(slabs: Stream, take: Callable[[int, numpy.ndarray], None]) -> Report:
    """Pass each time slice with its index to `take`, and return the report."""
    t = 0
    while True:
        try:
            slab = next(slabs)
        except StopIteration as end:
            return end.value
        take(t, slab)
        t += 1


def _asked(lattice: Sequence[int] | None, group: int | str | None) -> Asked:
    extents = None if lattice is None else check_lattice(lattice)
    if extents is not None and not 2 <= len(extents) <= 4:
        raise ValueError(f"a lattice of gauge links has two to four extents, (T, X, Y, Z), got {extents}")
    return Asked(extents, None if group is None else group_number(group))


def _check_asked(header: Header, asked: Asked) -> None:
    """Raise GaugeFileError if the file says something else than the caller."""
    if asked.lattice not in (None, header.lattice):
        raise GaugeFileError(f"the file holds the lattice {header.lattice}, lattice={asked.lattice} was given")
    if asked.n not in (None, header.n):
        raise GaugeFileError(f"the file holds links of {header.group}, group={group_name(asked.n or 0)} was given")


def _space_for(header: Header, single: bool) -> numpy.ndarray:
    """An empty array for the links of a file."""
    d, n = len(header.lattice), header.n
    if n == 1:
        return numpy.empty((d, *header.lattice), numpy.float32 if single else numpy.float64)
    return numpy.empty((d, n, n, *header.lattice), numpy.complex64 if single else numpy.complex128)


def _ordered(file: BinaryIO, header: Header) -> tuple[Header, bool]:
    """The header with the byte order in which the first slice is plausible, and whether the header agrees."""
    turned = header._replace(byte_order=OTHER[header.byte_order])
    if _sensible(file, header) or not _sensible(file, turned):
        return header, True
    if header.order_certain:
        return header, False
    return turned._replace(notes=(*turned.notes, f"byte order determined from the links: {turned.byte_order}")), True


def _sensible(file: BinaryIO, header: Header) -> bool:
    slab = next(iter(FORMATS[header.format].slabs(file, header)))
    return defects(slab.links)[0] <= PROJECTABLE


def _on_the_group(links: numpy.ndarray, header: Header, project: bool | None) -> numpy.ndarray:
    """Links projected onto SU(N) if requested, or by default if they have single precision and are close to it."""
    if not (project or (project is None and header.precision == "float32")):
        return links
    try:
        return projected(links)
    except ValueError:
        if project:
            raise
        return links  # far from SU(N): the checks will say so


def _distance(one: numpy.ndarray, other: numpy.ndarray) -> float:
    if one is other:
        return 0.0
    return max(float(numpy.max(numpy.abs(a - b))) for a, b in zip(one, other, strict=True))


def _report(source: Opened, found: Measured, sums: tuple[int, ...], project: bool, moved: float) -> Report:
    header = source.header
    made = checks(header, found, sums, project)
    if not source.order_agrees:
        made = (Check("byte order", header.byte_order, OTHER[header.byte_order], 0.0, False), *made)
    notes = header.notes
    if moved:
        notes = (*notes, f"links projected onto {header.group}: entries moved by at most {moved:.2g}")
    return Report(
        source.path,
        FORMATS[header.format].title,
        header.lattice,
        header.group,
        header.precision,
        header.byte_order,
        *found,
        verdict(made),
        made,
        remedy(header, made[:1] if not source.order_agrees else made),
        bool(moved) or project,
        notes,
        dict(header.metadata),
    )


def _handed_over(links: numpy.ndarray, backend: Any) -> Array:
    """The links as an array of the backend, without a second copy if the backend can use the host's memory."""
    if backend.name == "numpy":
        return links
    device = str(array_api_compat.device(backend.asarray(numpy.zeros(1))))
    try:
        if "cpu" in device.lower():
            return backend.xp.from_dlpack(links)
    except (AttributeError, BufferError, RuntimeError, TypeError, ValueError):
        pass
    return backend.asarray(links)
