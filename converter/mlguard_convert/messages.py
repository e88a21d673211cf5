"""What an export says while it goes and at its end: lines for a person, or one JSON object a line for a program."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from mlguard_convert.templates.readme import cells_text
from mlguard_nb.errors import ConversionError, Diagnostic, Remedy, on_one_line
from mlguard_nb.telemetry import wire

if TYPE_CHECKING:
    from mlguard_convert.exporting import ExportResult
    from mlguard_convert.verify import Verification

__all__ = ["LEVELS", "ON_COMMAND_LINE", "JsonTeller", "Teller", "TextTeller", "as_json"]

ON_COMMAND_LINE: dict[Remedy, str] = {
    "skip_bad_cells": "export with --skip-bad-cells",
    "order": "export with --order executed",
    "allow_shell": "export with --allow-shell",
    "pack_data": "export with --pack-data to take data of any size along",
    "output": "choose another --output",
    "force": "write into it with --force",
}
# The words of SARIF and of the page for a severity.
LEVELS: dict[str, Literal["error", "warning", "note"]] = {"error": "error", "warning": "warning", "info": "note"}


class Teller(Protocol):
    """Somebody who is told how the export goes."""

    def progress(self, text: str, done: int, of: int) -> None:
        """`done` parts of `of` are behind us."""
        ...

    def refused(self, notebook: str, error: ConversionError) -> None:
        """The notebook cannot be converted."""
        ...

    def failed(self, message: str) -> None:
        """Something around the conversion failed; one line."""
        ...

    def result(self, result: ExportResult) -> None:
        """It is done."""
        ...


class JsonTeller:
    """One JSON object a line on standard output."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout

    def _write(self, message: dict[str, Any]) -> None:
        self.stream.write(json.dumps(message, ensure_ascii=True) + "\n")
        self.stream.flush()

    def progress(self, text: str, done: int, of: int) -> None:
        """A part is done."""
        self._write({"progress": text, "done": done, "of": of})

    def refused(self, notebook: str, error: ConversionError) -> None:
        """Every finding, as data."""
        self._error(str(error.spelt(ON_COMMAND_LINE)), error.diagnostics)

    def failed(self, message: str) -> None:
        """One line."""
        self._error(message, (Diagnostic("failed", "error", None, None, message),))

    def _error(self, message: str, diagnostics: Sequence[Diagnostic]) -> None:
        self._write({"error": {"message": message, "findings": [_finding(one) for one in diagnostics]}})

    def result(self, result: ExportResult) -> None:
        """Everything about the export."""
        self._write({"result": as_json(result)})


class TextTeller:
    """The result on standard output; progress, findings and refusals on standard error."""

    def __init__(self, stream: TextIO | None = None, errors: TextIO | None = None) -> None:
        self.stream, self.errors = stream or sys.stdout, errors or sys.stderr
        self._last = ""

    def progress(self, text: str, done: int, of: int) -> None:
        """On a terminal one line that is written over; elsewhere one line a stage."""
        if self.errors.isatty():
            counted = f" {done} of {of}" if of > 1 else ""
            self.errors.write(f"\r\033[K{text}{counted}")
        elif text != self._last:
            self.errors.write(f"{text}\n")
        self._last = text
        self.errors.flush()

    def _clear(self) -> None:
        if self._last and self.errors.isatty():
            self.errors.write("\r\033[K")

    def refused(self, notebook: str, error: ConversionError) -> None:
        """One line a finding."""
        self._clear()
        self.errors.write(f"{error.spelt(ON_COMMAND_LINE)}\n")

    def failed(self, message: str) -> None:
        """One line."""
        self._clear()
        self.errors.write(f"mlguard-nb: {message}\n")

    def result(self, result: ExportResult) -> None:
        """Findings, steps when nothing was written, the folder, what was kept, and the comparison."""
        self._clear()
        place = f"{on_one_line(result.notebook)}: " if result.folder is None else ""
        for one in result.diagnostics:
            self.errors.write(f"{one.severity:<8} {place}{one.spelt(ON_COMMAND_LINE)}\n")
        if result.folder is None:
            self.stream.write(_plan(result))
            return
        names = f"{on_one_line(result.notebook)} -> {on_one_line(str(result.folder))}"
        self.stream.write(f"{names} ({len(result.files)} files)\n")
        for path in result.kept:
            self.stream.write(f"kept {path}, which was changed by hand; the new text is beside it as {path}.new\n")
        for path in result.left:
            self.stream.write(f"kept {path}, which was changed by hand; the notebook no longer makes such a file\n")
        if result.verification is not None:
            self.stream.write(_comparison(result.verification))


def as_json(result: ExportResult) -> dict[str, Any]:
    """The result as plain data: what the JSON lines, JupyterLab and `%guard export` show."""
    verification = result.verification
    return {
        "folder": None if result.folder is None else str(result.folder),
        "package": result.package,
        "notebook": result.notebook,
        "files": list(result.files),
        "kept": list(result.kept),
        "left": list(result.left),
        "cells": result.cells,
        "parameters": list(result.parameters),
        "notes": list(result.notes),
        "steps": [asdict(step) for step in result.steps],
        "findings": [_finding(one) for one in result.diagnostics],
        "run": result.run,
        "verification": None
        if verification is None
        else {
            "ok": verification.ok,
            "sentence": verification.sentence(),
            "rows": [asdict(row) for row in verification.rows],
            "unstable": list(verification.unstable),
            "error": verification.error,
            "notebook_seconds": verification.notebook_seconds,
            "package_seconds": verification.package_seconds,
            "notebook_peak_bytes": verification.notebook_peak_bytes,
            "package_peak_bytes": verification.package_peak_bytes,
        },
    }


def _finding(one: Diagnostic) -> dict[str, Any]:
    level = LEVELS[one.severity]
    return wire.as_json(wire.Finding(one.code, level, one.cell, one.line, one.message, one.next_step, one.remedies))


def _plan(result: ExportResult) -> str:
    cells, steps = result.cells, len(result.steps)
    becomes = "cell becomes" if cells == 1 else "cells become"
    lines = [
        f"{on_one_line(result.notebook)}: {cells} {becomes} {steps} {'step' if steps == 1 else 'steps'}; "
        "nothing was run or written"
    ]
    for step in result.steps:
        reads, gives = ", ".join(step.reads) or "-", ", ".join(step.gives) or "-"
        guards = f"  [{'; '.join(step.guards)}]" if step.guards else ""
        lines.append(f"  cell {cells_text(step.cells):<8} {step.name:<28} {reads} -> {gives}{guards}")
    return "\n".join(lines) + "\n"


def _comparison(verification: Verification) -> str:
    lines = [verification.sentence(), *([costs] if (costs := verification.costs()) else [])]
    width = max((len(row.name) for row in verification.rows), default=0)
    for row in verification.rows:
        state = {True: "equal", False: "DIFFERS", None: "apart"}[row.equal]
        detail = row.detail or (row.notebook if row.equal else f"{row.notebook}, then {row.package}")
        lines.append(f"  {state:<8} {row.name:<{width}}  {row.how:<9} {detail}".rstrip())
    return "\n".join(lines) + "\n"
