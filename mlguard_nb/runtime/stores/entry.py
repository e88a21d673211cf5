"""What a store keeps: a value and how long it is good. Times are seconds since the epoch, so they outlive a process."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from mlguard_nb.errors import GuardError

__all__ = ["Entry", "NotStorable", "Store"]


@dataclass(slots=True)
class Entry:
    """A result. Until `fresh_until` it is handed out; until `kept_until` it may be served stale. inf: for ever."""

    value: Any
    stored: float
    fresh_until: float = math.inf
    kept_until: float = math.inf


class NotStorable(GuardError):
    """A value that a store cannot keep without pickle, which it does not use here; the message names the type."""


class Store(Protocol):
    """A place for results that outlives the process. A store that fails raises OSError, ConnectionError or
    TimeoutError (the caller computes instead), and NotStorable for a value it cannot keep.
    """

    def get(self, key: bytes) -> Entry | None:
        """The entry under `key`, None where there is none."""
        ...

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep `entry` under `key`."""
        ...

    def drop(self, key: bytes) -> bool:
        """Forget `key`; whether it was there."""
        ...

    def clear(self, prefix: bytes) -> None:
        """Forget every key that begins with `prefix`."""
        ...
