"""One call for many callers: while a key is being computed, others who ask for it wait for that result."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

__all__ = ["Flights", "TaskFlights"]


class _Flight:
    __slots__ = ("leader", "result")

    def __init__(self) -> None:
        self.leader = threading.get_ident()
        self.result: concurrent.futures.Future[Any] | None = None  # made by the first who waits


class Flights:
    """Threads share one computation of a key.

    An Exception is everybody's; when the leader is interrupted otherwise (KeyboardInterrupt), a follower takes over.
    A function that asks for the key it is computing itself computes it, instead of waiting for itself for ever.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Hashable, _Flight] = {}

    def run(self, key: Hashable, compute: Callable[[], Any]) -> tuple[Any, bool]:
        """(the result, whether this caller computed it)."""
        while True:
            with self._lock:
                flight = self._flights.get(key)
                if flight is None:
                    mine = self._flights[key] = _Flight()
                    break
                if flight.leader != threading.get_ident() and flight.result is None:
                    flight.result = concurrent.futures.Future()
                result = flight.result
            if flight.leader == threading.get_ident() or result is None:
                return compute(), True
            error = result.exception()
            if error is None:
                return result.result(), False
            if isinstance(error, Exception):
                raise error
        return self._lead(key, mine, compute), True

    def is_under_way(self, key: Hashable) -> bool:
        """Whether somebody is computing `key` now."""
        return key in self._flights

    def _lead(self, key: Hashable, flight: _Flight, compute: Callable[[], Any]) -> Any:
        try:
            value = compute()
        except BaseException as error:
            self._land(key)
            if flight.result is not None:
                flight.result.set_exception(error)
            raise
        self._land(key)
        if flight.result is not None:
            flight.result.set_result(value)
        return value

    def _land(self, key: Hashable) -> None:
        with self._lock:
            self._flights.pop(key, None)


class TaskFlights:
    """Tasks of one event loop share one computation of a key.

    The computation is a task of its own: a caller that is cancelled leaves, and the others still get the result. When
    the last caller has left it is cancelled too.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, tuple[asyncio.Task[Any], list[int]]] = {}

    async def run(self, key: Hashable, compute: Callable[[], Awaitable[Any]]) -> tuple[Any, bool]:
        """(the result, whether this caller began the computation)."""
        place = (id(asyncio.get_running_loop()), key)
        under_way = self._flights.get(place)
        if under_way is not None and under_way[0] is asyncio.current_task():
            return await compute(), True
        if under_way is None or under_way[0].done():
            task: asyncio.Task[Any] = asyncio.ensure_future(_as_coroutine(compute))
            under_way = self._flights[place] = (task, [0])
            task.add_done_callback(lambda done: self._land(place, done))
            began = True
        else:
            began = False
        task, waiting = under_way
        waiting[0] += 1
        try:
            return await asyncio.shield(task), began
        finally:
            waiting[0] -= 1
            if not waiting[0] and not task.done():
                task.cancel()

    def _land(self, place: Hashable, task: asyncio.Task[Any]) -> None:
        if (found := self._flights.get(place)) is not None and found[0] is task:
            del self._flights[place]
        if not task.cancelled():
            task.exception()  # seen here too, so that an abandoned failure is no "never retrieved" message


async def _as_coroutine(compute: Callable[[], Awaitable[Any]]) -> Any:
    return await compute()
