"""A guarded function goes where functions go: into pickles, fresh and forked processes, threads, tasks and contexts."""

from __future__ import annotations

import asyncio
import contextvars
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlguard_nb.testing import FakeDevices, no_wait
from tests.runtime.every_guard import DECORATORS, NO_GENERATORS, Decorate, every, every_but_caching


@pytest.fixture(autouse=True)
def quiet_machine() -> Iterator[None]:
    with no_wait(), FakeDevices():
        yield


def plain(x: int, y: float = 2.0) -> tuple[int, float]:
    return x, y


@every
def test_pickle_finds_a_guarded_function_of_a_module_by_name(
    decorate: Decorate, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = decorate(plain)
    monkeypatch.setattr(sys.modules[__name__], "plain", guarded)
    assert pickle.loads(pickle.dumps(guarded)) is guarded


FRESH = """
import pickle, sys
function = pickle.load(sys.stdin.buffer)
print(function(4), function(5), sorted(function.__mlguard__.parts()))
"""


@every
def test_cloudpickle_takes_a_closure_into_a_fresh_process(decorate: Decorate) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    factor = 10

    def make() -> Any:
        def function(x: int) -> int:
            return x * factor

        function.__module__ = "__main__"
        return decorate(function)

    guarded = make()
    assert guarded(1) == 10  # with locks, threads and counters in use
    done = subprocess.run(
        [sys.executable, "-c", FRESH], input=cloudpickle.dumps(guarded), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == f"40 50 {sorted(guarded.__mlguard__.parts())}\n"


FRESH_KINDS = """
import asyncio, pickle, sys
coroutine, items, model = pickle.load(sys.stdin.buffer)
print(asyncio.run(coroutine(4)), None if items is None else list(items(4)), model().method(4))
"""


@every
def test_cloudpickle_takes_coroutines_generators_and_methods_too(decorate: Decorate) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    factor = 10

    def make() -> Any:
        @decorate
        async def coroutine(x: int) -> int:
            return x * factor

        def items(x: int) -> Iterator[int]:
            yield x * factor

        class Model:
            @decorate
            def method(self, x: int) -> int:
                return x * factor

        Model.__module__ = "__main__"
        is_caching = any(decorate is DECORATORS[name] for name in NO_GENERATORS)
        return coroutine, None if is_caching else decorate(items), Model

    made = make()
    assert asyncio.run(made[0](1)) == made[2]().method(1) == 10
    done = subprocess.run(
        [sys.executable, "-c", FRESH_KINDS], input=cloudpickle.dumps(made), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    shown = None if made[1] is None else [40]
    assert done.stdout.decode() == f"40 {shown} 40\n"


@every
def test_context_variables_set_outside_are_seen_inside(decorate: Decorate) -> None:
    """In this thread, in a coroutine, and in a thread that was given the context."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @decorate
    def function(x: int) -> int:
        return variable.get()

    @decorate
    async def coroutine(x: int) -> int:
        return variable.get()

    variable.set(5)
    assert function(1) == asyncio.run(coroutine(1)) == 5
    assert asyncio.run(_in_thread(function, 2)) == 5


async def _in_thread(function: Callable[..., Any], x: int) -> Any:
    return await asyncio.to_thread(function, x)


@every
def test_context_variables_set_inside_are_seen_outside(decorate: Decorate) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @decorate
    def function(x: int) -> int:
        variable.set(x)
        return x

    function(7)
    assert variable.get() == 7


@every_but_caching
def test_and_in_a_coroutine_too(decorate: Decorate) -> None:
    """Not behind a cache: there one task computes for all that wait, in a context of its own."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @decorate
    async def function(x: int) -> int:
        variable.set(x)
        return x

    async def use() -> int:
        await function(8)
        return variable.get()

    assert asyncio.run(use()) == 8


@every
def test_many_threads_at_once(decorate: Decorate) -> None:
    @decorate
    def function(x: int) -> int:
        return x * 2

    found: list[int] = []
    threads = [threading.Thread(target=lambda n=n: found.extend(function(n) for _ in range(200))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(2 * n for n in range(8) for _ in range(200))


@every
def test_many_tasks_at_once(decorate: Decorate) -> None:
    @decorate
    async def function(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    async def use() -> list[int]:
        return await asyncio.gather(*(function(n % 8) for n in range(200)))

    assert asyncio.run(use()) == [2 * (n % 8) for n in range(200)]


@every
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_goes_on(decorate: Decorate) -> None:
    @decorate
    def function(x: int) -> int:
        return x + 1

    function(1)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send([function(1), function(2)]))
    child.start()
    assert ours.poll(20)
    assert ours.recv() == [2, 3]
    child.join(20)
    assert child.exitcode == 0
