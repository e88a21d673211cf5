"""Waiting at the gate of memory_guard, and promises of memory to calls that run at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from mlguard_nb import MemoryPolicy, memory_guard
from mlguard_nb.errors import MemoryPressure, PolicyError
from mlguard_nb.runtime.admission import LEDGER
from mlguard_nb.runtime.memory import admit
from mlguard_nb.telemetry.events import MemoryWaited
from mlguard_nb.testing import FakeClock, FakeDevices, fake_gpu, no_wait
from tests.runtime.freed import Freed

GB = 10**9


def test_it_waits_until_memory_is_free(machine: FakeDevices, events: list[Any]) -> None:
    """And then runs."""
    machine.ram_used = 15 * GB
    with no_wait(Freed(machine, at=2.0, to=4 * GB)) as clock:
        assert memory_guard(ram=0.8, on_pressure="wait")(lambda: 1)() == 1
        assert clock.time == pytest.approx(2.0, abs=0.2)
    (waited,) = [event for event in events if isinstance(event, MemoryWaited)]
    assert waited.wait_seconds == pytest.approx(2.0, abs=0.2)


def test_a_paused_guard_wants_a_tenth_of_the_limit_free(machine: FakeDevices) -> None:
    """Just below the limit is not enough once it paused: else it would flicker."""
    machine.ram_used = 15 * GB
    guarded = memory_guard(ram=0.8, on_pressure="wait", wait_timeout=5)(lambda: 1)
    with no_wait(Freed(machine, at=1.0, to=12 * GB)) as clock:  # the limit is 12.8 GB
        with pytest.raises(MemoryPressure):
            guarded()
        assert clock.time == pytest.approx(5.0)
    machine.ram_used = 11 * GB
    assert guarded() == 1
    machine.ram_used = 12 * GB
    assert guarded() == 1


def test_a_paused_guard_whose_need_is_nearly_the_limit_opens_again(clock: FakeClock) -> None:
    """A tenth besides could never be free: half of what the need leaves is enough."""
    with FakeDevices(ram_used="5GB", ram_limit="16GB") as machine:
        guarded = memory_guard(ram="12GB", need="11GB")(lambda: 1)
        with pytest.raises(MemoryPressure):
            guarded()
        machine.ram_used = 6 * GB // 10
        with pytest.raises(MemoryPressure):
            guarded()
        machine.ram_used = 4 * GB // 10
        assert guarded() == 1


def test_waiting_always_ends(machine: FakeDevices, clock: FakeClock) -> None:
    """After wait_timeout: MemoryPressure, or the fallback."""
    machine.ram_used = 15 * GB
    with pytest.raises(MemoryPressure) as caught:
        memory_guard(ram=0.8, on_pressure="wait", wait_timeout="20s")(lambda: 1)()
    assert clock.time == pytest.approx(20)
    assert caught.value.retry_after == 20
    assert memory_guard(ram=0.8, on_pressure="wait", fallback=lambda: 2)(lambda: 1)() == 2


def test_what_can_never_fit_is_refused_at_once(machine: FakeDevices, clock: FakeClock, events: list[Any]) -> None:
    """Nothing is waited for, reclaimed or paused for a call that asks for more than the limit of 12.8 GB."""
    guarded = memory_guard(ram=0.8, need=lambda size: size, on_pressure="wait")(lambda size: size)
    with pytest.raises(MemoryPressure, match=r"asked for 12.1 GiB; it can never fit below the stop of 11.9") as caught:
        guarded(13 * GB)
    assert caught.value.retry_after is None
    assert clock.time == 0
    assert [event.action for event in events] == ["stop"]
    machine.ram_used = 12 * GB
    assert guarded(GB // 2) == GB // 2  # a guard that has paused wants a tenth of the limit free
    with FakeDevices(gpus=(fake_gpu(total="80GB", used="1GB"),)), pytest.raises(MemoryPressure, match="can never fit"):
        memory_guard(gpu=0.5, need="41GB", on_pressure="wait")(lambda: 1)()
    assert clock.time == 0


def test_waiting_lets_other_tasks_run(machine: FakeDevices, clock: FakeClock) -> None:
    """An async function waits without blocking the loop."""
    machine.ram_used = 15 * GB

    @memory_guard(ram=0.8, on_pressure="wait")
    async def guarded() -> int:
        return 1

    async def free() -> None:
        while clock.time < 1:
            await asyncio.sleep(0)
        machine.ram_used = 1 * GB

    async def main() -> int:
        result, _ = await asyncio.gather(guarded(), free())
        return result

    assert asyncio.run(main()) == 1
    assert 1 <= clock.time < 30


# Admission.


def test_calls_at_once_cannot_all_pass_the_same_check(machine: FakeDevices) -> None:
    """Four calls of 4 GB with 8.8 GB of room: two run, two are refused."""
    inside, go_on, outcomes = threading.Semaphore(0), threading.Event(), []

    @memory_guard(ram=0.8, need="4GB")
    def hungry() -> str:
        inside.release()
        assert go_on.wait(30)
        return "ran"

    def call() -> None:
        try:
            outcomes.append(hungry())
        except MemoryPressure:
            outcomes.append("refused")
            inside.release()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert inside.acquire(timeout=30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["ran", "ran", "refused", "refused"]
    assert LEDGER.outstanding(machine.read()) == {}
    assert hungry() == "ran"


def test_a_promise_counts_less_as_the_call_takes_its_memory(machine: FakeDevices) -> None:
    """What was promised and is now in use is not counted twice."""
    with admit(MemoryPolicy(ram=1.0, need="10GB")):
        assert LEDGER.outstanding(machine.read()) == {"RAM": 10 * GB}
        machine.ram_used += 7 * GB
        assert LEDGER.outstanding(machine.read()) == {"RAM": 3 * GB}
    assert LEDGER.outstanding(machine.read()) == {}


def test_a_failing_call_gives_its_promise_back(machine: FakeDevices) -> None:
    """Whatever it raises."""

    @memory_guard(need="4GB")
    def fails() -> None:
        raise KeyboardInterrupt

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            fails()
    assert LEDGER.outstanding(machine.read()) == {}


def test_need_may_be_computed_from_the_arguments(machine: FakeDevices) -> None:
    """In bytes."""
    guarded = memory_guard(ram=0.8, need=lambda rows, columns: rows * columns * 8)(lambda rows, columns: "ran")
    assert guarded(1000, columns=1000) == "ran"
    with pytest.raises(MemoryPressure):
        guarded(10**6, columns=2000)
    with pytest.raises(PolicyError, match="must return bytes"):
        memory_guard(need=lambda: "2GB")(lambda: 1)()


def test_a_block_can_be_admitted_too(machine: FakeDevices) -> None:
    """The context manager that the cell engine uses."""
    with pytest.raises(MemoryPressure), admit(MemoryPolicy(ram=0.8, need="9GB")):
        pytest.fail("the block ran")
