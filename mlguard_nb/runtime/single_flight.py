"""One call for many callers: while a key is being computed, others who ask for it wait for that result."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Awaitable, Callable, Hashable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

__all__ = ["Flight", "Flights", "TaskFlights"]


class Flight:
    """A computation that is under way. Its Future is made by the first who waits."""

    leader = epoch = 0
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

    def forget(self, key: Hashable) -> None:
        """Who comes from now on computes anew; who waits already still gets the result."""
        self.under_way.pop(key, None)

    def forget_all(self) -> None:
        """The same for every key."""
        self.under_way.clear()

    def land(self, key: Hashable, flight: Flight, value: Any, error: BaseException | None = None) -> None:
        """The leader's last act: hand `value` or `error` to those who wait."""
        popped = self.under_way.pop(key, None)
        if popped is not flight and popped is not None:  # this one was forgotten, and the next has begun
            self.under_way.setdefault(key, popped)
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


# The flights of tasks that the running code is part of: who asks for one of them must not wait for it.
_inside: ContextVar[frozenset[int]] = ContextVar("mlguard_flights", default=frozenset())
_numbers = itertools.count(1)


class TaskFlights:
    """Tasks of one event loop share one computation of a key.

    The computation is a task of its own: a caller that is cancelled leaves, and the others still get the result. When
    the last caller has left it is cancelled too. A function that comes back to the key it is computing, however many
    awaits and tasks lie between, computes it itself, instead of waiting for itself for ever.
    """

    def __init__(self) -> None:
        # (loop, key) -> (task, how many wait, number)
        self._flights: dict[tuple[int, Hashable], tuple[asyncio.Task[Any], list[int], int]] = {}

    async def run(self, key: Hashable, compute: Callable[[], Awaitable[Any]]) -> tuple[Any, bool]:
        """(the result, whether this caller began the computation)."""
        import asyncio

        loop = asyncio.get_running_loop()
        place = (id(loop), key)
        under_way = self._flights.get(place)
        # A loop that was closed leaves its tasks as they were, and another may live where it lived.
        is_new = under_way is None or under_way[0].done() or under_way[0].get_loop() is not loop
        if under_way is None or is_new:
            number = next(_numbers)
            task: asyncio.Task[Any] = asyncio.ensure_future(_flown(number, compute))
            under_way = self._flights[place] = (task, [0], number)
            task.add_done_callback(lambda done: self._land(place, done))
        elif under_way[2] in _inside.get():
            return await compute(), True
        task, waiting, _number = under_way
        waiting[0] += 1
        try:
            return await asyncio.shield(task), is_new
        finally:
            waiting[0] -= 1
            if not waiting[0] and not task.done() and not loop.is_closed():
                task.cancel()

    def forget(self, key: Hashable) -> None:
        """Who comes from now on computes anew; who waits already still gets the result."""
        for place in [place for place in list(self._flights) if place[1] == key]:
            self._flights.pop(place, None)

    def forget_all(self) -> None:
        """The same for every key."""
        self._flights.clear()

    def _land(self, place: tuple[int, Hashable], task: asyncio.Task[Any]) -> None:
        if (found := self._flights.get(place)) is not None and found[0] is task:
            del self._flights[place]
        if not task.cancelled():
            task.exception()  # seen here too, so that an abandoned failure is no "never retrieved" message


async def _flown(number: int, compute: Callable[[], Awaitable[Any]]) -> Any:
    _inside.set(_inside.get() | {number})  # of this task's own context, and of what it starts
    return await compute()
