"""Asking a second time where the first answer is late: the first good answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mlguard_nb.clock import Clock

__all__ = ["hedged"]

T = TypeVar("T")


async def hedged(ask: Callable[[], Awaitable[T]], after: float, clock: Clock) -> T:
    """What `ask()` gives; it is asked again, once, when it has not answered after so many seconds.

    Raises what the last of the two raised where both fail. Whoever is late is cancelled, and waited for.
    """
    running: set[asyncio.Future[T]] = {asyncio.ensure_future(ask())}
    timer: asyncio.Future[None] = asyncio.ensure_future(clock.sleep_async(after))
    failure: BaseException | None = None
    try:
        while running:
            waited: set[asyncio.Future[Any]] = {*running} if timer.done() else {*running, timer}
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in running if task in done]:
                running.discard(task)
                failure = task.exception()
                if failure is None:
                    return task.result()
            if timer in done and running:
                running.add(asyncio.ensure_future(ask()))
        assert failure is not None
        raise failure
    finally:
        late: list[asyncio.Future[Any]] = [*running, timer]
        for future in late:
            future.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        del failure
