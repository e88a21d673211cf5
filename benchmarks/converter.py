"""Planning and writing notebooks of 100, 1,000 and 5,000 cells, beside the other converters."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["BUDGET_SECONDS", "notebook_of", "run"]

SIZES = (100, 1000, 5000)
BUDGET_SECONDS = {1000: 3.0, 5000: 15.0}
_LONGEST_SECONDS = 180
_OURS = "mlguard-nb check + emit"
_EMIT = (
    "import sys; from mlguard_convert.plan import make_plan; from mlguard_convert.emit import emit_modules; "
    "from mlguard_convert.reader import read_notebook; emit_modules(make_plan(read_notebook(sys.argv[1])))"
)


def run(results: Path) -> str:
    """Seconds of processor time of each converter as a process of its own, start included; `results` gets no picture."""
    lines = [f"{'converter':32}" + "".join(f"{size:>10,} cells" for size in SIZES)]
    with tempfile.TemporaryDirectory() as folder:
        notebooks = {size: notebook_of(size, Path(folder) / f"n{size}.ipynb") for size in SIZES}
        for name, command in _commands().items():
            shown = [_spoken(_seconds(command, notebooks[size], Path(folder) / "out")) for size in SIZES]
            lines.append(f"{name:32}" + "".join(f"{one:>16}" for one in shown))
    budget = ", ".join(f"{size:,} cells in {seconds:g} s" for size, seconds in BUDGET_SECONDS.items())
    lines.append(f"budget of ours: {budget}")
    return "\n".join(lines)


def notebook_of(cells: int, path: Path) -> Path:
    """A notebook of so many code cells of five lines, in chapters of ten: definitions, loops, calls and rebinding."""
    made: list[dict[str, object]] = [_code("import math")]
    for number in range(1, cells):
        if number % 10 == 0:
            made.append({"cell_type": "markdown", "metadata": {}, "source": f"## Chapter {number}\n\nSome words."})
        before = f"value_{number - 1}" if number > 1 else "1.0"
        if number % 5 == 0:
            text = f"def grow_{number}(x):\n    y = x + {number}\n    return math.sqrt(y * y)\n\nvalue_{number} = grow_{number}({before})"
        else:
            text = (
                f"total = 0\nfor item in range({number % 7 + 2}):\n    total += item * {number}\n"
                f"value_{number} = total + {before}\nvalue_{number}"
            )
        made.append(_code(text))
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}), encoding="utf-8")
    return path


def _code(source: str) -> dict[str, object]:
    return {"cell_type": "code", "metadata": {}, "source": source, "outputs": [], "execution_count": None}


def _commands() -> dict[str, list[str]]:
    """Ours, and each peer that is installed; NOTEBOOK and OUT stand for the file and a new folder."""
    here = Path(sys.executable).parent
    peers = {
        "nbconvert --to python": ["jupyter-nbconvert", "--to", "python", "NOTEBOOK", "--output-dir", "OUT"],
        "jupytext --to py": ["jupytext", "--to", "py", "NOTEBOOK", "-o", "OUT/n.py"],
        "marimo convert": ["marimo", "convert", "NOTEBOOK", "-o", "OUT/n.py"],
    }
    known = {
        name: [str(here / command[0]), *command[1:]] for name, command in peers.items() if (here / command[0]).exists()
    }
    return {_OURS: [sys.executable, "-c", _EMIT, "NOTEBOOK"], **known}


def _seconds(command: list[str], notebook: Path, out: Path) -> float | None:
    """Processor seconds of the command; None where it fails or does not end."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    words = [word.replace("NOTEBOOK", str(notebook)).replace("OUT", str(out)) for word in command]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        subprocess.run(
            words,
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=dict(os.environ),
            timeout=_LONGEST_SECONDS,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _spoken(seconds: float | None) -> str:
    return "not done" if seconds is None else f"{seconds:.2f} s"
