"""A circuit breaker: after too many failures a service is left alone for a while, then asked by a few probes.

closed (calls pass) -> open (calls are refused with CircuitOpen) -> half-open (a few probes pass) -> closed or open.
The failure rate is taken over a sliding window of time (Nygard, "Release It!", 2007; the names are resilience4j's).
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from mlguard_nb import clock
from mlguard_nb.errors import CircuitOpen
from mlguard_nb.policy.checks import count, is_number, need, seconds
from mlguard_nb.runtime.forking import renew_in_child
from mlguard_nb.telemetry import bus

__all__ = ["CircuitBreaker"]


class CircuitBreaker:
    """Opens when at least `minimum_calls` ended within `window` seconds and a share of `failure_rate` of them failed.

    A call longer than `slow_call` seconds counts as failed (None: none does). Open lasts `open_for` seconds; then
    `half_open_calls` probes may pass: if all succeed it closes, if one fails it opens again; probes that have not
    ended after `open_for` seconds more are given up, and as many may pass again. One breaker may guard several
    functions that call the same service. PolicyError for values that cannot be.
    """

    asks_server = False  # whether a method may wait for a server

    def __init__(
        self,
        failure_rate: float = 0.5,
        minimum_calls: int = 10,
        window: float | str = 60.0,
        slow_call: float | str | None = None,
        open_for: float | str = 30.0,
        half_open_calls: int = 1,
        name: str = "",
    ) -> None:
        self.failure_rate, self.minimum_calls, self.half_open_calls = failure_rate, minimum_calls, half_open_calls
        self.window: Any = window
        self.slow_call: Any = slow_call
        self.open_for: Any = open_for
        self.name = name
        part, is_share = "CircuitBreaker", is_number(failure_rate) and 0 < failure_rate <= 1
        need(is_share, part, "failure_rate", "a share in (0, 1]", failure_rate)
        count(self, part, "minimum_calls", "a whole number of at least 1")
        count(self, part, "half_open_calls", "a whole number of at least 1")
        seconds(self, part, "window", "open_for")
        seconds(self, part, "slow_call", optional=True)
        need(isinstance(name, str), part, "name", "a word", name)
        self.label = name  # in events and messages; without a name, that of the first function it guards
        self._reset()

    def _reset(self) -> None:
        self.is_closed = True
        self._state = "closed"
        self.after_fork()
        renew_in_child(self)
        self._ended: deque[tuple[float, int, int]] = deque()  # (when, calls, failures)
        self._until = 0.0
        self._probes = self._probes_passed = self._round = 0
        # Successes while closed are only counted, and spread over the time since the last look, when a failure asks.
        self.successes = 0
        self._looked_at = clock.current().now()

    def after_fork(self) -> None:
        """A lock held in the parent is not held here."""
        self._lock = threading.Lock()

    @property
    def state(self) -> str:
        """closed, half-open or open."""
        if self._state == "open" and clock.current().now() >= self._until:
            return "half-open"
        return self._state

    def enter(self) -> int:
        """Ask to make one call; CircuitOpen with the seconds until the next probe where it is refused.

        The answer goes to `succeeded`, `failed` or `given_up` when the call has ended: the round of probes it belongs
        to, 0 where it is none. A call that began before a round says nothing about the service in that round.
        """
        if self.is_closed:
            return 0
        with self._lock:
            now = clock.current().now()
            if self._state == "open":
                if now < self._until:
                    raise CircuitOpen(self.label, self._until - now)
                self._move("half-open")
                self._let_probes_pass(now)
            if self._state == "half-open":
                if self._probes >= self.half_open_calls:
                    if now < self._until:
                        raise CircuitOpen(self.label, self._until - now)
                    self._let_probes_pass(now)
                self._probes += 1
                return self._round
        return 0

    def succeeded(self, seconds: float | None = None, probe: int = 0) -> None:
        """Count one call that ended well, after `seconds`; `probe` is what `enter` answered."""
        if self.slow_call is not None and seconds is not None and seconds > self.slow_call:
            self.failed(probe)
            return
        if self.is_closed:
            self.successes += 1
            return
        with self._lock:
            if self._is_due(probe):
                self._probes_passed += 1
                if self._probes_passed >= self.half_open_calls:
                    self._ended.clear()
                    self._move("closed")

    def failed(self, probe: int = 0) -> None:
        """Count one call that failed; `probe` is what `enter` answered."""
        with self._lock:
            now = clock.current().now()
            if self._is_due(probe):
                self._open(now)
                return
            if self._state != "closed":
                return
            self._spread_successes(now)
            self._count(now, 1, 1)
            while self._ended and self._ended[0][0] < now - self.window:
                self._ended.popleft()
            calls = sum(count for _when, count, _failures in self._ended)
            failures = sum(count for _when, _calls, count in self._ended)
            if calls >= self.minimum_calls and failures >= self.failure_rate * calls:
                self._open(now)

    def given_up(self, probe: int = 0) -> None:
        """A call that was let in has neither succeeded nor failed (it was cancelled): its probe is free again."""
        with self._lock:
            if self._is_due(probe):
                self._probes -= 1

    def _is_due(self, probe: int) -> bool:
        """Whether this is a probe of the round under way."""
        return self._state == "half-open" and probe == self._round

    def _spread_successes(self, now: float) -> None:
        count, self.successes = self.successes, 0
        elapsed, self._looked_at = now - self._looked_at, now
        recent = count if elapsed <= self.window else round(count * self.window / elapsed)
        if recent:
            self._count(now - min(elapsed, self.window) / 2, recent, 0)

    def _count(self, when: float, calls: int, failures: int) -> None:
        """What ends within a hundredth of the window is one entry, so that a storm does not make a long list."""
        if self._ended and when - self._ended[-1][0] < self.window / 100:
            when, more_calls, more_failures = self._ended.pop()
            calls, failures = calls + more_calls, failures + more_failures
        self._ended.append((when, calls, failures))

    def _let_probes_pass(self, now: float) -> None:
        self._probes = self._probes_passed = 0
        self._round += 1
        self._until = now + self.open_for

    def _open(self, now: float) -> None:
        self._until = now + self.open_for
        self._ended.clear()
        self._move("open")

    def _move(self, state: str) -> None:
        self._state, self.is_closed = state, state == "closed"
        if state == "closed":
            self.successes, self._looked_at = 0, clock.current().now()
        if bus.is_heard():
            from mlguard_nb.telemetry.events import BreakerMoved

            bus.emit(BreakerMoved(function=self.label, state=state))

    def _settings(self) -> tuple[Any, ...]:
        return (
            self.failure_rate, self.minimum_calls, self.window, self.slow_call, self.open_for, self.half_open_calls,
            self.name,
        )  # fmt: skip

    def __reduce__(self) -> tuple[Any, ...]:
        return CircuitBreaker, self._settings()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CircuitBreaker) and other._settings() == self._settings()

    def __hash__(self) -> int:
        return hash(self._settings())

    def __repr__(self) -> str:
        return f"CircuitBreaker(failure_rate={self.failure_rate}, window={self.window}, open_for={self.open_for})"
