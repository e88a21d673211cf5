"""The clock seam: everything that waits or measures time asks a Clock, so tests never sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["NOW", "SYSTEM", "Clock", "SystemClock", "current", "install"]


class Clock(Protocol):
    """Seconds from an arbitrary start, and two ways to wait."""

    def now(self) -> float:
        """Monotonic seconds; only differences mean anything."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, for time stamps that outlive the process."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block this thread for `seconds`."""
        ...

    async def sleep_async(self, seconds: float) -> None:
        """Let other tasks run for `seconds`."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        time.sleep(seconds)

    async def sleep_async(self, seconds: float) -> None:
        """Let other tasks run."""
        import asyncio  # half of the time that `from mlguard_nb import retry` would take

        await asyncio.sleep(seconds)


SYSTEM: Clock = SystemClock()
_current: Clock = SYSTEM


def current() -> Clock:
    """The clock in force: the system's, unless a test installed another."""
    return _current


class _Now:
    """The monotonic time of the clock in force, one attribute away: for call paths that count nanoseconds."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.monotonic

    def __reduce__(self) -> str:
        return "NOW"


NOW = _Now()


def install(clock: Clock) -> Clock:
    """Put `clock` in force for the whole process and return the one it replaces."""
    global _current
    previous, _current = _current, clock
    NOW.now = time.monotonic if clock is SYSTEM else clock.now
    return previous
