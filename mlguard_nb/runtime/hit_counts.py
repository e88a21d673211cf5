"""Tells of cache hits and misses: the first at once, those that follow within a second as one event with their count.

A hit takes a quarter of a microsecond and an event some four, so an event a hit would be most of what a hit costs.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable

from mlguard_nb.telemetry import bus

__all__ = ["HitCounts"]

_PAUSE_SECONDS = 1.0


class HitCounts:
    """`emit(count)` is called with a hit (or miss), or with the sum of a second's. `bus.flush` tells what is left."""

    def __init__(self, emit: Callable[[int], None]) -> None:
        self._emit = emit
        self._untold = 0
        self._is_waiting = False
        _ALL.add(self)

    def one(self) -> None:
        """A hit. Two threads at once may count as one."""
        if self._is_waiting:
            self._untold += 1
            return
        self._is_waiting = True
        self._emit(1)
        _ticker.wait_for(self)

    def tell(self) -> int:
        """Tell what has not been told; how many that was."""
        count, self._untold = self._untold, 0
        if count:
            self._emit(count)
        return count

    def second_over(self) -> bool:
        """Tell what came since; whether there was anything, so that the next second is waited for too."""
        if not self.tell():
            self._is_waiting = False
        return self._is_waiting

    def after_fork(self) -> None:
        """The parent tells its own hits."""
        self._untold, self._is_waiting = 0, False


class _Ticker:
    """The one thread that tells of a second's hits, of all caches; it ends when there were none."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """The child inherits no thread."""
        self._lock = threading.Lock()
        self._waiting: list[HitCounts] = []
        self._is_running = False

    def wait_for(self, counts: HitCounts) -> None:
        """Have `counts` told when the second is over, and kept until then."""
        with self._lock:
            self._waiting.append(counts)
            if self._is_running:
                return
            self._is_running = True
        try:
            threading.Thread(target=self._run, name="mlguard-hits", daemon=True).start()
        except RuntimeError:  # the interpreter is ending, or the process may have no more threads: a flush tells
            self._is_running = False

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_PAUSE_SECONDS)
            with self._lock:
                due, self._waiting = self._waiting, []
            busy = [counts for counts in due if counts.second_over()]
            with self._lock:
                self._waiting += busy
                if not self._waiting:
                    self._is_running = False
                    return


_ALL: weakref.WeakSet[HitCounts] = weakref.WeakSet()
_ticker = _Ticker()


def _tell_all() -> None:
    for counts in list(_ALL):
        counts.tell()


def _after_fork() -> None:
    _ticker.after_fork()
    for counts in list(_ALL):
        counts.after_fork()


bus.on_flush(_tell_all)
atexit.register(_tell_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
