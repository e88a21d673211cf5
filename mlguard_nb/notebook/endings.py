"""The end of an attempt from outside: how long it may take, and how a cell that awaits is ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mlguard_nb.policy.values import RetryPolicy

__all__ = ["Cancellation", "seconds_allowed"]

_HEARTBEAT_SECONDS = 0.1


def seconds_allowed(retry: RetryPolicy | None, began: float, ends_at: float | None, now: float) -> float | None:
    """How long an attempt that begins `now` may take; None: as long as it likes.

    `began` is when the run did; `ends_at` the end of all attempts where that is known already, with outer deadlines.
    """
    if retry is None:
        return None
    limits = [] if retry.timeout is None else [retry.timeout]
    ends_at = ends_at or (retry.deadline and began + retry.deadline)
    if ends_at:
        limits.append(max(0.001, ends_at - now))
    return min(limits, default=None)


class Cancellation:
    """The task of a cell that awaits, and the error that it is to end with instead of CancelledError."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._error: BaseException | None = None

    @property
    def is_possible(self) -> bool:
        """Whether the cell awaits: another one is ended by a signal."""
        return self._task is not None

    def begin(self, is_over: Callable[[], bool]) -> None:
        """The cell's task is the present one. Until `is_over` its loop is woken ten times a second: an interrupt is
        noticed then, however long the cell's await is.
        """
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def beat() -> None:
            if not is_over():
                loop.call_later(_HEARTBEAT_SECONDS, beat)

        beat()

    def cancel(self, error: BaseException) -> bool:
        """End the attempt with `error`; False for a cell that is no task."""
        if self._task is None:
            return False
        self._error = error
        self._task.cancel()
        return True

    def told(self, error: BaseException | None) -> BaseException | None:
        """`error`, or what `cancel` was called with where that is why it was raised."""
        if self._error is not None and isinstance(error, asyncio.CancelledError):
            error, self._error = self._error, None
        return error
