"""One blocking piece of work beside the event loop, on a thread of its own."""

from __future__ import annotations

import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["beside_the_loop"]

T = TypeVar("T")


async def beside_the_loop(work: Callable[[], T]) -> T:
    """What `work` returns or raises, while other tasks of the loop run.

    Not in the loop's executor: where a program keeps all threads of that busy, `work` would wait for them, perhaps for
    ever. A caller that is cancelled leaves `work` to its end.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(set_it: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            set_it(value)

    def run() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = future.set_result, context.run(work)
        except BaseException as error:
            outcome = future.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="mlguard-beside", daemon=True).start()
    return await future
