"""What a run says on standard error: lines for a person, or JSON for a collector."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import ExitStack
from dataclasses import asdict
from types import TracebackType
from typing import Any, Protocol, TextIO

from mlguard_nb import clock
from mlguard_nb.pipeline.progress import Remark, Report, StepFinished, watch
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import CallFinished, Event, MemoryRefused, RetryScheduled, RunEnded, StepEnded
from mlguard_nb.telemetry.json_sink import as_line
from mlguard_nb.telemetry.redaction import redacted

__all__ = ["JsonOutput", "Output", "TextOutput", "chosen_output"]

_OF_ERRORS = ("error", "detail", "trace")


class Output(Protocol):
    """Where the story of one run goes; a context manager around that run."""

    def __enter__(self) -> Output: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def note(self, text: str) -> None:
        """Something worth a line."""
        ...

    def failed(self, reason: str, detail: str = "") -> None:
        """The run ended badly; `detail` is a traceback or notes."""
        ...

    def done(self, results: int, seconds: float) -> None:
        """The run ended well."""
        ...


def chosen_output(*, json_logs: bool, quiet: bool, stream: TextIO | None = None) -> Output:
    """The output that the options ask for, on `stream` (None: standard error)."""
    target = stream or sys.stderr
    return JsonOutput(target, quiet=quiet) if json_logs else TextOutput(target, quiet=quiet)


class _Output:
    """Listens to the run's reports and to the log while it is open."""

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self.stream, self.quiet = stream, quiet
        self.steps = 0
        self._open = ExitStack()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def _listen(self, handler: logging.Handler, level: int) -> None:
        self._open.enter_context(watch(self._report))
        self._open.callback(bus.subscribe(self._event))
        root = logging.getLogger()
        handler.setLevel(level)
        root.addHandler(handler)
        self._open.callback(root.removeHandler, handler)

    def _report(self, event: Report) -> None:
        raise NotImplementedError

    def _event(self, event: Event) -> None:
        raise NotImplementedError


class TextOutput(_Output):
    """One line a step, for a person."""

    def __enter__(self) -> TextOutput:
        """Start to listen."""
        handler = logging.StreamHandler(self.stream)
        handler.setFormatter(logging.Formatter("  %(levelname)s %(name)s: %(message)s"))
        self._listen(handler, logging.WARNING)
        return self

    def _report(self, event: Report) -> None:
        if isinstance(event, Remark):
            self.note(event.text)
        if not isinstance(event, StepFinished):
            return
        self.steps += 1
        if not self.quiet:
            where = f"  cell {_range(event.cells)}" if event.cells else ""
            mark = f"  {event.error}" if event.error else ""
            self.stream.write(f"{self.steps:3d} {event.step:<32} {event.seconds:8.2f} s{where}{mark}\n")
            self.stream.flush()

    def _event(self, event: Event) -> None:
        if isinstance(event, RetryScheduled):
            again = f"attempt {event.attempt} failed ({event.error}), the next in {event.wait_seconds:.1f} s"
            self.note(f"    {event.function}: {again}")
        elif isinstance(event, MemoryRefused):
            self.note(f"    {event.function}: {event.device} is short, {event.action}")

    def note(self, text: str) -> None:
        """Something worth a line."""
        if not self.quiet:
            self.stream.write(f"{text}\n")

    def failed(self, reason: str, detail: str = "") -> None:
        """The traceback or notes first, so that the reason is the last line."""
        self.stream.write(f"{detail.rstrip()}\n" if detail else "")
        self.stream.write(f"failed: {reason}\n")

    def done(self, results: int, seconds: float) -> None:
        """One closing line."""
        self.note(f"done: {self.steps} steps in {seconds:.2f} s, {results} results")


class JsonOutput(_Output):
    """One JSON object a line, for a collector: every report, log record and telemetry event."""

    def __enter__(self) -> JsonOutput:
        """Start to listen."""
        self._listen(_JsonHandler(self), logging.INFO)
        return self

    def write(self, event: str, **facts: Any) -> None:
        """One line: the time in seconds since the epoch, its name, and its facts; errors without credentials."""
        told = {name: redacted(facts[name]) for name in _OF_ERRORS if facts.get(name)}
        line = {"time": round(clock.current().wall(), 3), "event": event, **facts, **told}
        self.stream.write(json.dumps(line, default=str, ensure_ascii=False) + "\n")
        self.stream.flush()

    def _report(self, event: Report) -> None:
        if isinstance(event, Remark):
            self.note(event.text)
            return
        if isinstance(event, StepFinished):
            self.steps += 1
        if not self.quiet:
            kind = "step_finished" if isinstance(event, StepFinished) else "step_started"
            self.write(kind, **asdict(event))

    def _event(self, event: Event) -> None:
        if isinstance(event, (StepEnded, RunEnded)):
            return  # told as step_finished and run_finished, with more facts
        if not self.quiet or (isinstance(event, CallFinished) and event.outcome != "ok"):
            self.stream.write(as_line(event) + "\n")
            self.stream.flush()

    def note(self, text: str) -> None:
        """Something worth a line."""
        self.write("note", message=text)

    def failed(self, reason: str, detail: str = "") -> None:
        """The run ended badly."""
        self.write("run_failed", error=reason, detail=detail)

    def done(self, results: int, seconds: float) -> None:
        """The run ended well."""
        self.write("run_finished", steps=self.steps, seconds=round(seconds, 6), results=results)


class _JsonHandler(logging.Handler):
    def __init__(self, output: JsonOutput) -> None:
        super().__init__()
        self.output = output

    def emit(self, record: logging.LogRecord) -> None:
        """A log record as one line; what cannot be formatted goes to logging's own error report."""
        try:
            detail = {"trace": logging.Formatter().formatException(record.exc_info)} if record.exc_info else {}
            message = record.getMessage()
        except (TypeError, ValueError):
            self.handleError(record)
            return
        self.output.write("log", level=record.levelname.lower(), logger=record.name, message=message, **detail)


def _range(cells: tuple[int, ...]) -> str:
    if len(cells) > 1 and cells == tuple(range(cells[0], cells[-1] + 1)):
        return f"{cells[0]}-{cells[-1]}"
    return ", ".join(str(cell) for cell in cells)
