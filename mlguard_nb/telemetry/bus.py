"""Carries events from the guards to whoever listens; with nobody listening it costs an attribute read.

Subscribers run on the thread of the guarded call, in order, so they must be quick: a sink that does more puts the
event into a queue of its own. A subscriber that fails is counted and logged, and never fails the user's function.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlguard_nb.telemetry.events import Event

__all__ = ["emit", "failures", "flush", "is_heard", "on_flush", "subscribe"]

_log = logging.getLogger("mlguard.telemetry")
_subscribers: tuple[Callable[[Event], None], ...] = ()
_flushes: tuple[Callable[[], None], ...] = ()
_failures = 0


def is_heard() -> bool:
    """Whether anybody listens: a guard need not build an event otherwise."""
    return bool(_subscribers)


def emit(event: Event) -> None:
    """Hand `event` to every subscriber."""
    global _failures
    for subscriber in _subscribers:
        try:
            subscriber(event)
        except Exception:
            _failures += 1
            if _failures & (_failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ... so that a broken sink does not flood
                _log.exception("a subscriber failed on %s (%d failures so far)", type(event).__name__, _failures)


def subscribe(subscriber: Callable[[Event], None]) -> Callable[[], None]:
    """Call `subscriber` with every event from now on; returns what ends that."""
    global _subscribers
    # The guards import the events where they tell one, which is no moment to find that there is no memory left.
    import mlguard_nb.telemetry.events  # noqa: F401

    _subscribers = (*_subscribers, subscriber)

    def unsubscribe() -> None:
        global _subscribers
        _subscribers = tuple(other for other in _subscribers if other is not subscriber)

    return unsubscribe


def on_flush(drain: Callable[[], None]) -> Callable[[], None]:
    """Have `drain` called by every `flush`, after those that came before: for sinks and rings with a queue of their
    own. Returns what ends that.
    """
    global _flushes
    _flushes = (*_flushes, drain)

    def end() -> None:
        global _flushes
        _flushes = tuple(other for other in _flushes if other is not drain)

    return end


def flush() -> None:
    """Wait until everything that happened so far has reached the subscribers."""
    for drain in _flushes:
        drain()


def failures() -> int:
    """How often a subscriber failed in this process."""
    return _failures
