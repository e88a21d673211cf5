"""Work behind the caller's back: refreshing a stale result on a thread, or in a task of the running loop."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ["Behind"]

_log = logging.getLogger("mlguard.cache")


class Behind:
    """The refreshes of one function that are under way. One that fails is logged: its caller has an answer already."""

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def on_thread(self, label: str, work: Callable[[], Any]) -> None:
        """Run `work` on a daemon thread, in the caller's context."""
        context = contextvars.copy_context()

        def refresh() -> None:
            try:
                context.run(work)
            except Exception as error:
                _tell(label, error)
            finally:
                self._threads.discard(threading.current_thread())

        thread = threading.Thread(target=refresh, name=f"mlguard-refresh-{label}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def in_task(self, label: str, work: Callable[[], Awaitable[Any]]) -> None:
        """Await `work` in a task of the running loop."""

        async def refresh() -> None:
            try:
                await work()
            except Exception as error:
                _tell(label, error)

        import asyncio

        task = asyncio.ensure_future(refresh())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def is_busy(self) -> bool:
        """Whether a refresh is under way."""
        return bool(self._threads or self._tasks)

    def join(self, timeout: float = 30.0) -> None:
        """Wait for the threads, each at most `timeout` seconds."""
        for thread in list(self._threads):
            thread.join(timeout)


def _tell(label: str, error: Exception) -> None:
    _log.warning("refreshing %s failed: %s: %s", label, type(error).__name__, error)
