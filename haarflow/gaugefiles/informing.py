"""What the records of a LIME file say beside the sizes: the checksum of the links, their plaquette and link trace.

None of it is needed for reading. A mean that is no number becomes a note, a checksum that is none a failed check.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

from haarflow.gaugefiles import lime
from haarflow.gaugefiles.checksums import Sums
from haarflow.gaugefiles.lime import LimeRecord, elements, wanted
from haarflow.gaugefiles.records import GaugeFileError, Recorded, recorded


def checksum(file: BinaryIO, near: list[LimeRecord]) -> tuple[Sums, str]:
    """Return SciDAC's checksum or else that of BQCD, empty if there is none, and a word if it cannot be read."""
    for kind, read in (("scidac-checksum", _scidac_sums), ("bqcd-cksum", _bqcd_sum)):
        for record in near:
            if record.kind == kind:
                try:
                    return read(lime.text(file, record)), ""
                except ValueError as error:
                    return (), f"unreadable ({error})"
    return (), ""


def _scidac_sums(text: str) -> Sums:
    found = elements(text, "scidac-checksum")
    return tuple(int(wanted(found, name, "scidac-checksum"), 16) for name in ("suma", "sumb"))


def _bqcd_sum(text: str) -> Sums:
    return (int(text.partition(" ")[0]),)


def means(file: BinaryIO, near: list[LimeRecord]) -> tuple[Recorded | None, Recorded | None, tuple[str, ...]]:
    """Return plaquette and link trace if a record contains them, and a note on each record that cannot be read."""
    found: dict[str, Recorded] = {}
    notes = []
    for record in near:
        if record.kind in MEANS:
            try:
                for name, word in MEANS[record.kind](lime.text(file, record)).items():
                    found.setdefault(name, recorded(word))
            except GaugeFileError as error:
                notes.append(f"the record {record.kind} was not used: {error}")
    return found.get("plaq"), found.get("linktr"), tuple(notes)


def _usqcd(text: str) -> dict[str, str]:
    found = elements(text, "scidac-record-xml") if "usqcdInfo" in text else {}
    return {name: found[name] for name in ("plaq", "linktr") if name in found}


def _xlf(text: str) -> dict[str, str]:
    line = re.search(r"plaquette\s*=\s*([-+.\deE]+)", text)
    return {"plaq": line[1]} if line else {}


def _bqcd(text: str) -> dict[str, str]:
    return {"plaq": text}


MEANS: dict[str, Callable[[str], dict[str, str]]] = {
    "scidac-record-xml": _usqcd,
    "xlf-info": _xlf,
    "bqcd-plaquette": _bqcd,
}
