"""The staged package made presentable: formatted, imports sorted, and checked that it imports without a sound."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from mlguard_convert.templates.project import LINT_EXCEPTIONS
from mlguard_nb.dataflow import statement_facts
from mlguard_nb.errors import Diagnostic

__all__ = ["import_check", "tidy"]

_LONGEST_IMPORT_SECONDS = 120
# What ruff calls an unused or unknown name (F), broken syntax (E9) or an error (PLE) is never a matter of style.
_NEVER_STYLE = re.compile(r"(?:F|PLE)\d+$|E9")
_MARKED = re.compile(r"# noqa: [A-Z0-9, ]*F821[A-Z0-9, ]*$")
_CARRIED = "an earlier turn of the loop has bound it"
_ALWAYS = LINT_EXCEPTIONS["**/*.py"]


def tidy(folder: Path, package: str) -> dict[str, dict[str, str]]:
    """Format the package in `folder` and sort its imports; for each file the style rules its code breaks, with what
    ruff calls them.

    A slip of the notebook that cannot be mended without changing what it does, such as a name that nobody binds (of
    which a diagnostic tells), stays as its author wrote it, with `# noqa: F821` in its line: it is visible to readers
    and the linter stays quiet. Where a turn of a loop reads what an earlier one has bound, the line says so.
    Without ruff the code stays as emitted, and nothing is known of its style.
    """
    order = ["--isolated", "--line-length=120", "--quiet", "--no-cache"]
    first = ["--config", f'lint.isort.known-first-party=["{package}"]']
    if _ruff(folder, "check", *order, *first, "--select=I", "--fix", "--exit-zero", ".") is None:
        return {}
    _ruff(folder, "check", *order, "--select=F541", "--fix", "--exit-zero", ".")  # an f before a plain text
    _ruff(folder, "format", *order, ".")
    _ruff(folder, "check", *order, "--select=F", "--add-noqa", ".")
    undefined = _ruff(
        folder, "check", *order, "--select=F821", "--ignore-noqa", "--output-format=json", "--exit-zero", "."
    )
    for file, group in groupby(json.loads(undefined or "[]"), key=lambda one: Path(one["filename"])):
        _say_why(file, [(one["location"]["row"], one["message"].split("`")[1]) for one in group])
    every = ["--select=ALL", "--ignore=D203,D213"]  # they exclude D211 and D212
    found = _ruff(folder, "check", *order, *first, *every, "--output-format=json", "--exit-zero", "src")
    broken: dict[str, dict[str, str]] = {}
    for one in json.loads(found or "[]"):
        code = one.get("code") or "E9"  # without a code: ruff could not read the file
        if not _NEVER_STYLE.match(code) and code not in _ALWAYS:
            path = Path(one["filename"]).relative_to(folder.resolve()).as_posix()
            broken.setdefault(path, {})[code] = (one.get("url") or "").rpartition("/")[2]
    return {path: dict(sorted(codes.items())) for path, codes in sorted(broken.items())}


def _say_why(file: Path, undefined: Sequence[tuple[int, str]]) -> None:
    """Add the reason to the lines (from 1) all of whose undefined names are bound in a loop around them."""
    text = file.read_text(encoding="utf-8")
    loops = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.For, ast.AsyncFor, ast.While))]
    spans = [(loop.lineno, loop.end_lineno or loop.lineno, statement_facts(loop).bound) for loop in loops]
    others = {row for row, name in undefined if not any(a <= row <= b and name in bound for a, b, bound in spans)}
    lines = text.split("\n")
    for row in {row for row, _ in undefined} - others:
        if _MARKED.search(lines[row - 1]):  # else the mark stands behind a text of several lines
            lines[row - 1] += f"  # {_CARRIED}"
    file.write_text("\n".join(lines), encoding="utf-8")


def import_check(folder: Path, package: str) -> list[Diagnostic]:
    """What is wrong with importing the package in a process of its own: it fails, prints or warns; empty: nothing.

    A module that is not installed here is no fault of the package.
    """
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", f"import {package}.__main__"]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace",
            timeout=_LONGEST_IMPORT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        message = f"importing the package takes longer than {_LONGEST_IMPORT_SECONDS} s"
        return [Diagnostic("import", "warning", None, None, message, "See which library does that")]
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode:
        if last.startswith("ModuleNotFoundError") and f"'{package}" not in last:
            missing = last.partition("No module named ")[2].strip("'")
            message = f"{missing} is not installed here, so the package was not imported"
            return [Diagnostic("import", "info", None, None, message)]
        return [Diagnostic("import", "error", None, None, f"the package does not import: {last}")]
    said = (done.stdout + done.stderr).strip()
    if said:
        message = f"importing the package prints {said.splitlines()[0][:100]!r}"
        return [Diagnostic("import", "warning", None, None, message)]
    return []


def _ruff(folder: Path, *arguments: str) -> str | None:
    """What ruff printed; None where it is not installed."""
    command = [sys.executable, "-m", "ruff", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "No module named ruff" in done.stderr:
        return None
    return done.stdout
