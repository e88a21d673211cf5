"""An event loop whose hours pass in no time: when every task waits, its clock jumps to the first that is due.

For simulations: the guards read this clock, so the code that runs is the one that runs in production.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from mlguard_nb import clock as clocks
from mlguard_nb.testing import seeded

__all__ = ["VirtualLoop", "simulate"]

T = TypeVar("T")


class _Jumping(selectors.BaseSelector):
    """A selector that never waits; it moves `now` on by what the loop would have waited."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.now += timeout
        # None: nothing is due ever, so only another thread can wake the loop; that is waited for.
        return self._real.select(None if timeout is None else 0)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time is a number that jumps; also a Clock for the guards."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._jumping.now

    now = wall = time

    def sleep(self, seconds: float) -> None:
        """A thread's wait, which no simulated task may make: every other would stand still."""
        raise RuntimeError(f"a simulated task blocked for {seconds} s; it must await")

    async def sleep_async(self, seconds: float) -> None:
        """Let other tasks run for `seconds`."""
        await asyncio.sleep(seconds)


def simulate(main: Coroutine[Any, Any, T], seed: int) -> T:
    """Run `main` in virtual time, the guards on its clock and what they draw seeded: the same seed, the same result.

    What `main` leaves running (a refresh behind a caller's back) is run to its end too.
    """

    async def whole() -> T:
        result = await main
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
        return result

    loop = VirtualLoop()
    clock = clocks.install(loop)
    try:
        with seeded(seed):
            return loop.run_until_complete(whole())
    finally:
        clocks.install(clock)
        loop.close()
