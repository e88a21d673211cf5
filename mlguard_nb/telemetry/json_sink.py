"""Every event as one JSON object a line, made to be read by `mlguard-nb report` and by log collectors."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import Event

__all__ = ["as_line", "install"]


def as_line(event: Event) -> str:
    """The event as a JSON object: "time" in seconds since the epoch, "event" its name in snake case, then its facts."""
    facts: dict[str, Any] = asdict(event)
    wall = facts.pop("wall")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    return json.dumps({"time": round(wall, 3), "event": name, **facts}, default=str, ensure_ascii=False)


def install(target: str | Path | TextIO) -> Callable[[], None]:
    """Write every event to `target`, a path that is appended to or an open text stream; returns what ends that."""
    opened = Path(target).open("a", encoding="utf-8") if isinstance(target, (str, Path)) else None  # noqa: SIM115
    stream: Any = opened or target
    writing = threading.Lock()

    def write(event: Event) -> None:
        line = as_line(event)
        with writing:
            stream.write(line + "\n")
            stream.flush()

    unsubscribe = bus.subscribe(write)

    def remove() -> None:
        unsubscribe()
        if opened is not None:
            opened.close()

    return remove
