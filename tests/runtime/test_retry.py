"""retry: how often, how long, on what, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import email.message
import inspect
import os
import pickle
import signal
import sys
import threading
import urllib.error
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlguard_nb import CircuitBreaker, CircuitOpen, InputRejected, PolicyError, RetryBudget, RetryPolicy, retry
from mlguard_nb.runtime import budget
from mlguard_nb.runtime.backoff import waits
from mlguard_nb.runtime.dead_frames import clear_frames
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import BreakerMoved, RetryScheduled
from mlguard_nb.testing import FakeClock, no_wait


@pytest.fixture(autouse=True)
def clock() -> Iterator[FakeClock]:
    budget._default.clear()
    with no_wait() as clock:
        yield clock


class Flaky:
    """Fails with `error` until it was called `fails` times."""

    def __init__(self, fails: int, error: Callable[[], BaseException] = lambda: ConnectionError("down")) -> None:
        self.fails, self.error, self.calls = fails, error, 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self.fails:
            raise self.error()
        return self.calls


def of(flaky: Flaky, **options: Any) -> Callable[[], int]:
    @retry(**options)
    def call() -> int:
        return flaky()

    return call


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


# Budget and breaker.


def test_calls_that_succeed_fill_the_budget_again() -> None:
    spent = RetryBudget(capacity=5, cost=5)
    assert spent.take()
    assert not spent.take()
    call = of(Flaky(0), budget=spent)
    for _ in range(5):
        call()
    assert spent.is_full


def test_a_breaker_opens_refuses_probes_and_closes(clock: FakeClock) -> None:
    flaky = Flaky(4)
    breaker = CircuitBreaker(minimum_calls=4, open_for=30, name="store")
    call = of(flaky, attempts=2, breaker=breaker)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            call()
    assert breaker.state == "open"
    with pytest.raises(CircuitOpen) as refused:
        call()
    assert refused.value.retry_after == pytest.approx(30, abs=2)
    assert flaky.calls == 4
    clock.sleep(31)
    assert breaker.state == "half-open"
    assert call() == 5
    assert breaker.state == "closed"


def test_a_failed_probe_opens_again_and_only_so_many_may_probe(clock: FakeClock) -> None:
    breaker = CircuitBreaker(minimum_calls=1, open_for=10, half_open_calls=2)
    breaker.failed()
    clock.sleep(11)
    probe = breaker.enter()
    breaker.enter()
    with pytest.raises(CircuitOpen):
        breaker.enter()
    breaker.failed(probe)
    assert breaker.state == "open"


def test_a_call_that_began_before_the_probes_is_none_of_them(clock: FakeClock) -> None:
    """It says how the service was then: it closes no circuit, opens none, and frees no probe."""
    breaker = CircuitBreaker(minimum_calls=1, open_for=10)
    early = breaker.enter()
    breaker.failed(early)
    clock.sleep(11)
    late = breaker.enter()
    clock.sleep(10)
    probe = breaker.enter()  # the round of the one before was given up
    for old in (early, late):
        breaker.succeeded(1.0, old)
        breaker.failed(old)
        breaker.given_up(old)
        assert breaker.state == "half-open"
        with pytest.raises(CircuitOpen):
            breaker.enter()
    breaker.succeeded(1.0, probe)
    assert breaker.state == "closed"


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_slow_call_that_began_while_closed_decides_nothing_in_half_open(clock: FakeClock, ends_well: bool) -> None:
    """By the decorator: it is still running when the circuit opens, and ends while the probe is under way."""
    breaker = CircuitBreaker(minimum_calls=1, open_for=10)
    begun, probing = threading.Semaphore(0), threading.Semaphore(0)
    end_slow, end_probe = threading.Event(), threading.Event()

    @retry(attempts=1, breaker=breaker)
    def call(which: str) -> str:
        if which == "fails":
            raise ConnectionError
        (begun if which == "slow" else probing).release()
        assert (end_slow if which == "slow" else end_probe).wait(30)
        if which == "slow" and not ends_well:
            raise ConnectionError
        return which

    def quietly(which: str) -> None:
        with contextlib.suppress(ConnectionError):
            call(which)

    slow, probe = (threading.Thread(target=quietly, args=(which,)) for which in ("slow", "probe"))
    slow.start()
    assert begun.acquire(timeout=30)
    quietly("fails")
    clock.sleep(11)
    probe.start()
    assert probing.acquire(timeout=30)
    end_slow.set()
    slow.join(30)
    assert breaker.state == "half-open"
    end_probe.set()
    probe.join(30)
    assert breaker.state == "closed"


def test_threads_that_come_together_get_no_more_probes_than_there_are(clock: FakeClock) -> None:
    breaker = CircuitBreaker(minimum_calls=1, open_for=10, half_open_calls=3)
    breaker.failed()
    clock.sleep(11)
    together = threading.Barrier(16)
    refused: list[CircuitOpen] = []

    def probe() -> None:
        together.wait()
        try:
            breaker.enter()
        except CircuitOpen as error:
            refused.append(error)

    threads = [threading.Thread(target=probe) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 13


def test_a_cancelled_probe_is_free_again(clock: FakeClock) -> None:
    breaker = CircuitBreaker(minimum_calls=1, open_for=10)
    breaker.failed()
    clock.sleep(11)

    @retry(breaker=breaker)
    async def call(cancelled: bool) -> str:
        if cancelled:
            raise asyncio.CancelledError
        return "answered"

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(call(True))
    assert asyncio.run(call(False)) == "answered"
    assert breaker.state == "closed"


def test_a_probe_that_never_ends_does_not_keep_the_circuit_open_for_ever(clock: FakeClock) -> None:
    breaker = CircuitBreaker(minimum_calls=1, open_for=10)
    breaker.failed()
    clock.sleep(11)
    breaker.enter()  # and the thread that asked hangs
    with pytest.raises(CircuitOpen) as refused:
        breaker.enter()
    assert refused.value.retry_after == pytest.approx(10)
    clock.sleep(10)
    breaker.succeeded(probe=breaker.enter())
    assert breaker.state == "closed"


def test_a_storm_of_failures_below_the_rate_is_counted_in_bounded_space(clock: FakeClock) -> None:
    breaker = CircuitBreaker(failure_rate=0.9, minimum_calls=10**6, window=60)
    for _ in range(5000):
        breaker.failed()
        clock.sleep(0.03)
    assert len(breaker._ended) <= 102
    assert 1980 <= sum(calls for _when, calls, _failures in breaker._ended) <= 2001  # those of the last minute


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_a_lock_is_held_goes_on(clock: FakeClock) -> None:
    """Another thread of the parent held it; that thread does not exist in the child."""
    breaker = CircuitBreaker(name="shared")
    call = of(Flaky(1), name="forked", breaker=breaker, attempts=2)
    with budget.budget_for("forked")._lock, breaker._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a child that waits for the lock ends by this
            os._exit(0 if call() == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0


BROKEN: tuple[Any, ...] = (None, True, 0, -1, 0.5, 2.5, float("nan"), float("inf"), "x", "30s", (), print)


@pytest.mark.parametrize("kind", [CircuitBreaker, RetryBudget])
def test_whatever_a_setting_is_given_it_holds_or_the_error_names_it(kind: Any) -> None:
    """Durations may be text, as everywhere."""
    for field in inspect.signature(kind).parameters:
        for junk in BROKEN:
            try:
                kind(**{field: junk})
            except PolicyError as error:
                assert f"{kind.__name__}: {field}" in str(error), f"{junk!r}: {error}"
    assert CircuitBreaker(window="1m") == CircuitBreaker(window=60)


def test_budgets_and_breakers_travel_without_their_state() -> None:
    """A worker starts with a full budget and a closed breaker of the same settings."""
    breaker, spent = CircuitBreaker(minimum_calls=1, open_for=5, name="store"), RetryBudget(capacity=10, cost=5)
    breaker.failed()
    assert spent.take()
    again, full = pickle.loads(pickle.dumps((breaker, spent)))
    assert (again, full) == (breaker, spent)
    assert again.state == "closed"
    assert full.is_full


def test_each_name_has_a_budget_of_its_own() -> None:
    first, second = Flaky(10**9), Flaky(1)
    for _ in range(120):
        with pytest.raises(ConnectionError):
            of(first, name="dead", attempts=2)()
    assert first.calls == 120 + 100
    assert of(second, name="well", attempts=2)() == 2


def test_successes_count_towards_the_rate_and_old_failures_do_not(clock: FakeClock) -> None:
    breaker = CircuitBreaker(failure_rate=0.5, minimum_calls=4, window=60)
    for _ in range(10):
        breaker.succeeded()
    for _ in range(5):
        breaker.failed()
    assert breaker.state == "closed"  # 5 of 15
    clock.sleep(120)
    for _ in range(3):
        breaker.failed()
    assert breaker.state == "closed"  # too few in the window
    breaker.failed()
    assert breaker.state == "open"


def test_slow_calls_count_as_failures(clock: FakeClock) -> None:
    breaker = CircuitBreaker(minimum_calls=2, slow_call=5)

    @retry(breaker=breaker)
    def slow() -> str:
        clock.sleep(6)
        return "late"

    assert slow() == slow() == "late"
    assert breaker.state == "open"


# Out of memory.


def test_clear_frees_what_failed_and_tries_at_once(clock: FakeClock) -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    @retry(on_oom="clear", attempts=3)
    def fit() -> str:
        assert all(ref() is None for ref in held)
        big = Held()
        big.itself = big  # type: ignore[attr-defined]  # a cycle, which only the collector frees
        held.append(weakref.ref(big))
        if len(held) < 3:
            raise MemoryError
        return "fitted"

    assert fit() == "fitted"
    assert clock.slept == [0, 0]


def test_out_of_memory_of_a_framework_is_known_by_its_class() -> None:
    """As torch raises it, without torch."""
    out_of_memory = type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})
    flaky = Flaky(2, lambda: out_of_memory("CUDA out of memory"))
    assert of(flaky, on_oom="clear")() == 3
    with pytest.raises(RuntimeError):
        of(Flaky(1, lambda: out_of_memory("CUDA out of memory")))()


def test_halve_finds_the_size_that_fits_and_keeps_everything_else() -> None:
    tried = []

    @retry(attempts=9, on_oom="halve:batch_size")
    def fit(data: str, batch_size: int = 64, *, epochs: int = 1) -> tuple[str, int, int]:
        tried.append(batch_size)
        if batch_size > 10:
            raise MemoryError
        return data, batch_size, epochs

    assert fit("rows", epochs=3) == ("rows", 8, 3)
    assert tried == [64, 32, 16, 8]


def test_halve_takes_numpy_s_numbers_too() -> None:
    @retry(attempts=9, on_oom="halve:n")
    def fit(n: Any) -> Any:
        if n > 10:
            raise MemoryError
        return n

    assert fit(np.int64(64)) == 8
    assert fit(np.float32(24)) == 6


def test_halve_stops_at_one() -> None:
    @retry(attempts=99, on_oom="halve:n")
    def fit(n: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError) as caught:
        fit(4)
    assert any("n=1 cannot be halved" in note for note in caught.value.__notes__)


def test_halve_of_a_parameter_that_is_not_there_is_refused_at_decoration() -> None:
    with pytest.raises(PolicyError, match="names no parameter"):
        retry(on_oom="halve:batch")(lambda size: size)
    with pytest.raises(PolicyError, match="names no parameter"):
        retry(on_oom="halve:sizes")(lambda *sizes: sizes)  # there is no half of them


def test_clear_frees_the_frames_of_every_error_behind_and_inside_the_error() -> None:
    """Before the framework's caches are emptied, or they could not let go of what a frame still holds."""
    held: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    def allocate(then: BaseException) -> None:
        big = np.zeros(1000)
        held.append(weakref.ref(big))
        raise then

    def caught(error: BaseException) -> BaseException:
        try:
            allocate(error)
        except BaseException as kept:
            return kept
        raise AssertionError

    class Several(MemoryError):  # the shape of an ExceptionGroup, which Python 3.10 has not
        exceptions: tuple[BaseException, ...] = ()

    error = Several()
    error.exceptions = (caught(KeyError()), caught(ValueError()))
    error.__cause__, error.__context__ = caught(OSError()), caught(TypeError())
    assert all(ref() is not None for ref in held)
    clear_frames(error)
    alive = [ref() is not None for ref in held]
    assert alive == [False] * 4


def test_an_error_that_two_tasks_share_ends_neither() -> None:
    """A lost connection raises one error in all who use it: its traceback then has frames of tasks that still wait."""
    lost = ConnectionError("lost")

    async def main() -> list[str]:
        has_failed, go_on = asyncio.Event(), asyncio.Event()

        async def bystander() -> str:
            try:
                raise lost
            except ConnectionError:
                has_failed.set()
                await go_on.wait()
            return "went on"

        calls: list[str] = []

        @retry(attempts=3, budget=None)
        async def call(name: str) -> str:
            calls.append(name)
            await asyncio.sleep(0)
            if calls.count(name) < 3:
                raise lost
            return name

        waiting = asyncio.ensure_future(bystander())
        await has_failed.wait()
        answers = await asyncio.gather(call("one"), call("other"))
        go_on.set()
        return [*answers, await waiting]

    with no_wait():
        assert asyncio.run(asyncio.wait_for(main(), 30)) == ["one", "other", "went on"]


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
