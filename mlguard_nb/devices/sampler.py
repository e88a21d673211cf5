"""One thread that keeps the latest reading of the machine, so that call paths only look at an attribute."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlguard_nb import clock as clocks
from mlguard_nb.devices import machine as machines
from mlguard_nb.devices.readings import Gpu, Ram, Reading, Unknown

if TYPE_CHECKING:
    from mlguard_nb.devices.machine import Machine

__all__ = ["Sampler", "Subscriber", "shared"]

Subscriber = Callable[["Reading"], "bool | None"]

_LOG = logging.getLogger(__name__)
_NEAR = 0.1  # less than this share of the limit is left: sample faster
_FASTER = 5.0
_LATE = 3  # periods
_NO_ANSWER_SECONDS = 3.0
_NOT_READ = Unknown("the devices have not been read yet")
_NO_ANSWER = Unknown("the driver does not answer; if nvidia-smi hangs too, reset the GPU")


class Sampler:
    """Reads `machine` every `period` seconds from a daemon thread; five times as often near the machine's limit, or
    where a subscriber asks for it.

    `latest` is always a reading, the first one taken when the sampler is made. Where the driver takes longer than three
    periods, a second thread reads host memory meanwhile, so a driver that hangs cannot hide what happens to that, nor
    hold up who asks `devices_now`; after three seconds its devices are Unknown.
    In a forked child the threads start again by themselves.
    """

    def __init__(self, machine: Machine | None = None, clock: clocks.Clock | None = None, period: float = 0.1) -> None:
        self._machine, self._clock = machine, clock
        self.period = period
        self.ticks = 0
        self.tick_seconds = 0.0
        self._subscribers: tuple[Subscriber, ...] = ()
        self._is_asked_for = False
        self._stop = threading.Event()
        self._threads: tuple[threading.Thread, ...] = ()
        self._gpus_asked: float | None = None
        self._looking = _Looking(_NOT_READ)
        self._starting = threading.Lock()
        self._ticking = threading.RLock()
        self._read_from: Machine = self._source()
        self.latest: Reading = Reading(self._wall(), self._read_from.ram(), _NOT_READ)

    # What is sampled.

    def _source(self) -> Machine:
        return self._machine or machines.current()

    def _wall(self) -> float:
        return (self._clock or clocks.current()).wall()

    def tick(self) -> Reading:
        """Read host memory now, join it with the devices as last read, and tell the subscribers.

        One reading after another, so that none that began earlier, maybe on another machine, takes the place of this.
        """
        with self._ticking:
            began = time.perf_counter()
            source = self._source()
            if source is not self._read_from:  # another machine was installed: its devices, not the old one's
                self._read_from = source
                self.tick_gpus()
            reading = Reading(self._wall(), source.ram(), self._fresh_gpus())
            self.latest = reading
            is_asked_for = False
            for subscriber in self._subscribers:
                try:
                    is_asked_for = bool(subscriber(reading)) or is_asked_for
                except Exception:
                    _LOG.exception("a subscriber of the memory sampler failed and was dropped: %r", subscriber)
                    self.unsubscribe(subscriber)
            self._is_asked_for = is_asked_for
            self.ticks += 1
            self.tick_seconds += time.perf_counter() - began
            return reading

    def tick_gpus(self) -> tuple[Gpu, ...] | Unknown:
        """Read the devices now, however long that takes; the next `tick` publishes them."""
        look = self._looking.begin()
        self._gpus_asked = time.monotonic()
        gpus = self._source().gpus()
        self._gpus_asked = None
        self._looking.end(look, gpus)
        return gpus

    def devices_now(self, seconds: float = _NO_ANSWER_SECONDS) -> tuple[Gpu, ...] | Unknown:
        """The devices by a look that begins after this call; Unknown where the driver has not answered in `seconds`.

        Three seconds at most, and no time at all where the driver owes an answer for longer than that.
        """
        if not self.is_running:
            return self.tick_gpus()
        patience = min(seconds, _NO_ANSWER_SECONDS - self._silent_seconds())
        if patience > 0 and self._looking.awaited(patience):
            return self._looking.gpus
        return _NO_ANSWER

    def with_devices(self) -> Reading:
        """`latest`, once the devices were read for the first time: that is awaited for three seconds at most."""
        if self.latest.gpus is not _NOT_READ:
            return self.latest
        self.devices_now()
        return self.tick()

    def _silent_seconds(self) -> float:
        asked = self._gpus_asked
        return 0.0 if asked is None else time.monotonic() - asked

    def _fresh_gpus(self) -> tuple[Gpu, ...] | Unknown:
        return self._looking.gpus if self._silent_seconds() <= _NO_ANSWER_SECONDS else _NO_ANSWER

    # The threads.

    def start(self) -> Sampler:
        """Start sampling; again in a forked child. Starting twice does nothing.

        Where no thread can be started (the interpreter is ending, or the process may have no more), it reads once.
        """
        with self._starting:
            if not any(thread.is_alive() for thread in self._threads):
                self._stop = threading.Event()
                self._threads = tuple(
                    threading.Thread(target=loop, args=(self._stop,), name=f"mlguard-{name}", daemon=True)
                    for name, loop in (("sampler", self._sample), ("stand-in", self._stand_in))
                )
                try:
                    for thread in self._threads:
                        thread.start()
                except RuntimeError:
                    self.tick()
                    return self
                _RUNNING.add(self)
        return self

    def stop(self) -> None:
        """End both threads; `latest` stays what it was."""
        self._stop.set()
        self._looking.wanted.set()
        _RUNNING.discard(self)

    @property
    def is_running(self) -> bool:
        """Whether the thread is alive."""
        return any(thread.is_alive() for thread in self._threads)

    @property
    def pause(self) -> float:
        """Seconds to the next reading."""
        return self.period / _FASTER if self._is_asked_for else wait_after(self.latest.ram, self.period)

    def _sample(self, stop: threading.Event) -> None:
        """Devices and host memory by one thread: to be woken is most of what a reading costs."""
        again, is_wanted = float("-inf"), False
        while not stop.is_set():
            now = time.monotonic()
            if now >= again or is_wanted:
                gpus = self.tick_gpus()
                # No driver, or none of its devices: look again now and then, since one may come.
                again = now + (max(1.0, self.period) if isinstance(gpus, Unknown) or not gpus else 0.0)
            self.tick()
            is_wanted = self._looking.pause(self.pause)

    def _stand_in(self, stop: threading.Event) -> None:
        """Host memory while the driver keeps the other thread waiting."""
        wait = _LATE * self.pause
        while not stop.wait(wait):
            silent, late = self._silent_seconds(), _LATE * self.pause
            if silent < late:
                wait = late - silent
            else:
                self.tick()
                wait = self.pause

    # Who is told.

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with each reading, on the sampler's thread; returns what ends that. While it answers True
        the next reading comes sooner.
        """
        self._subscribers = (*self._subscribers, subscriber)
        return lambda: self.unsubscribe(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """No longer call `subscriber`; unknown ones are ignored."""
        self._subscribers = tuple(other for other in self._subscribers if other is not subscriber)

    def _restart(self) -> None:
        self._starting = threading.Lock()
        self._ticking = threading.RLock()
        self._looking = _Looking(self._looking.gpus)
        self._threads = ()
        self._gpus_asked = None
        self.start()


class _Looking:
    """What the last look at the devices saw, and the turns of who looks, for those who wait for the next one."""

    def __init__(self, gpus: tuple[Gpu, ...] | Unknown) -> None:
        self.gpus = gpus
        self.wanted = threading.Event()
        self._turn = threading.Condition()
        self._begun = self._ended = 0

    def begin(self) -> int:
        with self._turn:
            self._begun += 1
            return self._begun

    def end(self, look: int, gpus: tuple[Gpu, ...] | Unknown) -> None:
        """Keep what was seen, unless a later look has ended before this one: it may have been of another machine."""
        with self._turn:
            if look > self._ended:
                self._ended, self.gpus = look, gpus
                self._turn.notify_all()

    def pause(self, seconds: float) -> bool:
        """Until somebody wants the next look, `seconds` at most; whether somebody does."""
        is_wanted = self.wanted.wait(seconds)
        self.wanted.clear()
        return is_wanted

    def awaited(self, seconds: float) -> bool:
        """Whether a look that began after this call ended within `seconds`."""
        with self._turn:
            next_look = self._begun + 1
            self.wanted.set()
            return self._turn.wait_for(lambda: self._ended >= next_look, seconds)


def wait_after(ram: Ram, period: float) -> float:
    """Seconds to the next reading: `period`, or a fifth of it when less than a tenth of the limit is left."""
    limit, left = ram.limit_bytes, ram.headroom_bytes
    if isinstance(limit, Unknown) or isinstance(left, Unknown):
        return period
    return period / _FASTER if left < limit * _NEAR else period


_RUNNING: weakref.WeakSet[Sampler] = weakref.WeakSet()
_shared: Sampler | None = None
_making = threading.Lock()


def shared() -> Sampler:
    """The one sampler of this process at 10 Hz, started by the first who asks."""
    global _shared
    sampler = _shared
    if sampler is None:
        with _making:
            sampler = _shared = _shared or Sampler()
    return sampler if sampler.is_running else sampler.start()


def _after_fork() -> None:
    global _making
    _making = threading.Lock()
    for sampler in list(_RUNNING):
        sampler._restart()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
