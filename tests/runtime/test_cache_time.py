"""A cached result over time: fresh, stale, refreshed behind the callers, served in place of a failure."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from mlguard_nb import cache_result, devices, memory_guard
from mlguard_nb.errors import MemoryPressure
from mlguard_nb.runtime.caching import cache_of
from mlguard_nb.testing import FakeDevices, no_wait
from tests.runtime.counting import counted


def test_a_result_is_computed_anew_after_its_ttl() -> None:
    """Not before."""
    with no_wait() as clock:
        function = counted(ttl=10)
        assert function(1) == 1
        clock.sleep(9.9)
        assert function(1) == 1
        clock.sleep(0.2)
        assert function(1) == 2


def test_without_ttl_it_stays() -> None:
    """None means for ever."""
    with no_wait() as clock:
        function = counted(ttl=None)
        function(1)
        clock.sleep(1e9)
        assert function(1) == 1


def test_a_stale_result_is_served_while_a_new_one_is_computed() -> None:
    """Within stale_while_revalidate nobody waits; afterwards everybody has the new result."""
    with no_wait() as clock:
        function = counted(ttl=10, stale_while_revalidate=60)
        function(1)
        clock.sleep(30)
        assert function(1) == 1
        cache_of(function).behind.join()
        assert function(1) == 2
        assert function.cache_info().stale_hits == 1
        clock.sleep(100)
        assert function(1) == 3


def test_a_stale_key_is_refreshed_by_one_task_however_many_ask_for_it() -> None:
    """A hundred stale hits before the loop comes to the first refresh, and a hundred while it is under way."""

    async def main() -> None:
        go_on = asyncio.Event()
        calls: list[int] = []

        @cache_result(ttl=10, stale_while_revalidate=60)
        async def fetch(x: int) -> int:
            calls.append(x)
            if len(calls) > 1:
                await go_on.wait()
            return len(calls)

        with no_wait() as clock:
            await fetch(1)
            clock.sleep(30)
            idle = len(asyncio.all_tasks())
            for _ in range(100):
                assert await fetch(1) == 1
            await asyncio.sleep(0)
            assert [await fetch(1) for _ in range(100)] == [1] * 100
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == idle + 2  # the refresh, and the computation it waits for
            assert calls == [1, 1]
            go_on.set()
            while cache_of(fetch).behind.is_busy:
                await asyncio.sleep(0)
            assert await fetch(1) == 2

    asyncio.run(main())


def test_what_a_closed_loop_left_unfinished_is_refreshed_by_the_next_one() -> None:
    """Its task never ends, and stands in nobody's way."""
    calls: list[int] = []

    @cache_result(ttl=10, stale_while_revalidate=60)
    async def fetch(x: int) -> int:
        calls.append(x)
        number = len(calls)
        if number == 2:
            await asyncio.Event().wait()
        return number

    async def until(number: int) -> None:
        while len(calls) < number:
            await asyncio.sleep(0)

    with no_wait() as clock:
        first = asyncio.new_event_loop()
        assert first.run_until_complete(fetch(1)) == 1
        clock.sleep(30)
        assert first.run_until_complete(fetch(1)) == 1
        first.run_until_complete(until(2))
        first.close()

        async def main() -> None:
            assert await fetch(1) == 1
            while cache_of(fetch).behind.is_busy:
                await asyncio.sleep(0)
            assert await fetch(1) == 3

        asyncio.run(main())


def test_an_invalidated_refresh_does_not_hold_up_the_next_one() -> None:
    """The one that is under way computes from what was: what is stale since is refreshed anew."""
    started, go_on = threading.Semaphore(0), threading.Event()
    calls: list[int] = []

    @cache_result(ttl=10, stale_while_revalidate=60)
    def fetch(x: int) -> int:
        calls.append(x)
        number = len(calls)
        if number == 2:
            started.release()
            assert go_on.wait(30)
        return number

    with no_wait() as clock:
        fetch(1)
        clock.sleep(30)
        assert fetch(1) == 1
        assert started.acquire(timeout=30)
        fetch.invalidate(1)  # type: ignore[attr-defined]
        assert fetch(1) == 3
        clock.sleep(30)
        assert fetch(1) == 3
        while len(calls) < 4:
            time.sleep(0.001)
        go_on.set()
        cache_of(fetch).behind.join()
        assert fetch(1) == 4


def test_a_busy_key_is_computed_once_a_ttl() -> None:
    """200 requests a second for 100 s with a ttl of 10 s: 11 computations, however many callers there are."""
    with no_wait() as clock:
        function = counted(ttl=10, stale_while_revalidate=60)
        for _ in range(100 * 200):
            function(1)
            clock.time += 1 / 200
            if cache_of(function).behind.is_busy:
                cache_of(function).behind.join()
        assert len(function.calls) <= 11


def test_a_stale_result_is_served_when_the_function_fails() -> None:
    """Within stale_if_error; afterwards the error is raised."""
    failing = False

    @cache_result(ttl=10, stale_if_error=100)
    def fetch(x: int) -> str:
        if failing:
            raise ConnectionError("down")
        return "good"

    with no_wait() as clock:
        assert fetch(1) == "good"
        failing = True
        clock.sleep(50)
        assert fetch(1) == "good"
        clock.sleep(70)
        with pytest.raises(ConnectionError, match="down"):
            fetch(1)


def test_a_call_short_of_memory_is_answered_by_its_last_result() -> None:
    """Although the guard below empties every cache before it refuses."""

    @cache_result(ttl=10, stale_if_error=1000)
    @memory_guard(ram=0.8)
    def train(x: int) -> list[int]:
        return [x]

    with no_wait() as clock, FakeDevices(ram_used="4GB", ram_limit="16GB") as machine:
        assert train(1) == [1]
        clock.sleep(20)
        machine.ram_used = 15 * 10**9
        devices.shared().tick()
        assert [train(1), train(1)] == [[1], [1]]
        with pytest.raises(MemoryPressure):
            train(2)


def test_errors_are_not_kept() -> None:
    """A call that failed is made again."""
    outcomes = iter([ValueError("first"), 5])

    @cache_result
    def unsteady(x: int) -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(ValueError, match="first"):
        unsteady(1)
    assert unsteady(1) == 5
