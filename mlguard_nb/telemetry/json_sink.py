"""Every event as one JSON object a line, made to be read by `mlguard-nb report` and by log collectors."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable
from dataclasses import asdict
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
