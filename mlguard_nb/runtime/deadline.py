"""The end of all attempts, inherited by nested calls: an inner retry never outlives the outer one."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from mlguard_nb.clock import Clock

__all__ = ["ends_at", "limit", "within"]

T = TypeVar("T")

_ends_at: ContextVar[float | None] = ContextVar("mlguard_deadline", default=None)


def ends_at() -> float | None:
    """When the innermost deadline in force ends, on the clock's monotonic scale; None without one."""
    return _ends_at.get()


@contextmanager
def limit(seconds: float | None, clock: Clock) -> Iterator[float | None]:
    """A deadline of `seconds` from now, or the one in force where that is earlier. Gives the time it ends at."""
    outer = _ends_at.get()
    mine = None if seconds is None else clock.now() + seconds
    both = [end for end in (outer, mine) if end is not None]
    earliest = min(both) if both else None
    token = _ends_at.set(earliest)
    try:
        yield earliest
    finally:
        _ends_at.reset(token)


async def within(seconds: float, call: Awaitable[T]) -> T:
    """`call`, cancelled with TimeoutError after `seconds`. It runs in the caller's own task and context, so that what
    it sets in context variables stays set; before Python 3.11 only a task of its own could be cancelled alone.
    """
    import asyncio

    if sys.version_info < (3, 11):
        return await asyncio.wait_for(call, seconds)
    async with asyncio.timeout(seconds):
        return await call
