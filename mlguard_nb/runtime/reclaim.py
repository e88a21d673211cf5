"""The ladder: what can be given back before a call is made to wait or is refused, the cheapest rung first."""

from __future__ import annotations

import gc
import logging
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable

from mlguard_nb import clock, devices
from mlguard_nb.devices import frameworks
from mlguard_nb.devices.readings import known
from mlguard_nb.runtime.stores.memory import evict_all
from mlguard_nb.telemetry import bus

__all__ = ["ladder", "trim"]

_log = logging.getLogger("mlguard.memory")
# Seconds from the end of a rung until it is taken again, at least. A full collection of ten million objects takes two
# seconds in which no other thread runs, so a slow rung rests ten times as long as it took.
_THROTTLED = {"gc": 1.0, "trim": 1.0, "empty_cuda_cache": 1.0, "alert": 60.0}
_REST = 10
_lock = threading.Lock()
_due: dict[str, tuple[clock.Clock, float]] = {}


def ladder(actions: Iterable[str], is_short: Callable[[], bool] = lambda: True, label: str = "") -> tuple[str, ...]:
    """Take the rungs in order until `is_short()` says there is room; those that were taken.

    gc, trim (free pages back to the system: gc alone returns none of them), evict_caches (every memory cache of this
    process), empty_cuda_cache (the frameworks' unused device memory), alert (a log record, at most one a minute).
    """
    taken = []
    for action in actions:
        if not _is_due(action):
            continue
        measure = _MEASURES.get(action) if bus.is_heard() else None
        before = None if measure is None else measure()
        started = clock.current().now()
        try:
            freed = _RUNGS[action](label)
        finally:
            _rest(action, clock.current().now() - started)
        taken.append(action)
        if bus.is_heard():
            if measure is not None:
                freed = _fallen(before, measure())
            from mlguard_nb.telemetry.events import MemoryReclaimed

            bus.emit(MemoryReclaimed(function=label, action=action, freed_bytes=freed))
        if action != "alert" and not is_short():
            break
    return tuple(taken)


def _is_due(action: str) -> bool:
    if action not in _THROTTLED:
        return True
    ticking = clock.current()
    with _lock:
        by, due = _due.get(action, (ticking, 0.0))
        if by is ticking and ticking.now() < due:  # times of two clocks, such as a test's, are not compared
            return False
        _due[action] = ticking, math.inf  # somebody is taking it
    return True


def _rest(action: str, took: float) -> None:
    if action in _THROTTLED:
        ticking = clock.current()
        _due[action] = ticking, ticking.now() + max(_THROTTLED[action], _REST * took)


def _collect(_label: str) -> None:
    gc.collect()


def trim(_label: str = "") -> None:
    """Give the allocator's free pages back to the system; nothing where there is no such call (not glibc)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):  # musl
        return


def _evict(_label: str) -> int:
    return evict_all()


def _empty_devices(_label: str) -> None:
    frameworks.empty_caches()


def _alert(label: str) -> None:
    _log.warning("memory is short%s, and what could be given back was not enough", f" for {label}" if label else "")


_RUNGS: dict[str, Callable[[str], int | None]] = {
    "gc": _collect,
    "trim": trim,
    "evict_caches": _evict,
    "empty_cuda_cache": _empty_devices,
    "alert": _alert,
}


def _resident() -> int | None:
    from mlguard_nb.devices.host import resident_bytes

    return known(resident_bytes())


def _on_devices() -> int | None:
    """Bytes in use on all devices; None where one of them does not say."""
    gpus = known(devices.shared().devices_now())
    used = [known(gpu.used_bytes) for gpu in gpus or ()]
    return None if not used or None in used else sum(size for size in used if size is not None)


def _fallen(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else max(0, before - after)


# Where the rung itself cannot say what it gave back: what is to be compared before and after.
_MEASURES: dict[str, Callable[[], int | None]] = {
    "gc": _resident,
    "trim": _resident,
    "empty_cuda_cache": _on_devices,
}


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _due.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
