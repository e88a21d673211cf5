"""What memory_guard gives back before it refuses: each rung, in order, and no more often than it helps."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from mlguard_nb import cache_result, memory_guard, retry
from mlguard_nb.devices import frameworks, host
from mlguard_nb.errors import MemoryPressure
from mlguard_nb.runtime import reclaim
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import MemoryReclaimed
from mlguard_nb.testing import FakeClock, FakeDevices, fake_gpu

GB = 10**9


def test_the_ladder_is_climbed_before_anything_is_refused(
    machine: FakeDevices, clock: FakeClock, events: list[Any]
) -> None:
    """Caches give way to the call: here they hold what is missing."""
    keep = cache_result(lambda n: bytes(n))
    keep(1000)
    machine.ram_used = 15 * GB

    def given_back(event: Any) -> None:
        if isinstance(event, MemoryReclaimed) and event.action == "evict_caches":
            machine.ram_used = 5 * GB

    end = bus.subscribe(given_back)
    try:
        assert memory_guard(ram=0.8)(lambda: 1)() == 1
    finally:
        end()
    assert keep.cache_info().entries == 0
    assert [event.action for event in events if isinstance(event, MemoryReclaimed)] == ["gc", "trim", "evict_caches"]


def test_collections_are_throttled(clock: FakeClock) -> None:
    """A full collection at most once a second."""
    assert reclaim.ladder(("gc", "trim")) == ("gc", "trim")
    assert reclaim.ladder(("gc", "trim")) == ()
    clock.sleep(1.5)
    assert reclaim.ladder(("gc", "trim")) == ("gc", "trim")


def test_a_slow_collection_rests_ten_times_as_long_as_it_took(clock: FakeClock) -> None:
    """Of a heap of ten million objects it stops every thread for two seconds; a second later would be half the time."""

    def collecting(phase: str, _info: Any) -> None:
        if phase == "stop":
            clock.time += 2

    gc.callbacks.append(collecting)
    try:
        assert reclaim.ladder(("gc",)) == ("gc",)
        clock.sleep(19)
        assert reclaim.ladder(("gc",)) == ()
        clock.sleep(2)
        assert reclaim.ladder(("gc",)) == ("gc",)
    finally:
        gc.callbacks.remove(collecting)


def test_an_async_call_climbs_the_ladder_beside_the_loop(machine: FakeDevices) -> None:
    """Which runs on while pages are given back or a driver answers, and also while the loop's executor is full."""

    class Kept:
        def __del__(self) -> None:
            dropped_on.append(threading.current_thread().name)

    dropped_on: list[str] = []
    kept = cache_result(hand_out="same")(lambda: Kept())
    kept()
    machine.ram_used = 15 * GB

    @memory_guard(ram=0.8, actions=("evict_caches",))
    async def guarded() -> None: ...

    async def main() -> None:
        go_on = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        loop.run_in_executor(None, go_on.wait, 60)
        try:
            with pytest.raises(MemoryPressure):
                await asyncio.wait_for(guarded(), 30)
        finally:
            go_on.set()

    asyncio.run(main())
    assert dropped_on == ["mlguard-beside"]


def test_the_ladder_stops_as_soon_as_there_is_room(clock: FakeClock) -> None:
    """The dearer rungs are left alone."""
    clock.sleep(100)
    assert reclaim.ladder(("gc", "trim", "evict_caches"), is_short=lambda: False) == ("gc",)


def test_every_rung_says_what_it_gave_back(
    clock: FakeClock, events: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the size of the process, by the caches' own bytes, by the use of the devices; None where nobody can say."""
    clock.sleep(100)
    keep = cache_result(lambda n: bytes(n))
    keep(1000)
    sizes = iter((900, 700, 700, 750))
    monkeypatch.setattr(host, "resident_bytes", lambda: next(sizes))
    with FakeDevices(gpus=(fake_gpu(0, 100, 60), fake_gpu(1, 100, 20))) as machine:

        def empty() -> tuple[str, ...]:
            machine.gpus_now = (fake_gpu(0, 100, 10), fake_gpu(1, 100, 20))
            return ("torch",)

        monkeypatch.setattr(frameworks, "empty_caches", empty)
        reclaim.ladder(("gc", "trim", "evict_caches", "empty_cuda_cache", "alert"))
    freed = {event.action: event.freed_bytes for event in events if isinstance(event, MemoryReclaimed)}
    assert freed.pop("evict_caches") >= 1000
    assert freed == {"gc": 200, "trim": 0, "empty_cuda_cache": 50, "alert": None}
    clock.sleep(100)
    events.clear()
    with FakeDevices():
        reclaim.ladder(("empty_cuda_cache",))
    assert events[0].freed_bytes is None


def test_a_lost_device_fails_no_call_that_would_free_its_memory(
    machine: FakeDevices, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """torch raises from then on, whatever it is asked: the caller gets his refusal, and his retry."""

    def lost() -> None:
        raise RuntimeError("CUDA error: device lost\nCompile with TORCH_USE_CUDA_DSA")

    cuda = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True, empty_cache=lost)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    machine.ram_used = 15 * GB
    with pytest.raises(MemoryPressure):
        memory_guard(ram=0.8, actions=("empty_cuda_cache",))(lambda: 1)()
    answers: list[Any] = [1, MemoryError("no room")]

    @retry(on_oom="clear")
    def allocate() -> Any:
        answer = answers.pop()
        if isinstance(answer, MemoryError):
            raise answer
        return answer

    assert allocate() == 1
    assert [record.getMessage() for record in caplog.records if "cannot give back" in record.getMessage()] == [
        "torch cannot give back device memory: CUDA error: device lost"
    ]


def test_trim_gives_freed_memory_back_to_the_system() -> None:
    """Freed pages in the middle of the heap stay with the process until they are trimmed."""
    program = textwrap.dedent(
        """
        from mlguard_nb.runtime.reclaim import ladder
        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * 4096
        blocks = [bytes(60_000) for _ in range(3000)]
        pins = blocks[::200]
        full = resident()
        del blocks
        ladder(("gc",)); after_gc = resident()
        ladder(("trim",)); after_trim = resident()
        print(full - after_gc, full - after_trim)
        """
    )
    if not sys.platform.startswith("linux"):
        pytest.skip("malloc_trim is of glibc")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    by_gc, by_trim = map(int, done.stdout.split())
    assert by_trim > 100_000_000
    assert by_gc < by_trim / 2
