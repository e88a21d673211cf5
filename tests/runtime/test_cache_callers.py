"""Many callers of one cached function at once: threads, tasks, recursion."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np

from mlguard_nb import cache_result
from mlguard_nb.runtime.caching import cache_of


def test_sixteen_threads_on_a_cold_key_run_the_body_once() -> None:
    """All get the result."""
    calls: list[int] = []
    inside, go_on = threading.Event(), threading.Event()

    @cache_result
    def slow(x: int) -> int:
        calls.append(x)
        inside.set()
        assert go_on.wait(30)
        return x * 2

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(slow(4))) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert inside.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert results == [8] * 16
    assert calls == [4]


def test_sixteen_tasks_on_a_cold_key_run_the_body_once() -> None:
    """All get the result, and the function still is a coroutine function."""
    calls: list[int] = []

    @cache_result
    async def slow(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0.01)
        return x * 2

    async def main() -> list[int]:
        return await asyncio.gather(*(slow(4) for _ in range(16)))

    assert asyncio.run(main()) == [8] * 16
    assert calls == [4]
    assert asyncio.iscoroutinefunction(slow)


def test_when_the_last_caller_leaves_the_computation_is_cancelled() -> None:
    """Nobody pays for a result that nobody wants."""

    async def main() -> bool:
        began, cancelled = asyncio.Event(), asyncio.Event()

        @cache_result
        async def slow(x: int) -> int:
            began.set()
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return x

        caller = asyncio.create_task(slow(4))
        await began.wait()
        caller.cancel()
        await asyncio.wait_for(cancelled.wait(), 30)
        return True

    assert asyncio.run(main())


def test_a_loop_that_was_closed_in_the_middle_leaves_nothing_to_wait_for() -> None:
    """Its task never ends; a loop that lives where it lived must not wait for that task."""

    @cache_result
    async def slow(x: int) -> int:
        await asyncio.sleep(0)
        return x

    flights = cache_of(slow)._task_flights

    async def abandoned() -> asyncio.Future[int]:
        call = asyncio.ensure_future(slow(1))
        await asyncio.sleep(0)
        return call

    async def whole() -> int:
        ((_loop, key), left), *_ = flights._flights.items()
        flights._flights[id(asyncio.get_running_loop()), key] = left  # as if it lived at the same address
        return await asyncio.wait_for(slow(1), 30)

    loop = asyncio.new_event_loop()
    call = loop.run_until_complete(abandoned())
    ((task, _waiting, _number),) = flights._flights.values()
    try:
        assert asyncio.run(whole()) == 1
    finally:
        for pending in (call, task):
            pending.cancel()
        loop.run_until_complete(asyncio.gather(call, task, return_exceptions=True))
        loop.close()


def test_followers_get_the_leader_s_error() -> None:
    """And a follower takes over when the leader was interrupted."""
    inside, go_on = threading.Event(), threading.Event()
    interrupts = iter([KeyboardInterrupt(), None])

    @cache_result
    def slow(x: int) -> int:
        inside.set()
        assert go_on.wait(30)
        interrupt = next(interrupts)
        if interrupt is not None:
            raise interrupt
        return x

    seen: list[Any] = []

    def call() -> None:
        try:
            seen.append(slow(1))
        except BaseException as error:
            seen.append(type(error))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert inside.wait(30)
    deadline = time.monotonic() + 0.2  # lets the followers arrive; the claim holds whether they do or not
    while time.monotonic() < deadline and threading.active_count() < 4:
        pass
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert sorted(map(str, seen)) == sorted(map(str, [KeyboardInterrupt, 1, 1]))


def test_a_recursive_function_does_not_wait_for_itself() -> None:
    """Neither on other keys nor on its own."""

    @cache_result
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(60) == 1548008755920

    depth: list[int] = []

    @cache_result
    def same(x: int) -> int:
        depth.append(x)
        return 0 if len(depth) > 1 else same(x) + 1

    assert same(1) == 1


def test_hammering_one_cache_from_many_threads_loses_nothing() -> None:
    """Eviction under load: every result is right, and the bound holds."""
    function = cache_result(max_bytes=20_000)(lambda n: np.full(100, n))
    wrong: list[int] = []

    def work(seed: int) -> None:
        draw = np.random.default_rng(seed)
        drawn = draw.integers(0, 60, 1500).tolist()
        wrong.extend(value for value in drawn if function(value)[50] != value)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert function.cache_info().used_bytes <= 20_000
    guard = cache_of(function)
    assert len(guard.front) == len(guard.shelf)
