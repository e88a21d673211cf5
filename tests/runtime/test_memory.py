"""memory_guard on machines made of numbers: admission, the ladder, waiting, refusing; sync, async and generators."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psutil
import pytest

from mlguard_nb import MemoryPolicy, devices, memory_guard
from mlguard_nb.devices import GpuProcess, Ram, Unknown
from mlguard_nb.errors import DeviceUnavailable, MemoryPressure, PolicyError
from mlguard_nb.runtime import holders
from mlguard_nb.runtime.admission import LEDGER
from mlguard_nb.runtime.memory import pressure
from mlguard_nb.runtime.wrapping import guards_of
from mlguard_nb.telemetry.events import MemoryRefused
from mlguard_nb.testing import FakeDevices, disabled, fake_gpu

GB = 10**9


# The check.


def test_the_check_compares_shares_bytes_and_need(machine: FakeDevices) -> None:
    """Share of the container, bytes, and what the call will ask for on top."""
    reading = machine.read()
    assert pressure(MemoryPolicy(ram=0.8), reading) is None
    assert pressure(MemoryPolicy(ram=0.2), reading) is not None
    assert pressure(MemoryPolicy(ram="5GB"), reading) is None
    assert pressure(MemoryPolicy(ram="3GB"), reading) is not None
    assert pressure(MemoryPolicy(ram=0.8), reading, need=8 * GB) is None
    assert pressure(MemoryPolicy(ram=0.8), reading, need=9 * GB) is not None
    assert pressure(MemoryPolicy(ram=0.8), reading, need=5 * GB, reserved={"RAM": 5 * GB}) is not None


def test_a_tighter_ceiling_than_the_one_shown_counts() -> None:
    """ulimit -v or an outer container may leave less room than the container's own limit."""
    ceilings = (devices.Ceiling("ulimit -v", 5 * GB, 4 * GB),)
    reading = devices.Reading(0.0, Ram(16 * GB, 4 * GB, ceilings=ceilings), ())
    assert pressure(MemoryPolicy(ram=0.9), reading, need=2 * GB) is not None


def test_what_nobody_can_read_stops_nothing_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Blindness is no reason to refuse, and no secret."""
    blind = devices.Reading(0.0, Ram(Unknown("meminfo is gone"), Unknown("meminfo is gone")), Unknown("no driver here"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert pressure(MemoryPolicy(ram=0.5, gpu=0.5), blind) is None
    assert caplog.text.count("meminfo is gone") == 1
    assert caplog.text.count("no driver here") == 1


def test_every_visible_device_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second card is full; where CUDA_VISIBLE_DEVICES hides it, it is not ours."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = (fake_gpu(0, used="10GB"), fake_gpu(1, used="79GB"))
    reading = devices.Reading(0.0, Ram(16 * GB, 1 * GB), gpus)
    short = pressure(MemoryPolicy(gpu=0.9), reading)
    assert short is not None
    assert short.device == "GPU 1 (NVIDIA Fake)"
    assert (short.used, short.limit, short.free) == (79 * GB, 72 * GB, 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert pressure(MemoryPolicy(gpu=0.9), reading) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert pressure(MemoryPolicy(gpu=0.9, device=0), reading) is not None
    assert pressure(MemoryPolicy(gpu=0.9, device=1), reading) is None
    assert pressure(MemoryPolicy(gpu=0.9, device=gpus[1].uuid), reading) is not None


def test_a_device_that_was_named_and_is_not_there_is_an_error() -> None:
    """Only then; everything else degrades."""
    reading = devices.Reading(0.0, Ram(16 * GB, 1 * GB), (fake_gpu(0),))
    with pytest.raises(DeviceUnavailable, match="sees 1 device"):
        pressure(MemoryPolicy(gpu=0.9, device=3), reading)
    with pytest.raises(DeviceUnavailable, match="no NVIDIA driver"):
        pressure(MemoryPolicy(gpu=0.9, device=0), reading._replace(gpus=Unknown("no NVIDIA driver here")))


# The decorator.


def test_with_room_the_function_just_runs(machine: FakeDevices) -> None:
    """And the call path reads one attribute, which says that the gate is open."""

    @memory_guard(ram=0.8)
    def function(x: int) -> int:
        return x + 1

    assert [function(1), function(2)] == [2, 3]
    assert guards_of(function)[0].is_closed is False  # type: ignore[attr-defined]


@pytest.mark.parametrize(("used", "is_near", "is_closed"), [(4.0, False, False), (4.6, True, False), (5.1, True, True)])
def test_near_its_own_stop_it_asks_for_the_next_reading_sooner(
    machine: FakeDevices, used: float, is_near: bool, is_closed: bool
) -> None:
    """Though the machine's own limit, of 16 GB, is far away."""
    machine.ram_used = int(used * GB)
    gate: Any = guards_of(memory_guard(ram="5GB")(lambda: 1))[0]
    assert (gate.look(machine.read()), gate.is_closed) == (is_near, is_closed)


def test_a_device_that_is_not_there_hurries_nobody(machine: FakeDevices) -> None:
    """The gate is closed, so that the next call says what is wrong."""
    gate: Any = guards_of(memory_guard(ram=0.8, gpu=0.9, device=3)(lambda: 1))[0]
    assert (gate.look(machine.read()), gate.is_closed) == (False, True)


def test_without_room_it_refuses_and_says_who_holds_what(machine: FakeDevices, events: list[Any]) -> None:
    """Usage, limit, free, needed, holders and a next step; the function does not run."""
    calls: list[int] = []

    @memory_guard(ram=0.8, need="2GB", name="train")
    def function(x: int) -> int:
        calls.append(x)
        return x

    machine.ram_used = 12 * GB
    with pytest.raises(MemoryPressure) as caught:
        function(1)
    short = caught.value
    assert (short.device, short.used, short.limit, short.needed) == ("RAM", 12 * GB, 12_800_000_000, 2 * GB)
    assert short.holders[0].name == "this process"
    assert "stop at 11.9 GiB" in str(short)
    assert isinstance(short, MemoryError)
    assert calls == []
    refused = [event for event in events if isinstance(event, MemoryRefused)]
    assert [(event.function, event.action) for event in refused] == [("train", "stop")]


def test_many_refusals_look_at_the_processes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that refuses thousands of calls does not spend its time on looking who holds memory."""
    looks: list[int] = []
    listed = psutil.process_iter
    monkeypatch.setattr(psutil, "process_iter", lambda: looks.append(1) or listed())
    guarded = memory_guard(ram=0.8)(lambda: 1)
    with FakeDevices(ram_used=15 * GB):
        for _ in range(20):
            with pytest.raises(MemoryPressure, match="held by this process"):
                guarded()
    assert len(looks) == 1

    with FakeDevices(ram_used=15 * GB), pytest.raises(MemoryPressure, match="held by this process"):
        guarded()  # another machine: its own answer
    assert len(looks) == 2


def test_an_async_refusal_looks_at_the_processes_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tasks run on: here one of them is what the look waits for."""
    ran, waited = threading.Event(), []
    monkeypatch.setattr(psutil, "process_iter", lambda: waited.append(ran.wait(30)) or ())

    @memory_guard(ram=0.8)
    async def guarded() -> int:
        return 1

    async def other() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        ran.set()

    async def main() -> Any:
        return await asyncio.gather(guarded(), other(), return_exceptions=True)

    with FakeDevices(ram_used=15 * GB):
        refused, _ = asyncio.run(main())
    assert isinstance(refused, MemoryPressure)
    assert waited == [True]


def test_a_look_at_the_processes_that_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal comes without who holds the memory; the look goes on, once, and the next refusal has its answer."""
    looks: list[int] = []
    done = threading.Event()
    listed = psutil.process_iter
    monkeypatch.setattr(holders, "_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(psutil, "process_iter", lambda: looks.append(1) or (done.wait(30) and listed()))
    guarded = memory_guard(ram=0.8)(lambda: 1)
    with FakeDevices(ram_used=15 * GB):
        for _ in range(3):
            with pytest.raises(MemoryPressure) as refused:
                guarded()
            assert refused.value.holders == ()
        done.set()
        holders._looks["RAM"].join(30)
        with pytest.raises(MemoryPressure, match="held by this process"):
            guarded()
    assert len(looks) == 1


def test_a_driver_that_does_not_say_who_is_on_a_device_holds_up_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a guarded cell says of a full GPU takes the same bounded look as a guarded call."""
    from mlguard_nb.notebook.facts import DeviceFacts
    from mlguard_nb.notebook.holders import who_holds

    done = threading.Event()
    monkeypatch.setattr(holders, "_PATIENCE_SECONDS", 0.01)
    with FakeDevices(gpus=(fake_gpu(total="80GB", used="79GB"),)) as machine:
        monkeypatch.setattr(machine, "gpu_processes", lambda: done.wait(30) and ())
        found = who_holds(DeviceFacts(key="GPU-1", label="GPU 0", used=79 * GB, own=2 * GB))
        assert [(holder.name, holder.used_bytes) for holder in found] == [
            ("this notebook", 2 * GB), ("other processes", 77 * GB),
        ]  # fmt: skip
        done.set()
        holders._looks["processes"].join(30)


def test_it_notices_memory_that_filled_up_between_two_calls(machine: FakeDevices) -> None:
    """The sampler closes the gate; a call that finds it closed looks for itself, and opens it again."""

    @memory_guard(ram=0.8)
    def function() -> int:
        return 1

    assert function() == 1
    machine.ram_used = 15 * GB
    devices.shared().tick()
    with pytest.raises(MemoryPressure):
        function()
    machine.ram_used = 4 * GB
    assert function() == 1


def test_gpu_memory_is_guarded_and_its_holders_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the driver's own list of processes."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpu = fake_gpu(0, used="79GB")
    with FakeDevices(gpus=(gpu,), processes=(GpuProcess(4_000_000, gpu.uuid, 70 * GB),)):
        guarded = memory_guard(ram=None, gpu=0.9)(lambda: 1)
        with pytest.raises(MemoryPressure, match=r"GPU 0 \(NVIDIA Fake\).*held by process 4000000 65.2 GiB"):
            guarded()


def test_a_machine_without_a_driver_runs_the_function(machine: FakeDevices) -> None:
    """gpu= on a laptop degrades to nothing, with a warning."""
    assert memory_guard(gpu=0.9)(lambda: 1)() == 1


def test_a_named_device_that_is_missing_is_said_at_the_call(machine: FakeDevices) -> None:
    """Not on the sampler's thread, where nobody would hear it."""
    guarded = memory_guard(gpu=0.9, device=0)(lambda: 1)
    for _ in range(2):
        with pytest.raises(DeviceUnavailable):
            guarded()
        devices.shared().tick()


# What happens instead.


def test_a_fallback_is_called_in_place_of_stopping(machine: FakeDevices, events: list[Any]) -> None:
    """With the same arguments."""
    machine.ram_used = 15 * GB
    guarded = memory_guard(ram=0.8, fallback=lambda x, y=1: ("small", x, y))(lambda x, y=1: ("large", x, y))
    assert guarded(5, y=2) == ("small", 5, 2)
    assert [event.action for event in events if isinstance(event, MemoryRefused)] == ["fallback"]


def test_warn_calls_all_the_same(machine: FakeDevices, caplog: pytest.LogCaptureFixture) -> None:
    """And says so."""
    machine.ram_used = 15 * GB
    assert memory_guard(ram=0.8, on_pressure="warn", need="1GB")(lambda: 1)() == 1
    assert "although memory is short" in caplog.text


def test_skip_returns_none(machine: FakeDevices) -> None:
    """For calls that may be left out."""
    machine.ram_used = 15 * GB
    assert memory_guard(ram=0.8, on_pressure="skip")(lambda: 1)() is None


def test_a_fallback_with_another_signature_is_refused_at_decoration() -> None:
    """And not when memory is short for the first time."""

    def small() -> int:
        return 1

    def large(x: int, *, y: int) -> int:
        return x + y

    with pytest.raises(PolicyError, match=r"fallback small\(\).* cannot be called as large\(x.*too many positional"):
        memory_guard(fallback=small)(large)
    with pytest.raises(PolicyError, match="missing a required argument"):
        memory_guard(fallback=lambda x, more: x)(lambda x: x)
    for fallback in (lambda x: x, lambda *args: args, lambda x, more=1: x, print, max):
        memory_guard(fallback=fallback)(lambda x: x)
    memory_guard(fallback=lambda x, y: x)(lambda *args, **named: args)  # a foreign decorator's wrapper tells no more


# Functions of every kind.


def test_generators_are_admitted_at_their_first_item(machine: FakeDevices) -> None:
    """And hold their promise until they are done; send, throw and return work as without the guard."""
    closed: list[str] = []

    @memory_guard(ram=0.8, need="4GB")
    def numbers() -> Iterator[Any]:
        try:
            got = yield 1
            yield got
            return "end"
        finally:
            closed.append("closed")

    items: Any = numbers()
    assert LEDGER.outstanding(machine.read()) == {}
    assert next(items) == 1
    assert LEDGER.outstanding(machine.read()) == {"RAM": 4 * GB}
    assert items.send(7) == 7
    with pytest.raises(StopIteration) as stop:
        next(items)
    assert stop.value.value == "end"
    assert LEDGER.outstanding(machine.read()) == {}
    early = numbers()
    next(early)
    early.close()
    assert closed == ["closed", "closed"]
    assert LEDGER.outstanding(machine.read()) == {}
    machine.ram_used = 15 * GB
    with pytest.raises(MemoryPressure):
        next(numbers())
    assert list(memory_guard(ram=0.8, on_pressure="skip")(numbers.__wrapped__)()) == []  # type: ignore[attr-defined]
    assert list(memory_guard(ram=0.8, fallback=lambda: [9])(numbers.__wrapped__)()) == [9]  # type: ignore[attr-defined]


def test_async_generators_too(machine: FakeDevices) -> None:
    """With sync or async fallbacks, or nothing."""

    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def fallback() -> AsyncIterator[int]:
        yield 9

    async def items(function: Any) -> list[int]:
        return [item async for item in function()]

    guarded = memory_guard(ram=0.8, need="1GB")(numbers)
    assert asyncio.run(items(guarded)) == [1, 2]
    assert LEDGER.outstanding(machine.read()) == {}
    machine.ram_used = 15 * GB
    assert asyncio.run(items(memory_guard(ram=0.8, on_pressure="skip")(numbers))) == []
    assert asyncio.run(items(memory_guard(ram=0.8, fallback=fallback)(numbers))) == [9]
    with pytest.raises(MemoryPressure):
        asyncio.run(items(guarded))


def test_coroutines_fall_back_to_either_kind(machine: FakeDevices) -> None:
    """A sync or an async function."""

    async def large() -> str:
        return "large"

    async def small() -> str:
        return "small"

    assert asyncio.run(memory_guard(ram=0.8)(large)()) == "large"
    machine.ram_used = 15 * GB
    assert asyncio.run(memory_guard(ram=0.8, fallback=small)(large)()) == "small"
    assert asyncio.run(memory_guard(ram=0.8, fallback=lambda: "tiny")(large)()) == "tiny"  # type: ignore[arg-type]
    assert asyncio.run(memory_guard(ram=0.8, on_pressure="skip")(large)()) is None


def test_switched_off_it_admits_everything(machine: FakeDevices) -> None:
    """testing.disabled and MLGUARD_DISABLE."""
    machine.ram_used = 15 * GB
    with disabled("memory_guard"):
        assert memory_guard(ram=0.8)(lambda: 1)() == 1


def test_decorating_and_importing_start_no_thread() -> None:
    """The sampler begins with the first call."""
    program = (
        "import threading\nfrom mlguard_nb import memory_guard\nf = memory_guard(lambda: 1)\n"
        "before = threading.active_count()\nf()\nprint(before, threading.active_count() > before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["1", "True"], done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no ulimit")
def test_ulimit_counts_although_the_machine_has_room() -> None:
    """On the real machine: an address-space limit leaves no room for 4 GB."""
    program = textwrap.dedent(
        """
        import resource
        from mlguard_nb import memory_guard
        from mlguard_nb.errors import MemoryPressure
        resource.setrlimit(resource.RLIMIT_AS, (3 * 10**9, resource.RLIM_INFINITY))
        small = memory_guard(ram=1.0, need="1MB")(lambda: "ran")
        large = memory_guard(ram=1.0, need="4GB")(lambda: "ran")
        print(small())
        try:
            large()
        except MemoryPressure as error:
            print(error.device, error.free < 3 * 10**9)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["ran", "RAM", "True"], done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no fork")
def test_a_child_forked_inside_a_call_leaves_its_parent_s_promise_alone() -> None:
    """Both come back from the call, and the parent's ledger is even."""
    program = textwrap.dedent(
        """
        import os, sys
        from mlguard_nb import devices, memory_guard
        from mlguard_nb.runtime.admission import LEDGER
        @memory_guard(ram=1.0, need="1MB")
        def work():
            return os.fork()
        child = work()
        if child == 0:
            work_again = memory_guard(ram=1.0, need="1MB")(lambda: 7)
            os._exit(work_again())
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), LEDGER.outstanding(devices.current().read()))
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["7", "{}"], done.stderr


def test_a_guarded_closure_travels_by_cloudpickle() -> None:
    """Into a fresh process, where it watches that machine."""
    import cloudpickle

    offset = 5
    guarded = memory_guard(ram=0.99, need="1MB")(lambda x: x + offset)
    guarded(1)
    program = f"import cloudpickle; f = cloudpickle.loads({cloudpickle.dumps(guarded)!r}); print(f(1))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "6", done.stderr
