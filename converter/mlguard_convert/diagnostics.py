"""Findings about a notebook: how they are collected, and which of them end the conversion."""

from __future__ import annotations

from pathlib import Path

from mlguard_nb.errors import ConversionError, Diagnostic, Remedy

__all__ = ["Findings", "refused"]


def refused(notebook: str | Path, code: str, message: str, next_step: str = "") -> ConversionError:
    """The error for a file that is refused as a whole."""
    return ConversionError(str(notebook), (Diagnostic(code, "error", None, None, message, next_step),))


class Findings:
    """Everything found so far, in the order of the cells; the same finding is kept once."""

    def __init__(self) -> None:
        self._found: dict[Diagnostic, None] = {}

    def add(self, one: Diagnostic) -> None:
        """A finding as it is; the same one twice counts once."""
        self._found[one] = None

    def error(
        self,
        code: str,
        cell: int | None,
        message: str,
        next_step: str = "",
        line: int | None = None,
        remedies: tuple[Remedy, ...] = (),
    ) -> None:
        """Something that cannot be converted; every error of the notebook is reported before it is refused."""
        self.add(Diagnostic(code, "error", cell, line, message, next_step, remedies))

    def warning(
        self,
        code: str,
        cell: int | None,
        message: str,
        next_step: str = "",
        line: int | None = None,
        remedies: tuple[Remedy, ...] = (),
    ) -> None:
        """Something that a person should look at before trusting the package."""
        self.add(Diagnostic(code, "warning", cell, line, message, next_step, remedies))

    def info(
        self,
        code: str,
        cell: int | None,
        message: str,
        next_step: str = "",
        line: int | None = None,
        remedies: tuple[Remedy, ...] = (),
    ) -> None:
        """Something that was decided, and may be of interest."""
        self.add(Diagnostic(code, "info", cell, line, message, next_step, remedies))

    def refuse_if_errors(self, notebook: str | Path) -> None:
        """ConversionError with every error, if there is any."""
        errors = tuple(one for one in self.all() if one.severity == "error")
        if errors:
            raise ConversionError(str(notebook), errors)

    def all(self) -> tuple[Diagnostic, ...]:
        """Every finding, by cell and line; those of the whole notebook first."""
        return tuple(sorted(self._found, key=lambda one: (one.cell or 0, one.line or 0)))
