"""The HTML of the report: sections of one self-contained page that can be read on a phone and printed."""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from haarflow import __version__
from haarflow.report.figures import in_page


class Section(NamedTuple):
    """A heading, its HTML, and the caption below it; two `half` sections stand side by side."""

    heading: str
    body: str
    words: str
    half: bool = False


def page(title: str, description: str, sections: Sequence[Section]) -> str:
    """Return the whole page."""
    style = resources.files("haarflow.report").joinpath("report.css").read_text(encoding="utf-8")
    body = "".join(map(_section, sections))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{style}</style></head><body><main>"
        f'<header><h1>{html.escape(title)}</h1><p class="lead">{html.escape(_sentence(description))}</p></header>'
        f"{body}<footer>Written by haarflow {__version__}. Lattice units, a = 1.</footer></main></body></html>\n"
    )


def _section(section: Section) -> str:
    half = ' class="half"' if section.half else ""
    heading = f"<h2>{html.escape(section.heading)}</h2>" if section.heading else ""
    words = f'<p class="words">{html.escape(section.words)}</p>' if section.words else ""
    return f"<section{half}>{heading}{section.body}{words}</section>"


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return f"{text}." if text and text[-1] not in ".!?" else text


def picture(svg: str, name: str, says: str, kind: str = "") -> str:
    """Return an SVG as a figure of the page; `kind` is "wide" or "narrow" if it is shown only on such screens."""
    return f'<figure class="picture {kind}">{in_page(svg, name, html.escape(says, quote=True))}</figure>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> str:
    """Return an HTML table whose cells are already HTML; a cell that begins with `<td` is left as it is.

    >>> table(["a", "b"], [["x", "1"]])
    '<div class="scroll"><table class=""><thead><tr><th scope="col">a</th><th scope="col">b</th></tr></thead>\
<tbody><tr><th scope="row">x</th><td>1</td></tr></tbody></table></div>'
    """
    top = "".join(f'<th scope="col">{word}</th>' for word in head)
    body = "".join(map(_row, rows))
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _row(row: Sequence[str]) -> str:
    cells = "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row[1:])
    return f'<tr><th scope="row">{row[0]}</th>{cells}</tr>'


def prose(text: str) -> str:
    """Return text written over several lines as one line.

    >>> prose("one" + chr(10) + "    line")
    'one line'
    """
    return " ".join(text.split())
