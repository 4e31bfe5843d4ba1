"""The pages of the site: `python -m docs.tools.pages build/pages`, of which `make docs` makes HTML.

All of docs/ and the pages at the top of the repository, with their links led to where the files stand in the site, and a page
of the reference for each package, with every module and what is public in it. Nothing is imported: the docstrings are read
from the sources.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OVERVIEW = "overview.md"  # README.md: a site's README would be its index, and docs/index.md is
LEFT_OUT = ("haarflow/benchmarks",)  # measurements, not a library
LINK = re.compile(r"(\]\(|src=\")([^)#\s\"]+)")


def pages() -> list[Path]:
    """Return the Markdown files of which the site is made."""
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def place(path: Path) -> Path:
    """Return where a file of the repository stands in the site.

    >>> str(place(ROOT / "docs/manual/u1.md")), str(place(ROOT / "CONVENTIONS.md")), str(place(ROOT / "README.md"))
    ('manual/u1.md', 'CONVENTIONS.md', 'overview.md')
    """
    if path == ROOT / "README.md":
        return Path(OVERVIEW)
    return path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT)


def with_links(page: Path) -> tuple[str, set[Path]]:
    """Return a page's text with its links as they are in the site, and the files that they lead to."""
    met: set[Path] = set()

    def led(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(page.parent / match[2]))
        if match[2].startswith(("https:", "http:")) or not target.is_file():
            return match[0]
        met.add(target)
        return match[1] + os.path.relpath(place(target), place(page).parent)

    return LINK.sub(led, page.read_text(encoding="utf-8")), met


def write(target: Path) -> None:
    """Write all pages, and the files that they link to, into an empty folder `target`."""
    shutil.rmtree(target, ignore_errors=True)
    for page in pages():
        text, linked = with_links(page)
        _put(target / place(page), text)
        for file in linked - set(pages()):
            (target / place(file)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / place(file))
    for name, text in reference().items():
        _put(target / "reference" / name, text)


@cache
def reference() -> dict[str, str]:
    """Return the pages of the reference by file name: the index, and one page for each package that has modules."""
    packages = {package: [file for file in files if _public(file)] for package, files in _packages().items()}
    texts = {f"{_dotted(package)}.md": _page(package, files) for package, files in packages.items() if files}
    lines = ["# Reference", "", "Every public function and class, from its docstring.", ""]
    for package, files in packages.items():
        if files:
            lines += [f"- [`{_dotted(package)}`]({_dotted(package)}.md): {', '.join(file.stem for file in files)}"]
    return {"index.md": "\n".join(lines) + "\n"} | texts


def _page(package: Path, files: list[Path]) -> str:
    name, said = _dotted(package), ast.get_docstring(_tree(package / "__init__.py"))
    intro = f"::: {name}\n    options:\n      heading_level: 1\n      members: false" if said else f"# {name}"
    return "\n\n".join([intro, *(f"::: {_dotted(file.with_suffix(''))}" for file in files)]) + "\n"


def _packages() -> dict[Path, list[Path]]:
    """The folders of the package, each with its modules; the links in haarflow/ are followed."""
    found = {}
    for folder, inner, files in os.walk(ROOT / "haarflow", followlinks=True):
        path = Path(folder)
        inner[:] = sorted(name for name in inner if not f"{path.relative_to(ROOT)}/{name}".startswith(LEFT_OUT))
        if "__init__.py" in files:
            names = sorted(name for name in files if name.endswith(".py") and not name.startswith("__"))
            found[path] = [path / name for name in names]
    return dict(sorted(found.items()))


def _public(file: Path) -> bool:
    """Whether a module has anything to show: a public function or class."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and not node.name.startswith("_") for node in _tree(file).body)


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parts)


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
