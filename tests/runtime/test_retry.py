"""retry: how often, how long, on what, and what is left behind."""

from __future__ import annotations

import asyncio
import contextvars
import email.message
import sys
import urllib.error
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mlguard_nb import CircuitBreaker, CircuitOpen, InputRejected, PolicyError, RetryPolicy, retry
from mlguard_nb.runtime.backoff import waits
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import BreakerMoved, RetryScheduled
from mlguard_nb.testing import FakeClock, no_wait
from tests.runtime.flaky import Flaky, of

pytestmark = pytest.mark.usefixtures("clock")


# How often and how long.


def test_attempts_count_the_first_call() -> None:
    flaky = Flaky(2)
    assert of(flaky, attempts=3)() == 3
    assert flaky.calls == 3


def test_when_attempts_run_out_the_users_own_error_comes_with_a_note() -> None:
    flaky = Flaky(9)
    with pytest.raises(ConnectionError, match="down") as caught:
        of(flaky, attempts=3)()
    assert flaky.calls == 3
    assert any("gave up after 3 attempts" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated", None])
def test_no_wait_is_ever_above_the_cap(jitter: Any) -> None:
    highest = waits(jitter, 0.1, 5.0, draw=lambda low, high: high)
    assert max(next(highest) for _ in range(2000)) == 5.0


def test_the_waits_double_without_jitter(clock: FakeClock) -> None:
    with pytest.raises(ConnectionError):
        of(Flaky(9), attempts=5, jitter=None, wait_initial=1, wait_max=3)()
    assert clock.slept == [1, 2, 3, 3]


def test_a_deadline_gives_up_rather_than_sleeps_past_it(clock: FakeClock) -> None:
    with pytest.raises(ConnectionError) as caught:
        of(Flaky(9), attempts=9, jitter=None, wait_initial=4, deadline=10)()
    assert sum(clock.slept) <= 10
    assert any("deadline" in note for note in caught.value.__notes__)


def test_a_nested_retry_inherits_the_rest_of_the_deadline(clock: FakeClock) -> None:
    inner = Flaky(99)

    @retry(attempts=50, jitter=None, wait_initial=4)
    def nested() -> int:
        return inner()

    @retry(attempts=1, deadline=10)
    def outer() -> int:
        return nested()

    with pytest.raises(ConnectionError):
        outer()
    assert sum(clock.slept) <= 10


# On what.


@pytest.mark.parametrize(
    "error",
    [TypeError, NameError, SyntaxError, AssertionError, ImportError, MemoryError, lambda: InputRejected("f", ())],
)
def test_programming_errors_and_refusals_are_not_retried(error: Any) -> None:
    flaky = Flaky(9, error)
    with pytest.raises(BaseException) as caught:
        of(flaky)()
    assert flaky.calls == 1
    assert not getattr(caught.value, "__notes__", [])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_what_is_no_exception_is_never_retried(error: Any) -> None:
    flaky = Flaky(9, error)
    with pytest.raises(error):
        of(flaky, on=lambda _error: True)()
    assert flaky.calls == 1


def test_on_takes_types_or_a_predicate() -> None:
    assert of(Flaky(1, ValueError), on=ValueError)() == 2
    assert of(Flaky(1, TypeError), on=(TypeError, ValueError))() == 2
    assert of(Flaky(1, lambda: OSError(11)), on=lambda error: error.args == (11,))() == 2
    with pytest.raises(KeyError):
        of(Flaky(1, KeyError), on=ValueError)()


def test_a_result_can_be_refused_too() -> None:
    answers = iter([None, None, 7])

    @retry(retry_on_result=lambda result: result is None)
    def poll() -> int | None:
        return next(answers)

    assert poll() == 7


def test_the_last_unsatisfying_result_is_handed_out() -> None:
    @retry(retry_on_result=lambda result: result is None, attempts=2)
    def poll() -> None:
        return None

    assert poll() is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "7"}, 7), ({"retry-after": "7"}, 7), ({"retry-after-ms": "250"}, 0.25),
     ({"Retry-After": "Thu, 01 Jan 1970 00:00:09 GMT"}, 9)],
)  # fmt: skip
def test_the_servers_word_beats_the_computed_wait(headers: dict[str, str], seconds: float, clock: FakeClock) -> None:
    class Limited(Exception):  # the shape of httpx, requests and openai
        response = SimpleNamespace(headers=headers)

    clock.epoch = 0.0
    assert of(Flaky(1, Limited))() == 2
    assert clock.slept == [pytest.approx(seconds)]


def _httpx() -> Exception:
    httpx = pytest.importorskip("httpx")
    request = httpx.Request("GET", "http://host/")
    response = httpx.Response(429, headers={"Retry-After": "7"}, request=request)
    return httpx.HTTPStatusError("slow down", request=request, response=response)  # type: ignore[no-any-return]


def _urllib() -> Exception:
    headers = email.message.Message()
    headers["Retry-After"] = "7"
    return urllib.error.HTTPError("http://host/", 503, "unavailable", headers, None)


def _own() -> Exception:
    error = ConnectionError("busy")
    error.retry_after = 7  # type: ignore[attr-defined]
    return error


def _requests() -> Exception:
    requests = pytest.importorskip("requests")
    response = requests.Response()  # false as a truth value, since it is no 200
    response.status_code, response.headers["Retry-After"] = 429, "7"
    return requests.HTTPError("slow down", response=response)  # type: ignore[no-any-return]


@pytest.mark.parametrize("error", [_httpx, _requests, _urllib, _own])
def test_libraries_own_errors_are_read(error: Callable[[], Exception], clock: FakeClock) -> None:
    assert of(Flaky(1, error))() == 2
    assert clock.slept == [7]
    assert of(Flaky(1, error), respect_retry_after=False, wait_max=2)() == 2
    assert clock.slept[1] <= 2


@pytest.mark.parametrize("word", ["soon", "inf", "nan", "-5", ""])
def test_a_senseless_retry_after_stops_nothing(word: str, clock: FakeClock) -> None:
    class Limited(Exception):
        response = SimpleNamespace(headers={"Retry-After": word})

    assert of(Flaky(1, Limited), wait_max=1)() == 2
    assert 0 <= clock.slept[0] <= 1


def test_a_server_that_asks_for_more_than_the_deadline_ends_the_attempts(clock: FakeClock) -> None:
    with pytest.raises(ConnectionError) as caught:
        of(Flaky(9, _own), deadline=5)()
    assert clock.slept == []
    assert any("deadline" in note for note in caught.value.__notes__)


# Async, generators.


def test_async_is_retried_and_cancellation_comes_through() -> None:
    flaky = Flaky(2)

    @retry
    async def call() -> int:
        return flaky()

    assert asyncio.run(call()) == 3

    started = []

    @retry(on=lambda _error: True, attempts=5)
    async def endless() -> None:
        started.append(1)
        await asyncio.Event().wait()

    async def cancel() -> None:
        task = asyncio.ensure_future(endless())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert started == [1]


def test_an_async_timeout_ends_one_attempt_not_the_call() -> None:
    calls = []

    @retry(timeout=0.001, attempts=2, on=(asyncio.TimeoutError, TimeoutError))
    async def sometimes_hangs() -> str:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return "answered"

    assert asyncio.run(sometimes_hangs()) == "answered"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 only a task of its own can be timed alone")
@pytest.mark.parametrize("option", [{"timeout": 60}, {"deadline": 60}])
def test_a_timed_attempt_runs_in_its_caller_s_own_context(option: dict[str, Any]) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @retry(**option)
    async def call() -> asyncio.Task[Any] | None:
        variable.set(8)
        return asyncio.current_task()

    async def use() -> tuple[bool, int]:
        return await call() is asyncio.current_task(), variable.get()

    assert asyncio.run(use()) == (True, 8)


def test_a_deadline_cuts_an_async_attempt_short() -> None:
    @retry(deadline=0.01, attempts=5)
    async def hangs() -> None:
        await asyncio.Event().wait()

    with pytest.raises(asyncio.TimeoutError) as caught:
        asyncio.run(hangs())
    assert any("gave up after" in note for note in caught.value.__notes__)


def test_a_hedge_asks_a_second_time_and_takes_the_first_answer() -> None:
    asked = []

    @retry(hedge_after=1)
    async def ask() -> int:
        asked.append(1)
        mine = len(asked)
        if mine == 1:
            await asyncio.Event().wait()
        return mine

    assert asyncio.run(ask()) == 2


def test_a_sync_timeout_says_at_decoration_that_it_stops_nothing() -> None:
    with pytest.warns(UserWarning, match="cannot stop"):
        retry(timeout=1)(lambda: None)
    with pytest.raises(PolicyError, match="async"):
        retry(hedge_after=1)(lambda: None)


def test_a_generator_is_retried_only_before_its_first_item() -> None:
    flaky = Flaky(2)

    @retry
    def items(fails_later: bool) -> Iterator[int]:
        yield flaky()
        if fails_later:
            raise ConnectionError("late")

    assert list(items(False)) == [3]
    running = items(True)
    assert next(running) == 4
    with pytest.raises(ConnectionError, match="late"):
        next(running)
    assert flaky.calls == 4


def test_an_async_generator_too() -> None:
    flaky = Flaky(2)

    @retry
    async def items() -> AsyncIterator[int]:
        yield flaky()

    async def collect() -> list[int]:
        return [item async for item in items()]

    assert asyncio.run(collect()) == [3]


# What is told.


def test_each_retry_is_told_to_the_bus_and_to_on_retry() -> None:
    heard: list[Any] = []
    told: list[Any] = []
    stop = bus.subscribe(heard.append)
    try:
        of(Flaky(1), on_retry=told.append, name="fetch")()
    finally:
        stop()
    assert [event for event in heard if isinstance(event, RetryScheduled)] == told
    assert told[0].function == "fetch"
    assert told[0].attempt == 1
    assert told[0].error == "ConnectionError: down"


def test_the_policy_can_be_given_as_one_value_and_mistakes_are_named() -> None:
    assert retry(RetryPolicy(attempts=2))(Flaky.__call__).__mlguard__.retry == RetryPolicy(attempts=2)  # type: ignore[attr-defined]
    with pytest.raises(PolicyError, match="did you mean attempts"):
        retry(attemps=3)  # type: ignore[call-overload]
    with pytest.raises(PolicyError, match="not both"):
        retry(RetryPolicy(), attempts=3)  # type: ignore[call-overload]
    with pytest.raises(PolicyError, match="not 3"):
        retry(3)  # type: ignore[call-overload]


def test_a_breaker_without_a_name_is_told_by_its_function() -> None:
    """In the error and in the metric: two nameless breakers would be one series otherwise."""
    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    try:
        with no_wait():
            one = retry(attempts=3, breaker=CircuitBreaker(minimum_calls=2), name="one")(_unreachable)
            other = retry(attempts=3, breaker=CircuitBreaker(minimum_calls=2, name="store"))(_unreachable)
            for function, name in ((one, "one"), (other, "store")):
                with pytest.raises(CircuitOpen, match=name):
                    function()
    finally:
        end()
    moved = [event for event in heard if isinstance(event, BreakerMoved)]
    assert [(event.function, event.state) for event in moved] == [("one", "open"), ("store", "open")]


def _unreachable() -> None:
    raise ConnectionError("nobody answers")
