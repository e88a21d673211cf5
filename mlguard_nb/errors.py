"""Every exception mlguard raises on purpose.

    GuardError
    +- PolicyError(ValueError)           the request makes no sense
    |  +- DirectiveError                 a %%guard line, shown with a caret under the word
    |  +- UnboundName                    the line names a function, type or schema that does not exist
    +- InputRejected(ValueError)         arguments broke their schema; all violations at once; never retried
    +- MemoryPressure(MemoryError)       the call would leave less room than its policy allows
    +- CircuitOpen                       the breaker refuses calls for now
    +- DeviceUnavailable                 a device that was named explicitly is not there
    +- ConversionError                   a notebook cannot be converted; all diagnostics at once
    +- MissingExtra(ImportError)         an optional dependency is not installed
    MemoryStop(BaseException)            for a cell that swallowed MemoryPressure

Arguments are plain and the text is built in ``__str__``, so every error pickles and every fact is an attribute.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "CircuitOpen",
    "ConversionError",
    "DeviceUnavailable",
    "Diagnostic",
    "DirectiveError",
    "GuardError",
    "Holder",
    "InputRejected",
    "MemoryPressure",
    "MemoryStop",
    "MissingExtra",
    "PolicyError",
    "Remedy",
    "UnboundName",
    "Violation",
    "add_note",
    "in_words",
    "on_one_line",
]


def in_words(error: BaseException) -> str:
    """The error as "Class: message"; the class alone where there is no message, or where its own __str__ fails."""
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def on_one_line(name: str) -> str:
    """A file's name as it may be shown: line breaks, and what steers a terminal, written as Python escapes them."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def add_note(error: BaseException, note: str) -> None:
    """Attach `note` to `error`, shown below its traceback; on Python 3.10 kept in ``__notes__`` only."""
    attach = getattr(error, "add_note", None)
    if attach is not None:
        attach(note)
    else:
        notes: list[str] = getattr(error, "__notes__", [])
        error.__notes__ = [*notes, note]  # type: ignore[attr-defined]


class GuardError(Exception):
    """Anything mlguard raises on purpose."""


class PolicyError(GuardError, ValueError):
    """A policy that cannot be: the message names the field and the allowed values."""


class DirectiveError(PolicyError):
    """A %%guard line that cannot be read.

    `line` is the text after ``%%guard``; `span` the (start, end) columns of the offending word in it;
    `hint` the next step, often the nearest known option.
    """

    def __init__(self, line: str, span: tuple[int, int], message: str, hint: str = "") -> None:
        super().__init__(line, span, message, hint)
        self.line, self.span, self.message, self.hint = line, span, message, hint

    def __str__(self) -> str:
        start, end = self.span
        shown = f"%%guard {self.line}"
        caret = " " * (len("%%guard ") + start) + "^" * max(1, end - start)
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.message}{hint}\n    {shown}\n    {caret}"


class UnboundName(PolicyError):
    """A policy refers to `name` (as `role`, such as "fallback"), and the namespace has no such name."""

    def __init__(self, name: str, role: str, nearest: str | None = None) -> None:
        super().__init__(name, role, nearest)
        self.name, self.role, self.nearest = name, role, nearest

    def __str__(self) -> str:
        near = f"; did you mean {self.nearest}?" if self.nearest else "."
        return f"{self.role}={self.name}: there is no {self.name!r} here{near} Define it before it is used."


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: which argument, which rule, what was expected and what was found."""

    argument: str
    rule: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.argument}: {self.rule}: expected {self.expected}, found {self.found}"


class InputRejected(GuardError, ValueError):
    """Arguments (or a return value) broke their schema. `violations` holds every broken rule, not just the first."""

    retryable = False

    def __init__(self, function: str, violations: Iterable[Violation]) -> None:
        self.function, self.violations = function, tuple(violations)
        super().__init__(function, self.violations)

    def __str__(self) -> str:
        count = len(self.violations)
        lines = "".join(f"\n  - {violation}" for violation in self.violations)
        return f"{self.function} rejected its input: {count} violation{'s' if count != 1 else ''}{lines}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds memory: a notebook, a process or "this process", and how many bytes of it (None: not known)."""

    name: str
    used_bytes: int | None


class MemoryPressure(GuardError, MemoryError):
    """The call would leave less room than its policy allows. All sizes in bytes; None where nobody can say.

    `device` is "RAM" or a device's name; `retry_after` the seconds after which trying again may help.
    """

    def __init__(
        self,
        device: str,
        needed: int | None = None,
        free: int | None = None,
        limit: int | None = None,
        holders: Iterable[Holder] = (),
        retry_after: float | None = None,
        used: int | None = None,
        next_step: str = "free memory, raise the limit, or give a fallback",
    ) -> None:
        self.device, self.needed, self.free, self.limit = device, needed, free, limit
        self.holders, self.retry_after, self.used, self.next_step = tuple(holders), retry_after, used, next_step
        super().__init__(device, needed, free, limit, self.holders, retry_after, used, next_step)

    def __str__(self) -> str:
        def gib(count: int) -> str:
            return f"{count / 2**30:,.1f} GiB"

        facts = []
        if self.used is not None and self.limit is not None:
            facts.append(f"{gib(self.used)} in use, stop at {gib(self.limit)}")
        elif self.limit is not None:
            facts.append(f"stop at {gib(self.limit)}")
        if self.free is not None:
            facts.append(f"{gib(self.free)} free")
        if self.needed:
            facts.append(f"{gib(self.needed)} needed")
        held = [h.name if h.used_bytes is None else f"{h.name} {gib(h.used_bytes)}" for h in self.holders]
        by = f"; held by {', '.join(held)}" if held else ""
        return f"{self.device} is short: {', '.join(facts) or 'no room'}{by}. Next: {self.next_step}."


class MemoryStop(BaseException):
    """Ends a guarded cell that caught MemoryPressure as an ordinary exception and went on allocating."""


class CircuitOpen(GuardError):
    """The circuit breaker `name` refuses calls; try again after `retry_after` seconds."""

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(name, retry_after)
        self.name, self.retry_after = name, retry_after

    def __str__(self) -> str:
        return f"circuit {self.name!r} is open after too many failures; next probe in {self.retry_after:.1f} s"


class DeviceUnavailable(GuardError):
    """A device that was named explicitly (`device`) is not there, and why."""

    def __init__(self, device: str, reason: str) -> None:
        super().__init__(device, reason)
        self.device, self.reason = device, reason

    def __str__(self) -> str:
        return f"device {self.device} is not available: {self.reason}. Name another one, or leave device= out."


Remedy = Literal["skip_bad_cells", "order", "allow_shell", "pack_data", "output", "force"]
"""The option of an export, by its name in ExportOptions, that gets past a finding."""

_IN_PYTHON: dict[Remedy, str] = {
    "skip_bad_cells": "export with skip_bad_cells=True",
    "order": 'export with order="executed"',
    "allow_shell": "export with allow_shell=True",
    "pack_data": "export with pack_data=True to take data of any size along",
    "output": "choose another output",
    "force": "write into it with force=True",
}


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding about a notebook. `cell` counts code cells from 1, `line` lines of that cell from 1.

    `next_step` is what a person can do in the notebook, `remedies` what they can ask of the export instead. Each front
    end has its own words for those; str() speaks to a caller in Python.
    """

    code: str
    severity: str  # "error", "warning" or "info"
    cell: int | None
    line: int | None
    message: str
    next_step: str = ""
    remedies: tuple[Remedy, ...] = ()

    def spelt(self, words: Mapping[Remedy, str]) -> Diagnostic:
        """The same with its remedies, in these `words`, as a part of `next_step`."""
        if not self.remedies:
            return self
        ways = [self.next_step.removesuffix("."), *(words[one] for one in self.remedies)]
        step = ", or ".join(way for way in ways if way)
        return replace(self, next_step=f"{step[:1].upper()}{step[1:]}.", remedies=())

    def __str__(self) -> str:
        where = "" if self.cell is None else f"cell {self.cell}" + (f", line {self.line}" if self.line else "") + ": "
        step = self.spelt(_IN_PYTHON).next_step
        return f"{where}{self.message.removesuffix('.')}.{f' {step}' if step else ''}"


class ConversionError(GuardError):
    """A notebook cannot be converted. `diagnostics` holds every finding; `notebook` is its path as given."""

    def __init__(self, notebook: str, diagnostics: Iterable[Diagnostic]) -> None:
        self.notebook, self.diagnostics = notebook, tuple(diagnostics)
        super().__init__(notebook, self.diagnostics)

    def spelt(self, words: Mapping[Remedy, str]) -> ConversionError:
        """The same with every remedy in the words of a front end."""
        return ConversionError(self.notebook, [one.spelt(words) for one in self.diagnostics])

    def __str__(self) -> str:
        return "\n".join(f"{on_one_line(self.notebook)}: {diagnostic}" for diagnostic in self.diagnostics)


class MissingExtra(GuardError, ImportError):
    """`feature` needs an optional dependency: `extra` of `distribution`. The message says which command installs it."""

    def __init__(self, feature: str, extra: str, distribution: str = "mlguard-nb") -> None:
        super().__init__(feature, extra, distribution)
        self.feature, self.extra, self.distribution = feature, extra, distribution

    def __str__(self) -> str:
        return f"{self.feature} needs an optional dependency: pip install '{self.distribution}[{self.extra}]'"
