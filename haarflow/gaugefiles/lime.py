"""LIME, the container of ILDG and SciDAC files: records with a 144-byte header, padded to 8 bytes.

bytes 0-3    magic 0x456789ab, big-endian like everything else
bytes 4-5    version 1
bytes 6-7    bit 15: the record begins a message, bit 14: it ends one
bytes 8-15   length of the payload
bytes 16-143 type of the record, ASCII, padded with zeros

Some payloads are XML: `elements` are its texts by name.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as xml
from typing import BinaryIO, NamedTuple

from haarflow.gaugefiles.records import GaugeFileError, whole

MAGIC = 0x456789AB
HEAD = struct.Struct(">IHHQ128s")
BEGIN, END = 1 << 15, 1 << 14
LONGEST_TEXT = 1 << 24
FILLING = b"\0 \t\r\n"


class LimeRecord(NamedTuple):
    """One record: its type, the start and length of its payload, and whether it ends its message."""

    kind: str
    start: int
    length: int
    ends: bool


def padding(length: int) -> int:
    """Return how many zeros follow a payload of `length` bytes.

    >>> padding(13), padding(16)
    (3, 0)
    """
    return -length % 8


def head(kind: str, length: int, begins: bool, ends: bool) -> bytes:
    """Return the 144-byte header of a payload.

    >>> head("ildg-format", 4, True, False)[:8].hex()
    '456789ab00018000'
    """
    return HEAD.pack(MAGIC, 1, BEGIN * begins | END * ends, length, kind.encode("ascii"))


def text_record(kind: str, text: str, begins: bool = False, ends: bool = False) -> bytes:
    """Return a complete record of text.

    >>> len(text_record("ildg-data-lfn", "lfn://a")) == 144 + 8
    True
    """
    payload = text.encode()
    return head(kind, len(payload), begins, ends) + payload + bytes(padding(len(payload)))


def records(file: BinaryIO, size: int) -> tuple[list[LimeRecord], int]:
    """Return the records of an open LIME file of `size` bytes, and the number of bytes of zeros or blanks behind the last one.

    Raises GaugeFileError if a record has no header or the file ends inside one.
    """
    entries: list[LimeRecord] = []
    position = 0
    while position < size:
        file.seek(position)
        block = file.read(HEAD.size)
        if entries and not block.strip(FILLING) and _only_filling(file):
            return entries, size - position
        if len(block) < HEAD.size:
            raise GaugeFileError(f"record {len(entries)} of the LIME file is cut short: fetch the file again")
        magic, _, bits, length, kind = HEAD.unpack(block)
        if magic != MAGIC:
            raise GaugeFileError(
                f"record {len(entries)} of the LIME file has no header at byte {position}: fetch the file again"
            )
        name = kind.partition(b"\0")[0].decode("ascii", "replace")
        if position + HEAD.size + length > size:
            missing = position + HEAD.size + length - size
            raise GaugeFileError(
                f"record {len(entries)} ({name}) of the LIME file is cut short by {missing} of {length} bytes: fetch the "
                "file again"
            )
        entries.append(LimeRecord(name, position + HEAD.size, length, bool(bits & END)))
        position += HEAD.size + length + padding(length)
    return entries, 0


def text(file: BinaryIO, record: LimeRecord) -> str:
    """Return the text of a record without trailing zeros, read as Latin-1 if it is not UTF-8.

    Raises GaugeFileError for one that is too long to be text.
    """
    if record.length > LONGEST_TEXT:
        raise GaugeFileError(f"text was wanted in the LIME record {record.kind}, got {record.length} bytes")
    file.seek(record.start)
    found = file.read(record.length).rstrip(b"\0 \n")
    try:
        return found.decode()
    except UnicodeDecodeError:
        return found.decode("latin-1")


def _only_filling(file: BinaryIO) -> bool:
    """Whether nothing but zeros and blanks is left of a file."""
    return not any(block.strip(FILLING) for block in iter(lambda: file.read(1 << 20), b""))


def elements(source: str, kind: str) -> dict[str, str]:
    """Return the texts of all elements of an XML text by their names without namespaces.

    Raises GaugeFileError, with the `kind` of the record, if it is no XML.

    >>> elements("<a xmlns='x'><b> 1 </b></a>", "any")
    {'a': '', 'b': '1'}
    """
    try:
        root = xml.fromstring(source.encode())
    except (xml.ParseError, ValueError, LookupError) as error:  # the latter two: unknown encodings
        raise GaugeFileError(f"the LIME record {kind} holds no XML ({error}): the file is damaged") from None
    return {element.tag.rpartition("}")[2]: (element.text or "").strip() for element in root.iter()}


def wanted(found: dict[str, str], name: str, kind: str) -> str:
    """Return the text of an element; raises GaugeFileError if there is none."""
    if name not in found:
        raise GaugeFileError(f"the element {name} was wanted in the record {kind}, it has {', '.join(found)}")
    return found[name]


def number(found: dict[str, str], name: str) -> int:
    """Return an element that must be an integer >= 1; raises GaugeFileError for anything else."""
    return whole(wanted(found, name, "XML"), name)
