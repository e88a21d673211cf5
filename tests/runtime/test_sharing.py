"""Breakers and budgets of many processes: on a real server, which dies and comes back, and between real processes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from mlguard_nb import CircuitBreaker, CircuitOpen, PolicyError, RetryBudget, retry
from mlguard_nb import SharedCircuitBreaker as Breaker
from mlguard_nb import SharedRetryBudget as Budget
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import BreakerMoved
from mlguard_nb.testing import no_wait
from tests.runtime.redis_server import Server

NOWHERE = "redis://127.0.0.1:1/0"


def until(is_so: Callable[[], Any]) -> None:
    """Wait for what the server's clock, or a thread, brings about."""
    give_up = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < give_up, "what the test waits for has not happened"
        time.sleep(0.01)


def two(server: Server, **options: Any) -> tuple[Breaker, Breaker]:
    """As two processes have it: each with its own state and connection."""
    return Breaker(server.url, "shop", **options), Breaker(server.url, "shop", **options)


def refuses(breaker: CircuitBreaker) -> bool:
    try:
        breaker.enter()
    except CircuitOpen as refused:
        assert refused.name == "shop"
        assert refused.retry_after >= 0
        return True
    return False


# The breaker.


def test_failures_of_all_processes_count(server: Server) -> None:
    """Two and two are four; who learns of it last is refused all the same."""
    here, there = two(server, minimum_calls=4)
    here.failed(), there.failed(), here.failed()
    assert (here.state, there.state) == ("closed", "closed")
    assert not refuses(there)
    there.failed()
    assert refuses(there)
    assert here.state == "open"
    assert refuses(here)


def test_a_process_learns_with_its_next_failure(server: Server) -> None:
    """It needs no failures of its own to be counted: one call is enough."""
    here, there = two(server, minimum_calls=4)
    there.enter()
    assert there.is_closed
    for _ in range(4):
        here.failed()
    assert there.is_closed, "nobody has told it yet"
    there.failed()
    assert not there.is_closed
    assert refuses(there)


def test_a_process_whose_calls_succeed_learns_within_a_second(server: Server) -> None:
    here, there = two(server, minimum_calls=4)
    there.enter()
    for _ in range(4):
        here.failed()
    there.successes += 1  # as the wrapper of a function counts it
    until(lambda: not there.is_closed)


def test_successes_of_all_processes_count_towards_the_rate(server: Server) -> None:
    """One process fails for a reason of its own: the circuit stays closed for all."""
    here, there = two(server, minimum_calls=4, failure_rate=0.5)
    there.enter()
    for _ in range(10):
        there.succeeded()
    there.tell()
    until(lambda: server.client().hlen("mlguard:breaker:shop"))  # where the thread was about to tell it
    for _ in range(9):
        here.failed()
    assert here.state == "closed"
    here.failed()
    assert here.state == "open"


def test_probes_are_limited_over_all_processes(server: Server) -> None:
    """Eight ask at once, two may; when both succeed the circuit closes for everybody."""
    first = Breaker(server.url, "shop", minimum_calls=1, open_for=0.05)
    first.failed()
    until(lambda: first.state == "half-open")
    some = [Breaker(server.url, "shop", minimum_calls=1, open_for=60, half_open_calls=2) for _ in range(8)]
    start = threading.Barrier(len(some))
    let_in: list[tuple[Breaker, int]] = []

    def ask(breaker: Breaker) -> None:
        start.wait()
        with contextlib.suppress(CircuitOpen):
            let_in.append((breaker, breaker.enter()))

    threads = [threading.Thread(target=ask, args=(breaker,)) for breaker in some]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(let_in) == 2
    (one, probe), (other, same_round) = let_in
    one.succeeded(probe=probe)
    assert some[0].state == "half-open"
    other.succeeded(probe=same_round)
    assert [breaker.state for breaker in some] == ["closed"] * 8


def test_a_failed_probe_opens_again_for_all_and_a_cancelled_one_is_free(server: Server) -> None:
    Breaker(server.url, "shop", minimum_calls=1, open_for=0.05).failed()
    here, there = two(server, minimum_calls=1, open_for=60)
    until(lambda: here.state == "half-open")
    probe = here.enter()
    assert refuses(there)
    here.given_up(probe)
    there.failed(there.enter())
    assert here.state == "open"


def test_a_call_that_began_before_the_probes_is_none_of_them(server: Server) -> None:
    """Whichever process made it, and whether it ends well, badly or not at all."""
    Breaker(server.url, "shop", minimum_calls=1, open_for=0.05).failed()
    here, there = two(server, minimum_calls=1, open_for=60)
    before = 0
    until(lambda: here.state == "half-open")
    probe = here.enter()
    there.succeeded(1.0, before), there.failed(before), there.given_up(before)
    assert here.state == "half-open"
    assert refuses(there)
    here.succeeded(1.0, probe)
    assert there.state == "closed"


def test_probes_that_never_end_are_given_up(server: Server) -> None:
    """The process that probed was killed: after `open_for` seconds another may."""
    here, there = two(server, minimum_calls=1, open_for=0.05)
    here.failed()
    until(lambda: not refuses(here))
    until(lambda: not refuses(there))


def test_slow_calls_count_as_failures(server: Server) -> None:
    breaker, other = two(server, minimum_calls=1, slow_call=1.0)
    breaker.enter()
    breaker.succeeded(0.5)
    assert other.state == "closed"
    breaker.succeeded(1.5)
    assert other.state == "open"


def test_a_moved_breaker_is_told_in_every_process(server: Server) -> None:
    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    try:
        here, there = two(server, minimum_calls=1)
        here.failed()
        there.failed()
    finally:
        end()
    assert [(event.function, event.state) for event in heard if isinstance(event, BreakerMoved)] == [
        ("shop", "open")
    ] * 2


def test_without_the_server_a_breaker_is_its_own(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """One warning, no failed call; what was known stays known; and the server's word counts when it is back."""
    with no_wait() as clock, caplog.at_level(logging.WARNING):
        here, there = two(server, minimum_calls=2, open_for=10_000)
        here.enter(), there.enter()
        server.kill()
        here.failed(), here.failed()
        assert refuses(here)
        assert here.state == "open"
        assert caplog.text.count("the breaker shop is this process's own") == 1
        assert not refuses(there)
        there.succeeded()
        server.start()
        clock.sleep(6)
        assert here.state == "closed", "a server that has forgotten everything knows of no failure"
        there.failed(), here.failed()
        assert there.state == "open"
        assert "answers again" in caplog.text


def test_without_a_server_from_the_start_calls_go_through() -> None:
    pytest.importorskip("redis")
    breaker = Breaker(NOWHERE, "shop", minimum_calls=2, open_for=60)
    call = retry(attempts=1, breaker=breaker)(lambda: 42)
    assert [call(), call()] == [42, 42]
    assert breaker.is_closed
    breaker.failed(), breaker.failed(), breaker.failed()
    assert refuses(breaker)
    breaker.given_up()


# The budget.


def test_a_budget_is_spent_by_all(server: Server) -> None:
    here, there = Budget(server.url, "shop", 20, 5), Budget(server.url, "shop", 20, 5)
    assert [here.take(), there.take(), here.take(), there.take()] == [True] * 4
    assert (here.take(), there.take()) == (False, False)


def test_calls_that_succeed_fill_it_for_all(server: Server) -> None:
    """Told once a second, and with the next retry."""
    here, there = Budget(server.url, "shop", 10, 5), Budget(server.url, "shop", 10, 5)
    assert [here.take(), here.take(), here.take()] == [True, True, False]
    for _ in range(5):
        here.give_back()
    assert here.take() is True
    assert there.take() is False
    for _ in range(10):
        there.give_back()
    until(lambda: there.is_full)
    assert here.take() is True
    assert there.is_full, "and so a success costs nothing until it is told otherwise"


def test_without_the_server_a_budget_is_its_own(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with no_wait() as clock, caplog.at_level(logging.WARNING):
        budget = Budget(server.url, "shop", 10, 5)
        assert budget.take() is True
        server.kill()
        assert [budget.take(), budget.take()] == [True, False]
        budget.give_back()
        budget.tell()
        assert budget.tokens == 1
        assert caplog.text.count("the budget shop is this process's own") == 1
        server.start()
        clock.sleep(6)
        assert [budget.take(), budget.take(), budget.take()] == [True, True, False]


# Both, in the decorator.


def test_retry_stops_when_the_budget_of_all_is_spent(server: Server) -> None:
    calls: list[int] = []

    def body() -> None:
        calls.append(1)
        raise ConnectionError("down")

    with no_wait():
        for _ in range(2):  # two processes
            call = retry(attempts=4, budget=Budget(server.url, "shop", 15, 5), wait_initial=0.01)(body)
            with pytest.raises(ConnectionError):
                call()
    assert len(calls) == 4 + 1


def test_async_functions_ask_the_server_on_a_thread(server: Server) -> None:
    """Entering, failing, the budget and the probe: the loop's own thread never waits for the server."""
    asked: set[int] = set()
    breaker, budget = Breaker(server.url, "shop", minimum_calls=2, open_for=0.05), Budget(server.url, "shop")
    for shared in (breaker._shared, budget._shared):
        client = shared._client
        client.ask = lambda *a, ask=client.ask: (asked.add(threading.get_ident()), ask(*a))[1]  # type: ignore[method-assign]
    fails = [True, True, False]

    @retry(attempts=2, breaker=breaker, budget=budget, wait_initial=0.001)
    async def call() -> int:
        if fails.pop(0):
            raise ConnectionError("down")
        return 42

    async def calls() -> int:
        with pytest.raises(ConnectionError):
            await call()
        while True:
            try:
                return await call()
            except CircuitOpen:
                await asyncio.sleep(0.01)

    assert asyncio.run(calls()) == 42
    assert asked
    assert threading.get_ident() not in asked


PROGRAM = """
import sys
from mlguard_nb import CircuitOpen, SharedCircuitBreaker, SharedRetryBudget, retry
url, = sys.argv[1:]
calls = 0
@retry(attempts=2, wait_initial=0, wait_max=0.001, budget=SharedRetryBudget(url, "shop", 10, 5),
       breaker=SharedCircuitBreaker(url, "shop", minimum_calls=4, open_for=600))
def ask():
    global calls
    calls += 1
    raise ConnectionError("down")
for line in sys.stdin:
    try:
        ask()
    except (ConnectionError, CircuitOpen) as error:
        print(calls, type(error).__name__, *getattr(error, "__notes__", []), flush=True)
"""


class Process:
    """A process that calls a dead service each time it is told to."""

    def __init__(self, url: str) -> None:
        pipe = subprocess.PIPE
        self.child = subprocess.Popen([sys.executable, "-c", PROGRAM, url], stdin=pipe, stdout=pipe, text=True)

    def call(self) -> str:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().strip()

    def end(self) -> None:
        self.child.kill()
        self.child.communicate()


def test_two_processes_share_budget_and_circuit_and_survive_the_server(server: Server) -> None:
    """What two calls failed in each opens the circuit of both; with the server killed they go on alone."""
    first, second = Process(server.url), Process(server.url)
    try:
        assert first.call().startswith("2 ConnectionError gave up after 2 attempts")
        assert second.call().startswith("2 ConnectionError gave up after 2 attempts"), "the fourth failure opens it"
        assert second.call() == "2 CircuitOpen"
        assert first.call().startswith("3 ConnectionError gave up after 1 attempt"), "both have spent the budget"
        assert first.call() == "3 CircuitOpen", "and its one failure has told it that the circuit is open"
        server.kill()
        assert first.call() == "3 CircuitOpen", "what it knew it knows"
        third = Process(server.url)
        try:
            assert third.call().startswith("2 ConnectionError")
            assert third.call().startswith("4 ConnectionError")
            assert third.call() == "4 CircuitOpen", "its own four failures have opened its own circuit"
        finally:
            third.end()
        server.start()
        fourth = Process(server.url)
        try:
            assert fourth.call().startswith("2 ConnectionError"), "the server is new, and so are circuit and budget"
            assert "budget" not in fourth.call()
        finally:
            fourth.end()
    finally:
        first.end()
        second.end()


# What they are.


@pytest.mark.parametrize(
    "shared",
    [lambda: Breaker("redis://:secret@host/0", "shop", 0.5, 7, slow_call=2), lambda: Budget("redis://:secret@host/0", "shop", 50)],
)  # fmt: skip
def test_they_travel_with_their_settings_and_show_no_password(shared: Callable[[], Any]) -> None:
    pytest.importorskip("redis")
    one = shared()
    other = pickle.loads(pickle.dumps(one))
    assert other == one == shared()
    assert hash(other) == hash(one)
    assert "secret" not in repr(one)
    assert "shop" in repr(one)
    assert one != CircuitBreaker(name="shop")
    assert one != RetryBudget()


@pytest.mark.parametrize("kind", [Breaker, Budget])
def test_what_cannot_be_is_refused(kind: Any) -> None:
    pytest.importorskip("redis")
    with pytest.raises(PolicyError, match="name must be the word under which processes share it, got ''"):
        kind("redis://host", "")
    with pytest.raises(PolicyError, match="server must be an address such as") as refused:
        kind("redis://:secret@host/0?bogus=1", "shop")
    assert "secret" not in str(refused.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_asks_for_itself(server: Server) -> None:
    """It tells its own successes only, and learns that the circuit is open before its first call."""
    breaker, budget = Breaker(server.url, "shop", minimum_calls=1, open_for=600), Budget(server.url, "shop")
    breaker.enter()
    breaker.successes = 5
    budget.give_back()
    Breaker(server.url, "shop", minimum_calls=1, failure_rate=0.01, open_for=600).failed()
    child = os.fork()
    if not child:
        os._exit(0 if breaker.successes == budget._returned == 0 and refuses(breaker) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_server_forgets_what_nobody_uses(server: Server) -> None:
    breaker, budget = Breaker(server.url, "shop"), Budget(server.url, "shop")
    breaker.failed()
    client = server.client()
    assert 0 < client.pttl("mlguard:breaker:shop") <= 180_000
    budget.take()
    for _ in range(5):
        budget.give_back()
    budget.tell()
    assert client.exists("mlguard:budget:shop") == 0, "a full budget is none"


def test_old_failures_do_not_count(server: Server) -> None:
    """A tenth of the window at a time; the server's clock says what is old."""
    breaker = Breaker(server.url, "shop", minimum_calls=2, window=0.05)
    breaker.failed()
    client, before = server.client(), server.client().time()

    def has_passed() -> bool:
        now = client.time()
        return (now[0] - before[0]) + (now[1] - before[1]) / 1e6 > 0.1

    until(has_passed)
    breaker.failed()
    assert breaker.state == "closed"
    fields = client.hkeys("mlguard:breaker:shop")
    assert len(fields) == 2, "and are forgotten"
