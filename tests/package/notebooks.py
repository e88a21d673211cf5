"""Small notebooks and a package written by hand, for the tests of everything around the converted code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlguard_convert.dependencies import Requirement
from mlguard_convert.package import Package, StepRow
from mlguard_convert.plan import Change

__all__ = ["PACKAGE", "SOURCES", "notebook", "write_notebook"]


def notebook(*cells: str | tuple[str, str] | dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """An nbformat 4 notebook: texts are code cells, pairs are (type, source), dicts are cells as they are."""
    made: list[dict[str, Any]] = []
    for cell in cells:
        if isinstance(cell, dict):
            made.append(cell)
            continue
        kind, source = ("code", cell) if isinstance(cell, str) else cell
        extra = {"outputs": [], "execution_count": None} if kind == "code" else {}
        made.append({"cell_type": kind, "metadata": {}, "source": source, **extra})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": made,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}, **metadata},
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def write_notebook(path: Path, *cells: Any, **metadata: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(*cells, **metadata)), encoding="utf-8")
    return path


# What a converter makes of the cells `rate = 3`, `rows = [...]` and `total = sum(rows) * rate`, written by hand.
SOURCES = {
    "src/tally/__init__.py": '"""Add up rows."""\n\nfrom tally.pipeline import Results, run\n\n__all__ = ["Results", "run"]\n',
    "src/tally/steps.py": '''"""The steps."""

from pathlib import Path

from mlguard_nb.pipeline import step

RATE = 3


@step(cell=2, outputs=("rows",))
def load() -> list[int]:
    """Load."""
    lines = Path("rows.txt").read_text().split()
    return [int(line) for line in lines]


@step(cell=3, outputs=("total",))
def add(rows: list[int]) -> int:
    """Add."""
    for row in rows:
        last = row
    return sum(rows) * 3
''',
    "src/tally/pipeline.py": '''"""From top to bottom."""

from pathlib import Path
from typing import TypedDict

from mlguard_nb.pipeline import working_directory

from tally import steps


class Results(TypedDict):
    """The names."""

    rows: list[int]
    total: int


def run(*, base_dir: str | Path | None = None) -> Results:
    """Run."""
    with working_directory(base_dir):
        rows = steps.load()
        total = steps.add(rows)
    return Results(rows=rows, total=total)
''',
    "src/tally/__main__.py": '''"""`tally`."""

from mlguard_nb.pipeline import command_line

from tally.pipeline import run

main = command_line(run)

if __name__ == "__main__":
    raise SystemExit(main())
''',
}

PACKAGE = Package(
    name="tally",
    description='Add up "rows": a \\ test | of texts.',
    notebook="tally.ipynb",
    notebook_sha256="ab" * 32,
    code_cells=3,
    modules=SOURCES,
    requirements=(Requirement("mlguard-nb", "1.0.0"),),
    locked=("mlguard-nb==1.0.0",),
    steps=(
        StepRow(name="load", cells=(2,), gives=("rows",), guards=("cache 1 h",)),
        StepRow(name="add", cells=(3,), reads=("rows",), gives=("total",)),
    ),
    changes=(Change((1, 2, 3, 5), "`a | b` only showed a value: dropped"),),
    example_result="total",
)
