"""The sampler: one thread that keeps the latest reading, over a machine made for the test."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from mlguard_nb import devices
from mlguard_nb.devices import Gpu, GpuProcess, Ram, Reading, Sampler, Unknown
from mlguard_nb.devices.sampler import wait_after

GIB = 2**30


class Scripted:
    """A machine that says what the test put into it, and tells the test when it was asked."""

    def __init__(self, used: int = 1 * GIB) -> None:
        self.used = used
        self.cards: tuple[Gpu, ...] | Unknown = ()
        self.asked = threading.Semaphore(0)
        self.answers = threading.Event()
        self.answers.set()

    def read(self) -> Reading:
        return Reading(0.0, self.ram(), self.gpus())

    def ram(self) -> Ram:
        self.asked.release()
        return Ram(10 * GIB, self.used)

    def gpus(self) -> tuple[Gpu, ...] | Unknown:
        self.answers.wait(30)
        return self.cards

    def gpu_processes(self) -> tuple[GpuProcess, ...] | Unknown:
        return ()


def test_the_first_reading_is_there_at_once() -> None:
    """`latest` never is None, also before the thread starts."""
    assert Sampler(Scripted(3)).latest.ram.used_bytes == 3


def test_a_tick_publishes_memory_and_the_devices_as_last_read() -> None:
    """Memory is read on each tick; the devices' numbers are those of the last look at them."""
    machine = Scripted()
    sampler = Sampler(machine)
    assert isinstance(sampler.latest.gpus, Unknown)
    machine.cards, machine.used = (Gpu("GPU-1", 0, "card"),), 7
    sampler.tick_gpus()
    reading = sampler.tick()
    assert reading.ram.used_bytes == 7
    assert reading.gpus == machine.cards
    assert sampler.latest is reading


def test_whoever_asks_for_devices_waits_for_the_first_answer() -> None:
    """The first guarded cell of a kernel sees the cards, or why there are none, and not that nobody has looked."""
    machine = Scripted()
    machine.cards = (Gpu("GPU-1", 0, "card"),)
    machine.answers.clear()
    sampler = Sampler(machine, period=30).start()
    threading.Timer(0.01, machine.answers.set).start()
    try:
        assert sampler.with_devices().gpus == machine.cards
        assert sampler.latest.gpus == machine.cards
    finally:
        sampler.stop()


def test_devices_are_read_at_once_where_no_thread_does_it() -> None:
    """A sampler that was not started answers as well."""
    machine = Scripted()
    machine.cards = (Gpu("GPU-1", 0, "card"),)
    assert Sampler(machine).with_devices().gpus == machine.cards


def test_the_thread_keeps_reading_until_it_is_stopped() -> None:
    """Once started the machine is asked again and again; stopped, `latest` stays."""
    machine = Scripted()
    sampler = Sampler(machine, period=0.001).start()
    try:
        for _ in range(5):
            assert machine.asked.acquire(timeout=30)
        assert sampler.is_running
    finally:
        sampler.stop()
    assert sampler.latest.ram.used_bytes == machine.used


def test_starting_twice_starts_one_pair_of_threads() -> None:
    """`start` is idempotent."""
    sampler = Sampler(Scripted(), period=0.01).start()
    try:
        before = sampler._threads
        assert sampler.start()._threads is before
    finally:
        sampler.stop()


def test_a_driver_that_hangs_does_not_stop_memory() -> None:
    """While the devices' answer is missing, host memory goes on."""
    machine = Scripted()
    machine.answers.clear()
    sampler = Sampler(machine, period=0.001).start()
    try:
        for _ in range(4):
            assert machine.asked.acquire(timeout=30)
    finally:
        machine.answers.set()
        sampler.stop()
    assert isinstance(sampler.latest.gpus, Unknown)


def test_whoever_asks_a_hanging_driver_waits_so_long_and_no_longer() -> None:
    """Its devices are Unknown, with a reason; once it answers, the numbers are of a look that began after the question."""
    machine = Scripted()
    machine.answers.clear()
    sampler = Sampler(machine, period=30).start()
    try:
        silent = sampler.devices_now(0.01)
        assert isinstance(silent, Unknown)
        assert "does not answer" in silent.reason
        machine.cards = (Gpu("GPU-1", 0, "card"),)
        machine.answers.set()
        assert sampler.devices_now() == machine.cards
        machine.cards = ()
        assert sampler.devices_now() == ()
    finally:
        machine.answers.set()
        sampler.stop()


class Overtaken(Scripted):
    """A machine that answers the first question last: meanwhile `other` asks it again."""

    def __init__(self) -> None:
        super().__init__()
        self.other: threading.Thread | None = None

    def _first(self) -> bool:
        other, self.other = self.other, None
        if other is not None:
            other.start()
            other.join(0.2)  # as far as it gets
        return other is not None

    def ram(self) -> Ram:
        used = self.used
        return Ram(10 * GIB, used) if self._first() else Ram(10 * GIB, used + 1)

    def gpus(self) -> tuple[Gpu, ...] | Unknown:
        return (Gpu("GPU-old" if self._first() else "GPU-new", 0, "card"),)


def test_a_reading_that_began_earlier_does_not_replace_a_newer_one() -> None:
    """A driver that hung answers at last, or a thread was slow: what it saw then is older than what is known by now."""
    machine = Overtaken()
    sampler = Sampler(machine)
    machine.other = threading.Thread(target=sampler.tick_gpus)
    sampler.tick_gpus()
    machine.other = tick = threading.Thread(target=sampler.tick)
    sampler.tick()
    tick.join()
    assert sampler.latest.ram.used_bytes == machine.used + 1
    assert [gpu.uuid for gpu in sampler.latest.gpus] == ["GPU-new"]  # type: ignore[union-attr]


def test_a_failing_subscriber_is_dropped_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The others still hear every reading."""
    heard: list[Reading] = []
    sampler = Sampler(Scripted())

    def fails(reading: Reading) -> None:
        raise ValueError("broken subscriber")

    sampler.subscribe(fails)
    end = sampler.subscribe(heard.append)
    with caplog.at_level(logging.ERROR, logger="mlguard_nb.devices.sampler"):
        sampler.tick()
        sampler.tick()
    assert len(heard) == 2
    assert len(caplog.records) == 1
    end()
    sampler.tick()
    assert len(heard) == 2


def test_a_subscriber_can_ask_for_the_next_reading_sooner() -> None:
    """As long as it does; whoever answers nothing does not take that back."""
    asks = [True, False]
    sampler = Sampler(Scripted(), period=0.1)
    sampler.subscribe(lambda _reading: asks.pop(0))
    sampler.subscribe(lambda _reading: None)
    assert sampler.pause == 0.1
    sampler.tick()
    assert sampler.pause == pytest.approx(0.02)
    sampler.tick()
    assert sampler.pause == 0.1


@pytest.mark.parametrize(("used", "share"), [(1, 1.0), (9.5, 0.2)])
def test_sampling_is_faster_near_the_limit(used: float, share: float) -> None:
    """Less than a tenth left: five times as often."""
    assert wait_after(Ram(10 * GIB, int(used * GIB)), 0.1) == pytest.approx(0.1 * share)


def test_an_unknown_limit_keeps_the_period() -> None:
    """Nothing known, nothing hurried."""
    assert wait_after(Ram(Unknown("?"), Unknown("?")), 0.1) == 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_samples_by_itself() -> None:
    """Threads do not survive fork; the sampler starts them again in the child."""
    machine = Scripted()
    sampler = Sampler(machine, period=0.001).start()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        alive = sampler.is_running and machine.asked.acquire(timeout=20)
        os.write(write, b"yes" if alive else b"no")
        os._exit(0)
    try:
        assert os.read(read, 10) == b"yes"
        os.waitpid(child, 0)
    finally:
        sampler.stop()
        os.close(read)
        os.close(write)


def test_an_installed_machine_is_what_everybody_reads() -> None:
    """`install` puts a machine in force and hands back what it replaced."""
    machine = Scripted(5)
    before = devices.install(machine)
    try:
        assert devices.current().read().ram.used_bytes == 5
        assert Sampler().latest.ram.used_bytes == 5
    finally:
        devices.install(before)


def test_where_no_thread_can_start_it_reads_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the interpreter's end, from Python 3.12 on: what is told last still has a reading."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sampler = Sampler()
    before = sampler.ticks
    assert not sampler.start().is_running
    assert sampler.ticks == before + 1
