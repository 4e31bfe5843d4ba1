"""XML texts of LIME records, as the words of their elements."""

from __future__ import annotations

import xml.etree.ElementTree as xml

from haarflow.gaugefiles.records import GaugeFileError, whole


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
