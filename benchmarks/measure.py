"""How a figure is taken: the minimum of several timeit runs, which is what the code costs when nothing disturbs it."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
import timeit
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["fresh_process", "nanoseconds", "nanoseconds_async"]


def nanoseconds(call: Callable[[], Any], *, repeat: int = 7, seconds: float = 0.05) -> float:
    """Nanoseconds a call, the lambda's own cost included on every side of a comparison."""
    timer = timeit.Timer(call)
    number = 1
    while (spent := timer.timeit(number)) < seconds and number < 10_000_000:
        number = max(number * 2, int(number * seconds / max(spent, 1e-9)))
    return min(timer.repeat(repeat=repeat, number=number)) / number * 1e9


def nanoseconds_async(call: Callable[[], Awaitable[Any]], *, repeat: int = 7, number: int = 3000) -> float:
    """Nanoseconds an awaited call, in one running loop."""

    async def once() -> float:
        start = time.perf_counter()
        for _ in range(number):
            await call()
        return (time.perf_counter() - start) / number * 1e9

    async def best() -> float:
        return min([await once() for _ in range(repeat)])

    return asyncio.run(best())


def fresh_process(code: str, *, repeat: int = 9) -> float:
    """Nanoseconds of processor time that a fresh interpreter takes for `code`, byte code written before."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(repeat)) * 1e9
