"""The tutorials as notebooks: `python -m docs.tools.notebooks` writes one beside each page of docs/tutorials/.

The page is the source: its blocks of Python are the code cells, what is between them the text. Notebooks have no outputs.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

TUTORIALS = Path(__file__).parents[1] / "tutorials"
CODE = re.compile(r"^```python\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def notebook(page: str) -> str:
    """Return a page as a notebook of version 4.5.

    >>> [cell["cell_type"] for cell in json.loads(notebook("# Sum\\n\\n```python\\n1 + 1\\n```\\n"))["cells"]]
    ['markdown', 'code']
    """
    parts = CODE.split(page)  # text and code in turn
    cells = [_cell(place, part.strip()) for place, part in enumerate(parts) if part.strip()]
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return (
        json.dumps(
            {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1, ensure_ascii=False
        )
        + "\n"
    )


def _cell(place: int, source: str) -> dict[str, Any]:
    cell = {"id": f"cell-{place}", "metadata": {}, "source": source.splitlines(keepends=True)}
    if place % 2:
        return {"cell_type": "code", "execution_count": None, **cell, "outputs": []}
    return {"cell_type": "markdown", **cell}


if __name__ == "__main__":
    for path in sorted(TUTORIALS.glob("*.md")):
        path.with_suffix(".ipynb").write_text(notebook(path.read_text(encoding="utf-8")), encoding="utf-8")
