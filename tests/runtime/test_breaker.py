"""Retry budgets and circuit breakers: what they refuse, for how long, and how many may probe."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import pickle
import signal
import threading
from typing import Any

import pytest

from mlguard_nb import CircuitBreaker, CircuitOpen, PolicyError, RetryBudget, retry
from mlguard_nb.runtime import budget
from mlguard_nb.testing import FakeClock
from tests.runtime.flaky import Flaky, of

pytestmark = pytest.mark.usefixtures("clock")


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
