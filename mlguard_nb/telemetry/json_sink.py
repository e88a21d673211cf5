"""Every event as one JSON object a line, made to be read by `mlguard-nb report` and by log collectors."""

from __future__ import annotations

import json
import math
import os
import re
import threading
from collections.abc import Callable
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import Any, TextIO

from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import Event
from mlguard_nb.telemetry.redaction import redacted

__all__ = ["as_line", "install"]


def as_line(event: Event) -> str:
    """The event as a JSON object: "time" in seconds since the epoch, "event" its name in snake case, then its facts.

    Numbers that JSON has no word for (NaN, infinity) are null, and credentials in the text of an error are taken out.
    """
    facts: dict[str, Any] = asdict(event)
    wall = facts.pop("wall")
    if isinstance(facts.get("error"), str):
        facts["error"] = redacted(facts["error"])
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    line = {"time": round(wall, 3), "event": name, **facts}
    try:
        return json.dumps(line, default=str, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(line), default=str, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def install(target: str | Path | TextIO) -> Callable[[], None]:
    """Write every event to `target`, a path that is appended to or an open text stream; returns what ends that.

    A line of a file is one write, so that several threads and processes can share it, forked ones too.
    """
    if not isinstance(target, (str, Path)):
        return bus.subscribe(_Lines(target).write)
    file = FileIO(target, "ab")
    unsubscribe = bus.subscribe(lambda event: _append(file, event))

    def remove() -> None:
        unsubscribe()
        file.close()

    return remove


def _append(file: FileIO, event: Event) -> None:
    file.write(f"{as_line(event)}\n".encode(errors="backslashreplace"))  # "\udc80" is JSON's own way to write it


class _Lines:
    """An open text stream. A lock that another thread held when the process forked is not held in the child."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._process, self._writing = stream, os.getpid(), threading.Lock()

    def write(self, event: Event) -> None:
        """One line."""
        line = as_line(event)
        if self._process != os.getpid():
            self._process, self._writing = os.getpid(), threading.Lock()
        with self._writing:
            self._stream.write(line + "\n")
            self._stream.flush()
