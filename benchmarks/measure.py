"""How a figure is taken: the minimum of many short timeit runs, which is what the code costs when nothing disturbs it.

What is compared is run in turns, a round of everybody after another: a machine that is busy for a while disturbs all.
A turn is shorter than what the system gives a process at a time, so that some are whole, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
import timeit
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

__all__ = ["fresh_process", "fresh_processes", "nanoseconds", "nanoseconds_async", "side_by_side", "side_by_side_async"]

Calls = Mapping[str, Callable[[], Any]]


def nanoseconds(call: Callable[[], Any], *, repeat: int = 70, seconds: float = 0.005) -> float:
    """Nanoseconds a call, the lambda's own cost included on every side of a comparison."""
    return side_by_side({"": call}, repeat=repeat, seconds=seconds)[""]


def side_by_side(calls: Calls, *, repeat: int = 70, seconds: float = 0.005) -> dict[str, float]:
    """Nanoseconds a call of each; a turn of each takes about `seconds`, and there are `repeat` rounds."""
    timers = {name: timeit.Timer(call) for name, call in calls.items()}
    numbers = {name: _number(timer, seconds) for name, timer in timers.items()}
    rounds = [
        {name: timer.timeit(numbers[name]) / numbers[name] for name, timer in timers.items()} for _ in range(repeat)
    ]
    return {name: min(found[name] for found in rounds) * 1e9 for name in calls}


def _number(timer: timeit.Timer, seconds: float) -> int:
    timer.timeit(1)  # the first call imports, starts threads and fills caches, and says nothing about the others
    number = 1
    while (spent := timer.timeit(number)) < seconds and number < 10_000_000:
        number = max(number * 2, int(number * seconds / max(spent, 1e-9)))
    return number


def nanoseconds_async(call: Callable[[], Awaitable[Any]], *, repeat: int = 70, number: int = 300) -> float:
    """Nanoseconds an awaited call, in one running loop."""
    return side_by_side_async({"": call}, repeat=repeat, number=number)[""]


def side_by_side_async(calls: Calls, *, repeat: int = 70, number: int = 300) -> dict[str, float]:
    """The same for several, in turns of `number` calls."""

    async def turn(call: Callable[[], Awaitable[Any]]) -> float:
        start = time.perf_counter()
        for _ in range(number):
            await call()
        return (time.perf_counter() - start) / number * 1e9

    async def all_rounds() -> dict[str, float]:
        rounds = [{name: await turn(call) for name, call in calls.items()} for _ in range(repeat)]
        return {name: min(found[name] for found in rounds) for name in calls}

    return asyncio.run(all_rounds())


def fresh_process(code: str, *, repeat: int = 15) -> float:
    """Nanoseconds of processor time that a fresh interpreter takes for `code`, byte code written before."""
    return fresh_processes({"": code}, repeat=repeat)[""]


def fresh_processes(codes: Mapping[str, str], *, repeat: int = 15) -> dict[str, float]:
    """The same for several, in turns."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def once(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    rounds = [{name: once(code) for name, code in codes.items()} for _ in range(repeat)]
    return {name: min(found[name] for found in rounds) * 1e9 for name in codes}
