"""The calls of the load that are awaited: caches whose callers are cancelled, timeouts, hedges, waiting for memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from mlguard_nb import MemoryPressure, cache_result, memory_guard, monitor, retry
from tests.soak.jobs import expect, table
from tests.soak.tally import WrongValue


@dataclass(frozen=True, slots=True)
class AsyncJob:
    """As Job, awaited."""

    name: str
    call: Callable[[Random], Awaitable[str]]
    must_see: frozenset[str] = frozenset({"value"})
    calls: int = 1


def async_jobs() -> list[AsyncJob]:
    """All of them."""
    return [_cached(), _timed_out(), _hedged(), _short_of_memory(), _generator()]


def _cached() -> AsyncJob:
    @monitor(name="async cache")
    @cache_result(ttl=0.5, stale_while_revalidate=0.5, stale_if_error=5, maxsize=16)
    async def computed(n: int) -> Any:
        await asyncio.sleep(0.01)
        return table(n)

    async def call(random: Random) -> str:
        """Three at once; now and then the first, who may be the one that computes, is cancelled."""
        n = random.randrange(40)
        first, *others = (asyncio.ensure_future(computed(n)) for _ in range(3))
        await asyncio.sleep(0.001)
        was_cancelled = random.random() < 0.3 and first.cancel()
        for other in others:
            expect(await other, table(n))
        if not was_cancelled:
            expect(await first, table(n))
            return "value"
        with suppress(asyncio.CancelledError):
            await first
            raise WrongValue("a cancelled call came back with a value")
        return "cancelled"

    return AsyncJob("async cache", call, frozenset({"value", "cancelled"}), calls=3)


def _timed_out() -> AsyncJob:
    @monitor(name="async retry")
    @retry(attempts=3, timeout=0.05, wait_initial=0.001, wait_max=0.004, budget=None)
    async def slow(n: int, luck: Random) -> int:
        if luck.random() < 0.3:
            await asyncio.sleep(3600)
        if luck.random() < 0.3:
            raise ConnectionError("injected")
        return n

    async def call(random: Random) -> str:
        n = random.randrange(1000)
        try:
            expect(await slow(n, random), n)
        except (TimeoutError, asyncio.TimeoutError, ConnectionError):
            return "error"
        return "value"

    return AsyncJob("async retry", call, frozenset({"value", "error"}))


def _hedged() -> AsyncJob:
    @monitor(name="async hedge")
    @retry(attempts=1, hedge_after=0.005)
    async def uneven(n: int, luck: Random) -> int:
        await asyncio.sleep(0.05 if luck.random() < 0.3 else 0.001)
        return n

    async def call(random: Random) -> str:
        n = random.randrange(1000)
        expect(await uneven(n, random), n)
        return "value"

    return AsyncJob("async hedge", call)


def _short_of_memory() -> AsyncJob:
    @monitor(name="async memory")
    @memory_guard(ram=0.9, on_pressure="wait", wait_timeout=0.3, need="1MB")
    async def waiting(n: int) -> int:
        await asyncio.sleep(0.001)
        return n

    async def call(random: Random) -> str:
        n = random.randrange(1000)
        try:
            expect(await waiting(n), n)
        except MemoryPressure:
            return "refused"
        return "value"

    return AsyncJob("async memory", call, frozenset({"value", "refused"}))


def _generator() -> AsyncJob:
    @monitor(name="async generator")
    @retry(attempts=4, wait_initial=0.001, wait_max=0.004, budget=None)
    async def items(n: int, luck: Random) -> AsyncIterator[int]:
        if luck.random() < 0.3:
            raise ConnectionError("injected before the first item")
        for item in range(n):
            await asyncio.sleep(0)
            yield item

    async def call(random: Random) -> str:
        n = random.randrange(1, 20)
        found = items(n, random)
        try:
            if random.random() < 0.2:
                expect(await found.__anext__(), 0)
                await found.aclose()
                return "closed"
            expect([item async for item in found], list(range(n)))
        except ConnectionError:
            return "error"
        return "value"

    return AsyncJob("async generator", call, frozenset({"value", "closed"}))
