"""The HTML of the report: sections of one self-contained page that can be read on a phone and printed.

All HTML is written by the macros of page.html, which escape every value that is not the output of a macro.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from haarflow import __version__
from haarflow.report.figures import in_page


class Section(NamedTuple):
    """A heading, its HTML, and the caption below it; two `half` sections stand side by side."""

    heading: str
    body: Markup
    words: str
    half: bool = False


@cache
def _macros() -> Any:
    text = resources.files("haarflow.report").joinpath("page.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined).from_string(text).module


def piece(name: str, *values: Any) -> Markup:
    """Return the HTML of one macro of page.html; values that are not HTML are escaped.

    >>> piece("strong", "<script>")
    Markup('<b>&lt;script&gt;</b>')
    """
    html: Markup = getattr(_macros(), name)(*values)  # a macro is known by its name only
    return html


def page(title: str, description: str, sections: Sequence[Section]) -> str:
    """Return the whole page."""
    style = resources.files("haarflow.report").joinpath("report.css").read_text(encoding="utf-8")
    return str(piece("page", title, _sentence(description), Markup(style), sections, __version__))


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return f"{text}." if text and text[-1] not in ".!?" else text


def picture(svg: str, name: str, says: str, kind: str = "") -> Markup:
    """Return an SVG as a figure of the page; `kind` is "wide" or "narrow" if it is shown only on such screens."""
    return piece("picture", Markup(in_page(svg, name).removeprefix("<svg")), says, kind)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> Markup:
    """Return an HTML table; a cell that is HTML already is a whole `<td>`, all others are text.

    >>> table(["a", "b"], [["x", "<1"]])
    Markup('<div class="scroll"><table class=""><thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>\
<tbody><tr><th scope="row">x</th><td>&lt;1</td></tr></tbody></table></div>')
    """
    return piece("table", head, rows, kind)


def prose(text: str) -> str:
    """Return text written over several lines as one line.

    >>> prose("one" + chr(10) + "    line")
    'one line'
    """
    return " ".join(text.split())
