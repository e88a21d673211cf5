"""What a run reports while it goes: a step began, a step ended, a remark. Whoever wants to know watches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Remark", "Report", "StepFinished", "StepStarted", "report", "watch"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step began. `cells` are the notebook's code cells it came from, counted from 1; empty: not known."""

    step: str
    cells: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A step ended after `seconds`. `error` is the type name of what it raised, None when it returned."""

    step: str
    cells: tuple[int, ...]
    seconds: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the run as a whole that its reader should know."""

    text: str


Report = StepStarted | StepFinished | Remark
_watchers: tuple[Callable[[Report], None], ...] = ()


@contextmanager
def watch(watcher: Callable[[Report], None]) -> Iterator[None]:
    """Call `watcher` with every report of every run in this process, until the block ends.

    A watcher that raises is logged and does not fail the run.
    """
    global _watchers
    _watchers = (*_watchers, watcher)
    try:
        yield
    finally:
        _watchers = tuple(one for one in _watchers if one is not watcher)


def report(event: Report) -> None:
    """Tell everyone who watches."""
    for watcher in _watchers:
        _tell(watcher, event)


def _tell(watcher: Callable[[Report], None], event: Report) -> None:
    try:
        watcher(event)
    except Exception:  # a broken display must not fail the run
        _LOG.exception("a watcher of the run failed")
