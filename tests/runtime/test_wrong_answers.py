"""What other libraries get wrong, measured or reported, each as a claim about these guards.

The list is runtime.md's. A name in brackets says who fails it: not to point at them, but because a failure that is met
in practice is the one worth a test. What is proved of a guard's own behaviour stands in the file of that guard.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlguard_nb import (
    Array,
    CircuitBreaker,
    CircuitOpen,
    InputRejected,
    MemoryPressure,
    RetryBudget,
    devices,
    memory_guard,
    monitor,
    retry,
    validate_input,
)
from mlguard_nb.devices import LocalMachine, Unknown
from mlguard_nb.runtime import budget
from mlguard_nb.runtime.backoff import waits
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import CallFinished
from mlguard_nb.testing import FakeClock, FakeDevices, no_wait

GIB = 2**30


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    budget._default.clear()
    with no_wait() as clock:
        yield clock


# retry.


def test_cancellation_is_not_retried(clock: FakeClock) -> None:
    """A negative predicate, "all but these", takes a CancelledError for one to retry. [tenacity]"""
    begun: list[int] = []

    @retry(on=lambda error: not isinstance(error, KeyError), attempts=5)
    async def endless() -> None:
        begun.append(1)
        await asyncio.Event().wait()

    async def impatient() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(endless(), 0.01)

    asyncio.run(impatient())
    assert (begun, clock.slept) == ([1], [])


def test_bad_input_is_not_retried_although_it_is_a_value_error(clock: FakeClock) -> None:
    """Four attempts at input that is wrong for ever. [tenacity around pydantic, whose ValidationError is one too]"""
    calls: list[Any] = []

    @validate_input(rows=Array(ge=0))
    def inner(rows: Any) -> None: ...

    @retry(on=ValueError, attempts=4)
    def outer(rows: Any) -> None:
        calls.append(rows)
        inner(rows)

    with pytest.raises(InputRejected):
        outer(np.array([-1.0]))
    assert len(calls) == 1
    assert issubclass(InputRejected, ValueError)


def test_waits_at_the_cap_still_differ() -> None:
    """Jitter added before the clamp: capped waits are all equal, and everybody comes back together. [stamina]"""
    series = waits("full", 1.0, 5.0)
    late = [next(series) for _ in range(50)][10:]
    assert len({round(wait, 6) for wait in late}) > 30


def test_in_a_total_outage_the_load_falls_to_one_attempt_a_call(clock: FakeClock) -> None:
    """Four attempts a call make four times the load, just when the service is down. [every retry without a budget]"""
    calls: list[int] = []

    @retry(attempts=4, budget=RetryBudget(capacity=50, cost=5))
    def call() -> None:
        calls.append(1)
        raise ConnectionError

    for _ in range(200):
        with pytest.raises(ConnectionError):
            call()
    assert len(calls) == 200 + 10


def test_nested_retries_do_not_multiply(clock: FakeClock) -> None:
    """Three times three attempts at each of three layers is a storm. [every retry without a budget]

    Both layers pay for each retry, so in an outage both are left with one attempt; and the inner one never waits
    past the deadline of the outer one.
    """
    calls: list[int] = []

    def down() -> None:
        calls.append(1)
        raise ConnectionError

    inner = retry(attempts=3, name="inner layer")(down)

    @retry(attempts=3, name="outer layer", deadline=60)
    def outer() -> None:
        inner()

    for _ in range(300):
        with pytest.raises(ConnectionError):
            outer()
    assert len(calls) == 300 + 100 + 100  # a budget pays for a hundred retries

    begun = clock.now()
    patient = retry(attempts=50, jitter=None, wait_initial=4, budget=None, name="patient")(down)
    with pytest.raises(ConnectionError):
        retry(attempts=9, deadline=10, budget=None, name="hasty")(lambda: patient())()
    assert clock.now() - begun <= 10


def test_a_breaker_counts_attempts_and_ends_the_retries(clock: FakeClock) -> None:
    """breaker(retry(f)) made twelve calls to a dead service where retry(breaker(f)) makes three. [by hand]"""
    calls: list[int] = []

    @retry(attempts=4, breaker=CircuitBreaker(minimum_calls=3))
    def call() -> None:
        calls.append(1)
        raise ConnectionError

    for _ in range(3):
        with pytest.raises((ConnectionError, CircuitOpen)):
            call()
    assert len(calls) == 3


@pytest.mark.parametrize("kind", ["sync", "async", "timeout", "hedged", "generator", "async generator"])
def test_a_failed_attempt_holds_no_memory_during_the_next(kind: str, clock: FakeClock) -> None:
    """The last exception keeps the frames of its traceback, and those keep a dead 200 MB array. [`last = error`]"""
    held: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    def attempt() -> str:
        alive.append(any(ref() is not None for ref in held))
        big = np.zeros(100_000)
        held.append(weakref.ref(big))
        if len(held) < 3:
            try:
                raise KeyError("first")
            except KeyError as error:
                raise ConnectionError("second") from error
        return "done"

    async def attempt_async() -> str:
        return attempt()

    def items() -> Iterator[str]:
        yield attempt()

    async def items_async() -> AsyncIterator[str]:
        yield attempt()

    async def collect(items: Any) -> str:
        (item,) = [item async for item in items]
        return str(item)

    gc.disable()  # what only a collection frees is not free when the next attempt asks for the same again
    try:
        if kind == "sync":
            result = retry(attempts=3)(attempt)()
        elif kind == "generator":
            (result,) = list(retry(attempts=3)(items)())
        elif kind == "async generator":
            result = asyncio.run(collect(retry(attempts=3)(items_async)()))
        else:
            option: dict[str, Any] = {"timeout": {"timeout": 60}, "hedged": {"hedge_after": 60}}.get(kind, {})
            result = asyncio.run(retry(attempts=3, **option)(attempt_async)())
    finally:
        gc.enable()
    assert result == "done"
    assert alive == [False, False, False]


# validate_input.


def test_nan_does_not_pass_a_range_check() -> None:
    """`value < low or value > high` is false for NaN, and so it is let through. [naive range checks]"""
    checked = validate_input(rows=Array(ge=0, le=1))(lambda rows: "checked")
    with pytest.raises(InputRejected):
        checked(np.array([0.5, np.nan]))
    lenient = validate_input(rows=Array(ge=0, le=1, nan="allow"))(lambda rows: "checked")
    with pytest.raises(InputRejected):
        lenient(np.array([np.nan, 2.0]))  # where NaN is allowed, it does not hide its neighbour
    assert lenient(np.array([np.nan, 0.5])) == "checked"


# memory_guard.


def test_a_machine_with_24_gb_is_no_room_inside_a_container_of_512_mib(tmp_path: Path) -> None:
    """The host's memory is not the container's: it was killed with "24 GB free". [psutil, dask]"""
    group = tmp_path / "cgroup" / "pod"
    (tmp_path / "proc" / "self").mkdir(parents=True)
    group.mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text(f"MemTotal: {24 * 2**20} kB\nMemAvailable: {23 * 2**20} kB\n")
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/pod\n")
    (tmp_path / "proc" / "self" / "statm").write_text("1 1 1")
    (tmp_path / "cgroup" / "cgroup.controllers").write_text("memory\n")
    for name, text in {"max": 512 * 2**20, "high": "max", "current": 100 * 2**20, "stat": "inactive_file 0"}.items():
        (group / f"memory.{name}").write_text(f"{text}\n")

    class NoDriver:
        def gpus(self) -> Any:
            return Unknown("no driver in this test")

        processes = gpus

    before = devices.install(LocalMachine(proc=tmp_path / "proc", cgroups=tmp_path / "cgroup", driver=NoDriver()))
    try:
        devices.shared().tick()
        guarded = memory_guard(ram=0.9, need="1GiB", actions=())(lambda: "ran")
        with pytest.raises(MemoryPressure) as refused:
            guarded()
        assert refused.value.limit is not None
        assert refused.value.limit <= 512 * 2**20
    finally:
        devices.install(before)
        devices.shared().tick()


def test_waiting_for_memory_ends(clock: FakeClock) -> None:
    """A worker that is paused for memory may be paused for ever. [dask]"""
    with FakeDevices(ram_used="15.9GB", ram_limit="16GB"):
        guarded = memory_guard(ram=0.5, on_pressure="wait", wait_timeout=7, actions=())(lambda: "ran")
        with pytest.raises(MemoryPressure):
            guarded()
    assert 7 <= clock.now() < 8


def test_a_reading_that_nobody_has_is_not_zero_bytes(clock: FakeClock) -> None:
    """`except: return 0` lets every call through as if the machine were empty, or stops every one as if it were full.
    [jupyter-resource-usage, nvitop]
    """
    with FakeDevices(gpus=Unknown("the driver does not say")) as machine:
        assert memory_guard(gpu=0.9)(lambda: "ran")() == "ran"
        assert isinstance(machine.read().gpus, Unknown)
        assert isinstance(devices.current().gpus(), Unknown)


# monitor.


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async generator"])
def test_a_body_of_fifty_milliseconds_is_not_recorded_as_zero(kind: str, clock: FakeClock) -> None:
    """A clock around the call alone times the making of the coroutine. [prometheus_client's time(), and others]"""

    async def coroutine() -> None:
        await clock.sleep_async(0.05)

    def generator() -> Iterator[int]:
        clock.sleep(0.05)
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        clock.sleep(0.05)
        yield 1

    async def drain(items: Any) -> None:
        async for _item in items:
            pass

    heard: list[Any] = []
    timed: Any
    end = bus.subscribe(heard.append)
    try:
        if kind == "coroutine":
            timed = monitor(name="fifty")(coroutine)
            asyncio.run(timed())
        elif kind == "generator":
            timed = monitor(name="fifty")(generator)
            list(timed())
        else:
            timed = monitor(name="fifty")(async_generator)
            asyncio.run(drain(timed()))
        bus.flush()
    finally:
        end()
    (told,) = [event for event in heard if isinstance(event, CallFinished) and event.function == "fifty"]
    assert told.duration_seconds == pytest.approx(0.05)


def test_one_call_is_counted_once_however_often_it_was_tried(clock: FakeClock) -> None:
    """Inside a retry a counter counts attempts: three calls where the caller made one. [prometheus inside tenacity]"""
    answers = iter([ConnectionError(), ConnectionError(), 7])

    @monitor(name="once")
    @retry(attempts=3)
    def call() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    try:
        assert call() == 7
        bus.flush()
    finally:
        end()
    told = [event.outcome for event in heard if isinstance(event, CallFinished) and event.function == "once"]
    assert told == ["ok"]
