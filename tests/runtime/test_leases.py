"""One computation for many processes: who computes, who waits, and what happens when the one who computes is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlguard_nb import cache_result, clock
from mlguard_nb.runtime.caching import cache_of
from mlguard_nb.runtime.stores.leases import LEASE_SECONDS, Lease
from mlguard_nb.runtime.stores.memory import FRESH
from tests.runtime.redis_server import Server

GIVE_UP_SECONDS = 60


def until(is_so: Callable[[], Any]) -> None:
    """Wait for what another process does."""
    give_up = time.monotonic() + GIVE_UP_SECONDS
    while not is_so():
        assert time.monotonic() < give_up, "what the test waits for has not happened"
        time.sleep(0.01)


def leases(server: Server) -> list[bytes]:
    return [key for key in server.client().scan_iter() if key.endswith(b":lease")]


def asks(server: Server) -> int:
    """How often somebody has asked for a lease, or given one back."""
    found = server.client().info("commandstats").get("cmdstat_eval", {"calls": 0})
    return int(found["calls"])


class Workers:
    """Processes that call one cached function. It says that it runs, and ends when the test opens the gate."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.running = folder, list[subprocess.Popen[str]]()
        self.gate, self.begun = folder / "gate", folder / "begun"
        (folder / "job.py").write_text(
            textwrap.dedent(
                f"""
                import os, pathlib, time
                from mlguard_nb import cache_result, clock
                @cache_result(backend="{url}", ttl=None)
                def work(x):
                    with open({str(self.begun)!r}, "a") as told:
                        told.write(f"{{os.getpid()}}\\n")
                    while not pathlib.Path({str(self.gate)!r}).exists():
                        time.sleep(0.01)
                    return x + 1
                print(work(1), flush=True)
                """
            )
        )

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, self.folder / "job.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.running.append(process)
        return process

    def computations(self) -> list[int]:
        return [int(line) for line in self.begun.read_text().splitlines()] if self.begun.exists() else []


@pytest.fixture
def workers(tmp_path: Path, server: Server) -> Iterator[Workers]:
    made = Workers(tmp_path, server.url)
    yield made
    for process in made.running:
        process.kill()
        process.communicate()


def test_many_processes_share_one_computation(server: Server, workers: Workers) -> None:
    """Three ask at once; one computes, the others get what it stored."""
    processes = [workers.start() for _ in range(3)]
    until(lambda: asks(server) >= 3)
    assert len(leases(server)) == 1
    workers.gate.touch()
    answers = [process.communicate(timeout=GIVE_UP_SECONDS) for process in processes]
    assert [out for out, _err in answers] == ["2\n"] * 3, answers
    assert len(workers.computations()) == 1
    assert leases(server) == []


def test_another_takes_over_when_the_holder_is_killed(server: Server, workers: Workers) -> None:
    """kill -9 in the middle: the lease runs out on the server, and one of those who wait computes."""
    first = workers.start()
    until(workers.computations)
    second = workers.start()
    before = asks(server)
    until(lambda: asks(server) > before + 1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert workers.computations() == [first.pid], "the second waits as long as the lease stands"
    (lease,) = leases(server)
    client = server.client()
    assert 0 < client.pttl(lease) <= LEASE_SECONDS * 1000, "nobody renews it, so it ends by itself"
    client.pexpire(lease, 1)  # that time passes
    workers.gate.touch()
    out, err = second.communicate(timeout=GIVE_UP_SECONDS)
    assert out == "2\n", err
    assert workers.computations() == [first.pid, second.pid]


def test_a_holder_that_lives_keeps_its_lease(server: Server, workers: Workers) -> None:
    """However long it computes: it is renewed before it runs out."""
    workers.start()
    until(workers.computations)
    (lease,) = leases(server)
    client = server.client()
    left = client.pttl(lease)

    def was_renewed() -> bool:
        nonlocal left
        before, left = left, client.pttl(lease)
        return bool(left > before)

    until(was_renewed)
    assert len(workers.computations()) == 1


class Gate:
    """A function that says when it runs and ends when told; it has no content, so it changes no key."""

    def __init__(self) -> None:
        self.runs, self.opened = threading.Semaphore(0), threading.Event()
        self.calls = 0
        self.error: BaseException | None = None

    def __call__(self, x: int) -> int:
        self.calls += 1
        self.runs.release()
        assert self.opened.wait(GIVE_UP_SECONDS)
        if self.error is not None:
            raise self.error
        return x + 1

    async def asynchronous(self, x: int) -> int:
        return await asyncio.to_thread(self, x)


def as_processes(server: Server, body: Any, number: int, **options: Any) -> list[Any]:
    """The same function cached several times over: each has its memory, its flights and its connection."""
    return [cache_result(backend=server.url, ignore=(), **options)(body) for _ in range(number)]


def begin(pool: ThreadPoolExecutor, functions: list[Any], gate: Gate, server: Server) -> list[Future[Any]]:
    """Call all of them; back when one computes and the others have been told so."""
    first = pool.submit(functions[0], 1)
    assert gate.runs.acquire(timeout=GIVE_UP_SECONDS)
    others = [pool.submit(function, 1) for function in functions[1:]]
    until(lambda: asks(server) >= len(functions))
    return [first, *others]


def test_those_who_wait_do_not_fail_one_after_the_other(server: Server) -> None:
    """When the holder fails there is nothing to share: all who wait compute at once, as they would alone."""
    gate = Gate()
    gate.error = ValueError("no")

    def body(x: int) -> int:
        return gate(x)

    with ThreadPoolExecutor(3) as pool:
        waiting = begin(pool, as_processes(server, body, 3), gate, server)
        gate.opened.set()
        assert [str(one.exception(timeout=GIVE_UP_SECONDS)) for one in waiting] == ["no"] * 3
    assert gate.calls == 3


def test_a_holder_that_is_interrupted_leaves_the_key_to_the_next(server: Server) -> None:
    gate = Gate()
    gate.error = KeyboardInterrupt()

    def body(x: int) -> int:
        return gate(x)

    with ThreadPoolExecutor(2) as pool:
        first, second = begin(pool, as_processes(server, body, 2), gate, server)
        gate.opened.set()
        assert isinstance(first.exception(timeout=GIVE_UP_SECONDS), KeyboardInterrupt)
        assert isinstance(second.exception(timeout=GIVE_UP_SECONDS), KeyboardInterrupt)
    assert gate.calls == 2
    assert leases(server) == []


def test_a_server_that_dies_under_those_who_wait_lets_them_compute(server: Server) -> None:
    """And under the one who computes: its call ends as if there were no server."""
    gate = Gate()

    def body(x: int) -> int:
        return gate(x)

    with ThreadPoolExecutor(2) as pool:
        first, second = begin(pool, as_processes(server, body, 2), gate, server)
        server.kill()
        assert gate.runs.acquire(timeout=GIVE_UP_SECONDS), "the second computes too"
        gate.opened.set()
        assert [first.result(GIVE_UP_SECONDS), second.result(GIVE_UP_SECONDS)] == [2, 2]


def test_coroutines_of_many_processes_share_one_computation(server: Server) -> None:
    gate = Gate()

    async def body(x: int) -> int:
        return await gate.asynchronous(x)

    async def calls() -> list[int]:
        functions = as_processes(server, body, 3)
        running = [asyncio.ensure_future(function(1)) for function in functions]
        await asyncio.to_thread(until, lambda: asks(server) >= 3)
        gate.opened.set()
        return list(await asyncio.gather(*running))

    assert asyncio.run(calls()) == [2, 2, 2]
    assert gate.calls == 1
    assert leases(server) == []


def test_a_task_that_is_cancelled_leaves_the_key_to_the_next(server: Server) -> None:
    begun: list[asyncio.Event] = []

    async def body(x: int) -> int:
        begun.append(asyncio.Event())
        if len(begun) == 1:
            await begun[0].wait()
        return x + 1

    async def calls() -> int:
        first, second = as_processes(server, body, 2)
        leader = asyncio.ensure_future(first(1))
        while not begun:
            await asyncio.sleep(0.01)
        follower = asyncio.ensure_future(second(1))
        before = asks(server)
        await asyncio.to_thread(until, lambda: asks(server) > before)
        leader.cancel()
        return int(await asyncio.wait_for(follower, GIVE_UP_SECONDS))

    assert asyncio.run(calls()) == 2
    assert len(begun) == 2


def test_a_function_that_asks_for_what_it_computes_does_not_wait_for_itself(server: Server) -> None:
    """Directly, and through another cached function; sync and async."""

    @cache_result(backend=server.url, key="x")
    def deep(x: int, depth: int) -> int:
        return depth if depth == 3 else between(depth + 1)

    @cache_result(backend=server.url)
    def between(depth: int) -> int:
        return deep(1, depth)

    @cache_result(backend=server.url, key="x")
    async def deep_async(x: int, depth: int) -> int:
        return depth if depth == 3 else await asyncio.ensure_future(deep_async(1, depth + 1))

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(deep, 1, 0).result(GIVE_UP_SECONDS) == 3
    assert asyncio.run(asyncio.wait_for(deep_async(1, 0), GIVE_UP_SECONDS)) == 3


def test_a_stale_result_is_computed_anew_by_one_process(server: Server) -> None:
    """The others keep serving the stale one until it is there."""
    gate = Gate()
    gate.opened.set()

    def body(x: int) -> int:
        return gate(x)

    functions = as_processes(server, body, 3, ttl=1000, stale_while_revalidate=1000)
    assert [function(1) for function in functions] == [2, 2, 2]
    assert gate.calls == 1
    server.client().flushdb()
    for function in functions:
        for held in cache_of(function).shelf.front.values():
            held[FRESH] = clock.current().now() - 1
    gate.opened.clear()
    before = asks(server)
    assert [function(1) for function in functions] == [2, 2, 2]
    until(lambda: asks(server) >= before + 3)
    gate.opened.set()
    for function in functions:
        cache_of(function).behind.join()
        assert function.cache_info().stale_hits == 1
    assert gate.calls == 2


def test_clearing_lets_others_begin_at_once(server: Server) -> None:
    """What is being computed is void: who asks from now on does not wait for it."""
    gate = Gate()

    def body(x: int) -> int:
        return gate(x)

    first, second, third = as_processes(server, body, 3)
    with ThreadPoolExecutor(3) as pool:
        waiting = begin(pool, [first], gate, server)
        second.cache_clear()
        waiting.append(pool.submit(second, 1))
        assert gate.runs.acquire(timeout=GIVE_UP_SECONDS)
        third.invalidate(1)
        waiting.append(pool.submit(third, 1))
        assert gate.runs.acquire(timeout=GIVE_UP_SECONDS)
        gate.opened.set()
        assert [one.result(GIVE_UP_SECONDS) for one in waiting] == [2, 2, 2]


def test_looks_become_rarer_to_a_limit() -> None:
    """A thousand that wait are four thousand questions a second, not two hundred thousand."""
    looks = Lease.waits()
    first = [next(looks) for _ in range(9)]
    assert first == sorted(first)
    assert first[0] == 0.005
    assert first[-1] == 0.25
