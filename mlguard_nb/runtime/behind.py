"""Work behind the caller's back: refreshing a stale result on a thread, or in a task of the running loop."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

__all__ = ["Behind"]

_log = logging.getLogger("mlguard.cache")


class Behind:
    """The refreshes of one function that are under way, one a key at a time.

    One that fails is logged: its caller has an answer already.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[Hashable, threading.Thread] = {}
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}
        self._running: set[Any] = set()  # also those that were forgotten: a loop keeps its tasks by weak references

    def on_thread(self, key: Hashable, label: str, work: Callable[[], Any]) -> None:
        """Run `work` on a daemon thread, in the caller's context, unless one is at it for `key`."""
        if key in self._threads:
            return
        context = contextvars.copy_context()

        def refresh() -> None:
            try:
                context.run(work)
            except Exception as error:
                _tell(label, error)
            finally:
                self._ended(self._threads, key, thread)

        thread = threading.Thread(target=refresh, name=f"mlguard-refresh-{label}", daemon=True)
        if self._threads.setdefault(key, thread) is thread:
            self._running.add(thread)
            try:
                thread.start()
            except RuntimeError as error:  # the interpreter is ending, or the process may have no more threads
                self._ended(self._threads, key, thread)
                _tell(label, error)

    def in_task(self, key: Hashable, label: str, work: Callable[[], Awaitable[Any]]) -> None:
        """Await `work` in a task of the running loop, unless one is at it for `key`."""
        under_way = self._tasks.get(key)
        if under_way is not None and not under_way.done() and not under_way.get_loop().is_closed():
            return
        self._running.discard(under_way)  # a loop that was closed leaves its tasks as they were

        async def refresh() -> None:
            try:
                await work()
            except Exception as error:
                _tell(label, error)

        import asyncio

        self._tasks[key] = task = asyncio.ensure_future(refresh())
        self._running.add(task)
        task.add_done_callback(lambda done: self._ended(self._tasks, key, done))

    def forget(self, key: Hashable = None) -> None:
        """What is under way for `key` (None: for any) rests on what was: the next stale hit refreshes anew."""
        with self._lock:
            for workers in (self._threads, self._tasks):
                if key is None:
                    workers.clear()
                else:
                    workers.pop(key, None)

    def _ended(self, workers: dict[Hashable, Any], key: Hashable, worker: object) -> None:
        self._running.discard(worker)
        with self._lock:
            if workers.get(key) is worker:
                del workers[key]

    @property
    def is_busy(self) -> bool:
        """Whether a refresh is under way."""
        return bool(self._running)

    def join(self, timeout: float = 30.0) -> None:
        """Wait for the threads, each at most `timeout` seconds."""
        for worker in list(self._running):
            if isinstance(worker, threading.Thread):
                worker.join(timeout)


def _tell(label: str, error: Exception) -> None:
    _log.warning("refreshing %s failed: %s: %s", label, type(error).__name__, error)
