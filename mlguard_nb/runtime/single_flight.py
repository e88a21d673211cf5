"""One call for many callers: while a key is being computed, others who ask for it wait for that result."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

__all__ = ["Flight", "Flights", "TaskFlights"]


class Flight:
    """A computation that is under way. Its Future is made by the first who waits."""

    leader = 0
    result: concurrent.futures.Future[Any] | None = None
    has_landed = False


class Flights:
    """Threads share one computation of a key.

    An Exception is everybody's; when the leader is interrupted otherwise (KeyboardInterrupt), a follower takes over.
    A function that asks for the key it is computing itself computes it, instead of waiting for itself for ever.

    A leader takes no lock, since nearly every flight has nobody else on board: it enters `under_way` by one atomic
    setdefault, and at the end says that it has landed before it looks for a Future. A follower makes the Future before
    it looks whether the flight has landed. So one of the two always sees the other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.under_way: dict[Hashable, Flight] = {}

    def run(self, key: Hashable, compute: Callable[[], Any]) -> tuple[Any, bool]:
        """(the result, whether this caller computed it)."""
        while True:
            mine = Flight()
            mine.leader = threading.get_ident()
            flight = self.under_way.setdefault(key, mine)
            if flight is mine:
                break
            if flight.leader == mine.leader:
                return compute(), True
            result = self._boarded(flight)
            if result is None:
                continue  # it has landed since
            error = result.exception()
            if error is None:
                return result.result(), False
            if isinstance(error, Exception):
                raise error
        try:
            value = compute()
        except BaseException as error:
            self.land(key, mine, None, error)
            raise
        self.land(key, mine, value)
        return value, True

    def is_under_way(self, key: Hashable) -> bool:
        """Whether somebody is computing `key` now."""
        return key in self.under_way

    def land(self, key: Hashable, flight: Flight, value: Any, error: BaseException | None = None) -> None:
        """The leader's last act: hand `value` or `error` to those who wait."""
        self.under_way.pop(key, None)
        flight.has_landed = True
        result = flight.result
        if result is None:
            return
        if error is None:
            result.set_result(value)
        else:
            result.set_exception(error)

    def _boarded(self, flight: Flight) -> concurrent.futures.Future[Any] | None:
        with self._lock:
            if flight.result is None:
                from concurrent.futures import Future

                flight.result = Future()
            return None if flight.has_landed else flight.result


class TaskFlights:
    """Tasks of one event loop share one computation of a key.

    The computation is a task of its own: a caller that is cancelled leaves, and the others still get the result. When
    the last caller has left it is cancelled too.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, tuple[asyncio.Task[Any], list[int]]] = {}

    async def run(self, key: Hashable, compute: Callable[[], Awaitable[Any]]) -> tuple[Any, bool]:
        """(the result, whether this caller began the computation)."""
        import asyncio

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
