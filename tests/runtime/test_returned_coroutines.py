"""A sync function that returns a coroutine has not done its work yet: each guard waits until it is awaited."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from mlguard_nb import CircuitBreaker, cache_result, guard, memory_guard, monitor, retry, validate_input
from mlguard_nb.errors import CircuitOpen, InputRejected, MemoryPressure, PolicyError
from mlguard_nb.runtime.admission import LEDGER
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import CallFinished
from mlguard_nb.testing import FakeClock, FakeDevices, no_wait
from tests.runtime.every_guard import every_but_caching

GB = 10**9


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    with no_wait() as clock:
        yield clock


class Flaky:
    """Async work behind a sync function: fails `failures` times, each after a second."""

    def __init__(self, clock: FakeClock, failures: int) -> None:
        self.clock, self.failures, self.calls = clock, failures, 0

    async def _work(self, x: int) -> int:
        self.calls += 1
        await self.clock.sleep_async(1)
        if self.calls <= self.failures:
            raise ConnectionError
        return x

    def __call__(self, x: int) -> Awaitable[int]:
        return self._work(x)


@every_but_caching
@pytest.mark.parametrize("shape", ["lambda", "partial", "a foreign decorator"])
def test_the_caller_gets_a_coroutine_with_the_result(decorate: Callable[[Any], Any], shape: str) -> None:
    """As without the guard."""

    async def twice(x: int, factor: int = 2) -> int:
        await asyncio.sleep(0)
        return x * factor

    @functools.wraps(twice)
    def foreign(x: int) -> Awaitable[int]:
        return twice(x)

    made: dict[str, Any] = {"lambda": lambda x: twice(x), "partial": functools.partial(twice, factor=2)}
    guarded = decorate(made.get(shape, foreign))
    pending = guarded(21)
    assert asyncio.iscoroutine(pending)

    async def main() -> Any:
        return await pending

    assert asyncio.run(main()) == 42


@every_but_caching
def test_a_partial_of_an_async_function_is_one(decorate: Callable[[Any], Any]) -> None:
    """Known at decoration."""

    async def twice(x: int, factor: int) -> int:
        return x * factor

    assert asyncio.iscoroutinefunction(decorate(functools.partial(twice, factor=2)))


def test_retry_tries_again_what_fails_when_it_is_awaited(clock: FakeClock) -> None:
    """And gives up after as many attempts as it was told, those that raised at once among them."""
    flaky = Flaky(clock, failures=2)
    call = retry(attempts=3, budget=None)(lambda x: flaky(x))
    assert asyncio.run(_awaited(lambda: call(7))) == 7
    assert flaky.calls == 3

    hopeless, begun = Flaky(clock, failures=10**6), []

    def at_once_first(x: int) -> Awaitable[int]:
        begun.append(x)
        if len(begun) == 1:
            raise ConnectionError
        return hopeless(x)

    with pytest.raises(ConnectionError):
        asyncio.run(_awaited(lambda: retry(attempts=3, budget=None)(at_once_first)(7)))
    assert len(begun) == 3
    assert hopeless.calls == 2


async def _awaited(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


def test_retry_looks_at_the_awaited_result_and_keeps_its_deadline(clock: FakeClock) -> None:
    """Not at the coroutine, which says nothing."""
    answers = iter([None, None, 5])

    async def poll() -> int | None:
        await clock.sleep_async(1)
        return next(answers)

    asked = retry(attempts=5, budget=None, retry_on_result=lambda value: value is None)(lambda: poll())
    assert asyncio.run(_awaited(asked)) == 5
    flaky = Flaky(clock, failures=10**6)
    call = retry(attempts=100, deadline=10, jitter=None, wait_initial=1, wait_max=1, budget=None)(lambda x: flaky(x))
    with pytest.raises(ConnectionError):
        asyncio.run(_awaited(lambda: call(7)))
    assert 3 <= flaky.calls <= 6


@pytest.mark.filterwarnings("error")
def test_a_breaker_counts_what_was_awaited(clock: FakeClock) -> None:
    """Two failures open it, and the probe is the awaited call. What is refused leaves no coroutine behind."""
    flaky = Flaky(clock, failures=2)
    breaker = CircuitBreaker(minimum_calls=2, open_for=10)
    call = retry(attempts=1, budget=None, breaker=breaker)(lambda x: flaky(x))
    for _ in range(2):
        with pytest.raises(ConnectionError):
            asyncio.run(_awaited(lambda: call(1)))
    assert breaker.state == "open"
    with pytest.raises(CircuitOpen):
        asyncio.run(_awaited(lambda: call(1)))
    clock.sleep(11)
    probe = call(1)
    assert breaker.state == "half-open"
    assert asyncio.run(_awaited(lambda: probe)) == 1
    assert breaker.state == "closed"


@pytest.mark.parametrize("fails", [False, True])
def test_monitor_times_it_until_it_has_ended(clock: FakeClock, fails: bool) -> None:
    """Never as 0 ms; a failure is one call that failed."""
    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    try:
        call = monitor(name="returned")(Flaky(clock, failures=10**6 if fails else 0))
        pending = call(1)
        clock.sleep(100)  # nobody has begun it
        try:
            asyncio.run(_awaited(lambda: pending))
        except ConnectionError:
            assert fails
        bus.flush()
    finally:
        end()
    told = [event for event in heard if isinstance(event, CallFinished) and event.function == "returned"]
    assert [(event.outcome, event.duration_seconds) for event in told] == [("error" if fails else "ok", 1.0)]


def test_memory_is_admitted_when_it_is_awaited_and_held_until_it_has_ended(clock: FakeClock) -> None:
    """A promise covers the work, not the making of the coroutine; a coroutine nobody awaits holds none."""
    with FakeDevices(ram_used=4 * GB, ram_limit=16 * GB) as machine:

        async def work() -> dict[str, int]:
            return LEDGER.outstanding(machine.read())

        call = memory_guard(ram=0.8, need="2GB")(lambda: work())
        pending = call()
        assert LEDGER.outstanding(machine.read()) == {}
        assert asyncio.run(_awaited(lambda: pending)) == {"RAM": 2 * GB}
        assert LEDGER.outstanding(machine.read()) == {}
        late = call()
        machine.ram_used = 15 * GB
        with pytest.raises(MemoryPressure):
            asyncio.run(_awaited(lambda: late))
        assert LEDGER.outstanding(machine.read()) == {}


def test_the_result_is_validated_when_it_is_there() -> None:
    """And refused, or answered by the fallback, as that of an async function is."""

    async def work(x: int) -> Any:
        return x or "nothing"

    call = validate_input(x=int, returns=int)(lambda x: work(x))
    assert asyncio.run(_awaited(lambda: call(1))) == 1
    with pytest.raises(InputRejected):
        asyncio.run(_awaited(lambda: call(0)))
    with pytest.raises(InputRejected):
        call("one")
    backed = validate_input(x=int, returns=int, on_fail=lambda x: -1)(lambda x: work(x))
    assert asyncio.run(_awaited(lambda: backed(0))) == -1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("hand_out", ["readonly", "copy", "same"])
def test_a_cache_keeps_no_coroutine(hand_out: str) -> None:
    """The second caller could not await it: an error that says what to do, at every call."""

    async def work() -> int:
        return 1

    cached = cache_result(hand_out=hand_out)(lambda: work())
    for _ in range(2):
        with pytest.raises(PolicyError, match="no `async def`"):
            cached()
    with pytest.raises(PolicyError, match="no `async def`"):
        guard("cache=1m monitor")(lambda: work())()
    assert cached.cache_info().entries == 0  # type: ignore[attr-defined]
