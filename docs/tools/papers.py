"""References of the manual, from references.bib by arXiv numbers."""

from __future__ import annotations

import re
from functools import cache

from haarflow.report.citing import entries

NUMBER = r"\d{4}\.\d{4,5}|[a-z-]+/\d{7}"
ACCENTS = {
    "`e": "è",
    "'e": "é",
    "'E": "É",
    "'a": "á",
    "'i": "í",
    "'o": "ó",
    "~n": "ñ",
    '"a': "ä",
    '"o': "ö",
    '"u': "ü",
    "o": "ø",
    "ss": "ß",
    "c c": "ç",
}


def cited(text: str) -> list[str]:
    """Return the references of the arXiv numbers in a text, in the order in which they come, each once.

    >>> cited("see arXiv:1904.12072, eq. 3")[0][:26]
    'Albergo, Kanwar, Shanahan,'

    Raises KeyError for a number that is not in the bibliography.
    """
    numbers = re.findall(rf"arXiv:({NUMBER})", text)
    return [bibliography()[number] for number in dict.fromkeys(numbers)]


@cache
def bibliography() -> dict[str, str]:
    """Return the reference of every paper that has an arXiv number, by that number."""
    found = [{word: _field(one, word) for word in ("author", "title", "year", "eprint")} for one in entries().values()]
    return {one["eprint"]: _reference(**one) for one in found if one["eprint"]}


def _reference(author: str, title: str, year: str, eprint: str) -> str:
    last = [name.split(",")[0].strip() for name in author.split(" and ")]
    who = f"{last[0]} and others" if len(last) > 3 else ", ".join(last)
    return f"{who}, *{title}* ({year}), [arXiv:{eprint}](https://arxiv.org/abs/{eprint})"


def _field(entry: str, word: str) -> str:
    match = re.search(rf"\b{word} = \{{((?:[^{{}}]|\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}})*)\}}", entry)
    return " ".join(_plain(match[1]).split()) if match else ""


def _plain(text: str) -> str:
    for code, letter in ACCENTS.items():
        text = text.replace(f"{{\\{code}}}", letter)
    return re.sub(r"[{}$\\]", "", text)
