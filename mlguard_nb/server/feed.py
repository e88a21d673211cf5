"""The live feed: one sampler for all pages, running only while a page is connected.

Everything here happens on the server's event loop, except reading the machine (the sampler's threads) and the process
table (one slow thread). A page whose panel is on screen gets up to four samples a second, the others one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from tornado.web import HTTPError

from mlguard_nb.devices import machine as machines
from mlguard_nb.devices.readings import Unknown
from mlguard_nb.devices.sampler import Sampler
from mlguard_nb.runtime.wire_readings import point, sample
from mlguard_nb.server.ledger import holders
from mlguard_nb.server.processes import ProcessTable
from mlguard_nb.telemetry.wire import History, Holders, Point, Sample, as_text

if TYPE_CHECKING:
    from mlguard_nb.devices.machine import Machine
    from mlguard_nb.devices.readings import Reading
    from mlguard_nb.server.kernels import KernelFacts
    from mlguard_nb.server.neighbours import Neighbours

__all__ = ["HIDDEN_SECONDS", "SHOWN_SECONDS", "Feed", "Page"]

_LOG = logging.getLogger(__name__)
SHOWN_SECONDS, HIDDEN_SECONDS = 0.25, 1.0
_HOLDERS_SHOWN, _HOLDERS_HIDDEN, _BETWEEN_LOOKS = 2.0, 10.0, 1.0
_POINT_SECONDS, _KEPT_POINTS, _SENT_SECONDS = 1.0, 3600, 600.0
_EARLY = 0.9  # a sample may come this much before its time: timers are not exact


class Page(Protocol):
    """One connected page. `interval` is what it asked for, in seconds; None leaves it to the server."""

    panel: bool
    interval: float | None

    @property
    def is_behind(self) -> bool:
        """Whether it has not yet taken what it was sent; it gets no more until it has, so nothing piles up."""
        ...

    def send(self, text: str) -> None:
        """Hand `text` to the page; never blocks, never raises."""
        ...


class Feed:
    """Samples while somebody looks, and remembers the last hour."""

    def __init__(
        self,
        kernels: Callable[[], Awaitable[tuple[KernelFacts, ...]]],
        machine: Machine | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        self._kernels, self._machine, self._neighbours = kernels, machine, neighbours
        self._pages: dict[Page, float] = {}
        self._points: deque[Point] = deque(maxlen=_KEPT_POINTS)
        self._holders: Holders | None = None
        self._sampler: Sampler | None = None
        self._slow: ThreadPoolExecutor | None = None
        self._looking: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._processes = ProcessTable()

    @property
    def is_running(self) -> bool:
        """Whether threads sample now: only while a page is connected."""
        return self._sampler is not None

    # Pages come and go.

    def join(self, page: Page) -> None:
        """Send samples to `page` until it leaves; starts sampling for the first one."""
        if self._sampler is None:
            self._start()
        self.tell_history(page, _SENT_SECONDS)
        if self._holders is not None:
            page.send(as_text(self._holders))
        self._pages[page] = float("-inf")
        self.hurry()

    def tell_history(self, page: Page, seconds: float) -> None:
        """Send `page` the points of the last `seconds`, up to an hour."""
        newest = self._points[-1].wall if self._points else 0.0
        points = tuple(point for point in self._points if newest - point.wall < seconds)
        page.send(as_text(History("history", points)))

    def leave(self, page: Page) -> None:
        """Send no more to `page`; stops all threads after the last one. Unknown pages are ignored."""
        self._pages.pop(page, None)
        if not self._pages:
            self.stop()

    def hurry(self) -> None:
        """A page was shown, hidden, or asked for another interval."""
        if self._sampler is not None:
            self._sampler.period = min((pace(page) for page in self._pages), default=HIDDEN_SECONDS)
        self._wake.set()

    def stop(self) -> None:
        """End sampling; the history stays."""
        if self._sampler is not None:
            self._sampler.stop()
        if self._looking is not None:
            self._looking.cancel()
        if self._slow is not None:
            self._slow.shutdown(wait=False)
        self._sampler = self._looking = self._slow = None

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        sampler = Sampler(self._machine, period=HIDDEN_SECONDS)
        sampler.subscribe(lambda reading: _from_thread(loop, self.publish, reading))
        self._sampler = sampler.start()
        self._slow = ThreadPoolExecutor(1, thread_name_prefix="mlguard-holders")
        self._looking = loop.create_task(self._look())

    # Samples.

    def publish(self, reading: Reading) -> None:
        """Remember `reading`, and send it to every page whose time has come."""
        now = sample(reading)
        last = self._points[-1].wall if self._points else float("-inf")
        if _is_due(now.wall, last, _POINT_SECONDS):
            self._points.append(point(now, self._holders))
        due = [page for page, sent in self._pages.items() if _is_due(now.wall, sent, pace(page)) and not page.is_behind]
        text = as_text(now) if due else ""
        for page in due:
            self._pages[page] = now.wall
            page.send(text)

    # Who holds it.

    async def _look(self) -> None:
        while True:
            try:
                await self.look()
            except (OSError, HTTPError) as error:  # kernels behind a gateway that does not answer
                _LOG.warning("the kernels could not be listed: %s", error)
            except Exception:  # a kernel that dies while it is looked at must not end the ledger of all others
                _LOG.exception("this look at the kernels failed; the next one is tried")
            await asyncio.sleep(_BETWEEN_LOOKS)  # however often pages ask to hurry
            shown = any(page.panel for page in self._pages)
            wait = (_HOLDERS_SHOWN if shown else _HOLDERS_HIDDEN) - _BETWEEN_LOOKS
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except asyncio.TimeoutError:
                continue
            finally:
                self._wake.clear()

    async def look(self) -> Holders:
        """Look at the kernels and at the processes on the devices, and tell every page."""
        facts = await self._kernels()
        loop = asyncio.get_running_loop()
        self._holders = found = await loop.run_in_executor(self._slow, self._measure, facts)
        text = as_text(found)
        for page in tuple(self._pages):
            if not page.is_behind:
                page.send(text)
        return found

    def _measure(self, facts: tuple[KernelFacts, ...]) -> Holders:
        machine = self._machine or machines.current()
        latest = None if self._sampler is None else self._sampler.latest
        if latest is None or isinstance(latest.gpus, Unknown):  # the first look may come before the first devices
            latest = machine.read()
        return holders(latest, (*facts, *self._near(facts)), machine.gpu_processes(), self._processes)

    def _near(self, facts: tuple[KernelFacts, ...]) -> tuple[KernelFacts, ...]:
        """The kernels of this user's other servers on this machine."""
        if self._neighbours is None:
            return ()
        first = (os.getpid(), *(kernel.pid for kernel in facts if kernel.pid is not None))
        return self._neighbours.kernels(frozenset[int]().union(*map(self._processes.family, first)))

    async def once(self) -> tuple[Sample, Holders]:
        """One sample and one ledger, for a client that does not stream. Starts no thread that stays."""
        machine = self._machine or machines.current()
        reading = await asyncio.to_thread(machine.read)
        facts = await self._kernels()
        return sample(reading), await asyncio.to_thread(self._measure, facts)


def pace(page: Page) -> float:
    """Seconds between two samples for `page`: what it asked for, but never faster than the server allows."""
    floor = SHOWN_SECONDS if page.panel else HIDDEN_SECONDS
    return max(floor, page.interval or floor)


def _is_due(now: float, last: float, seconds: float) -> bool:
    """Whether `seconds` have gone since `last`; after the clock was set back, too."""
    return not 0 <= now - last < seconds * _EARLY


def _from_thread(loop: asyncio.AbstractEventLoop, publish: Callable[[Reading], None], reading: Reading) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(publish, reading)
