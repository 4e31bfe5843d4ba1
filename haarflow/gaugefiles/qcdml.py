"""QCDml beside an ILDG file: what ILDG's catalogue wants to know of a configuration, in its schema config2.0.

What the file says (precision, plaquette, checksum, field) is read from it and the plaquette is measured; what only its owner knows
comes as words. crcCheckSum is that of the command cksum over the record `ildg-binary-data`, in decimal, as BQCD writes it.
Source: QCDml, ILDG Metadata Working Group, hep-lat/0409055, arXiv:0710.0230; namespace http://www.lqcd.org/ildg/QCDml/config2.0.
"""

from __future__ import annotations

import datetime
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haarflow.core.files import write_text
from haarflow.gaugefiles import sites
from haarflow.gaugefiles.checksums import Sums, combine_xor, posix
from haarflow.gaugefiles.reading import gauge_info, opened
from haarflow.gaugefiles.records import Report

FORMAT, NAMESPACE = "ILDG/LIME", "http://www.lqcd.org/ildg/QCDml/config2.0"
REQUIRED = (
    "data_lfn",
    "chain_uri",
    "series",
    "update",
    "name",
    "institution",
    "machine",
    "machine_institution",
    "machine_type",
)
OPTIONAL = ("orcid", "date", "code", "code_version", "code_date", "annotation")
PIECE = 1 << 22  # bytes read at a time


def write_qcdml(path: str | Path, words: Mapping[str, Any]) -> Path:
    """Write the QCDml of an ILDG file beside it, FILE.xml, and return its path.

    `words` has data_lfn (lfn://...), chain_uri (mc://..., that of the ensemble), series, update (the number of the
    configuration), name and institution of who made it, machine, machine_institution and machine_type; and may have orcid, date
    (ISO 8601, by default now), code, code_version and code_date, by default this library's, and an annotation of the algorithm.
    Raises ValueError for words that are missing or unknown, for a file that is not ILDG, and for one that its checks refuse.
    """
    _check(words)
    report = gauge_info(path)
    if report.format != FORMAT or not report.agrees:
        found = report.format if report.format != FORMAT else "one whose links contradict its header"
        raise ValueError(f"QCDml goes beside a sound ILDG file, and {path} is {found}: convert it to ILDG first")
    beside = Path(f"{path}.xml")
    root = document(report, cksum(path), words)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    write_text(beside, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')
    return beside


def words_of(path: str | Path) -> dict[str, Any]:
    """Return the words of a TOML file for `write_qcdml`; raises ValueError where they are missing or unknown."""
    with open(path, "rb") as file:
        try:
            words = tomllib.load(file)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is no TOML: {error}") from None
    _check(words)
    return words


def _check(words: Mapping[str, Any]) -> None:
    missing = [name for name in REQUIRED if name not in words]
    unknown = [name for name in words if name not in (*REQUIRED, *OPTIONAL)]
    if missing or unknown:
        faults = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(
            f"QCDml wants {', '.join(REQUIRED)}, and may have {', '.join(OPTIONAL)}; what was given {' and '.join(faults)}"
        )


def cksum(path: str | Path) -> int:
    """Return the checksum of the command cksum over the links of a gauge file as they are stored."""
    with opened(path) as source:
        size = sites.data_bytes(source.header)
        total: Sums = (0,)
        source.file.seek(source.header.start)
        for start in range(0, size, PIECE):
            piece = source.file.read(min(PIECE, size - start))
            total = combine_xor(total, posix(piece, start, size))
    return total[0]


def document(report: Report, checksum: int, words: Mapping[str, Any]) -> ElementTree.Element:
    """Return the element gaugeConfiguration of a file with this report and checksum."""
    from haarflow import __version__

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    orcid = {"orcid": words["orcid"]} if "orcid" in words else {}
    event = {
        "revisionAction": "generate",
        "participant": {**orcid, "name": words["name"], "institution": words["institution"]},
        "date": words.get("date", now),
    }
    machine = {
        "name": words["machine"],
        "institution": words["machine_institution"],
        "machineType": words["machine_type"],
    }
    code = {
        "name": words.get("code", "haarflow"),
        "version": words.get("code_version", __version__),
        "date": words.get("code_date", words.get("date", now)),
    }
    field = f"{report.group.lower().replace('(', '').replace(')', '')}gauge"
    record = {"field": field, "crcCheckSum": checksum, "avePlaquette": f"{report.plaquette:.12f}"}
    content = {
        "dataLFN": words["data_lfn"],
        "management": {"archiveHistory": {"archiveEvent": event}},
        "implementation": {"machine": machine, "code": code},
        "algorithm": {"annotation": words["annotation"]} if "annotation" in words else {},
        "precision": {"float64": "double", "float32": "single"}[report.precision],
        "markovSequence": {
            "markovChainURI": words["chain_uri"],
            "series": words["series"],
            "markovStep": {"update": words["update"], "record": record},
        },
    }
    root = ElementTree.Element("gaugeConfiguration", xmlns=NAMESPACE)
    _fill(root, content)
    return root


def _fill(parent: ElementTree.Element, content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        child = ElementTree.SubElement(parent, name)
        if isinstance(value, Mapping):
            _fill(child, value)
        else:
            child.text = str(value)
