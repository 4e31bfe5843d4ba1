"""Docstrings as pages of the site show them: an extension of griffe, which reads them for mkdocstrings.

They are written for `help()`: examples become code blocks, and what Markdown would take for HTML or emphasis is escaped.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*\n(?:(?!\s*$).*\n?)*", flags=re.MULTILINE)
CODE = re.compile(r"(```.*?```|``.*?``|`[^`]*`|^    .*?$)", flags=re.MULTILINE | re.DOTALL)


def shown(text: str) -> str:
    """Return a docstring with its examples, each up to the next empty line, fenced, and its prose escaped."""
    fenced = EXAMPLE.sub(lambda match: f"\n```pycon\n{match[0].rstrip()}\n```\n", text + "\n").rstrip()
    parts = CODE.split(fenced)
    return "".join(part if index % 2 else escaped(part) for index, part in enumerate(parts))


def escaped(prose: str) -> str:
    """Return prose that Markdown leaves as it is, apart from lists."""
    return re.sub(r"(?<=\S)([*_])|([*_])(?=\S)", r"\\\1\2", prose.replace("&", "&amp;").replace("<", "&lt;"))


class Shown(griffe.Extension):
    """Prepares the docstring of every object that is loaded."""

    def on_object(self, *, obj: griffe.Object, **words: Any) -> None:
        """Prepare the docstring of one object below the package."""
        if obj.docstring is not None:
            obj.docstring.value = shown(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **words: Any) -> None:
        """Prepare the docstring of the package itself."""
        self.on_object(obj=pkg)
