"""The decision after a failed attempt: wait how long, or give up, and why. Decides only; whoever asks does the waiting.

Used by the retry decorator and by guarded cells, so that both mean the same.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from mlguard_nb import clock as clocks
from mlguard_nb.clock import Clock
from mlguard_nb.devices.frameworks import is_out_of_memory
from mlguard_nb.errors import CircuitOpen, GuardError, InputRejected
from mlguard_nb.policy.values import RetryPolicy
from mlguard_nb.runtime import deadline as deadlines
from mlguard_nb.runtime.backoff import waits
from mlguard_nb.runtime.budget import RetryBudget, budget_for

__all__ = ["Attempts", "GaveUp", "Wait", "budget_of", "is_retryable", "retry_after"]

# Errors of the program, not of the world: the same call fails the same way.
PROGRAMMING = (SyntaxError, NameError, TypeError, AssertionError, ImportError)


class Wait(NamedTuple):
    """Try again after `seconds`. `reason`: exception, result, retry-after or oom; `attempt` is the one that failed."""

    seconds: float
    reason: Literal["exception", "result", "retry-after", "oom"]
    attempt: int


class GaveUp(NamedTuple):
    """No further attempt. `reason`: attempts, deadline, budget, not-retryable or oom."""

    reason: Literal["attempts", "deadline", "budget", "not-retryable", "oom"]
    attempts: int
    elapsed_seconds: float

    @property
    def note(self) -> str:
        """What is added to the exception, "" where it was the first attempt of one that is never retried."""
        if self.reason in ("not-retryable", "oom") and self.attempts == 1:
            return ""
        why = {
            "attempts": "",
            "deadline": ": the next attempt would have begun after the deadline",
            "budget": ": the retry budget is spent, too many calls have failed lately",
            "not-retryable": ": this error is not retried",
            "oom": ": out of memory is not retried here (see on_oom)",
        }[self.reason]
        count = f"{self.attempts} attempt{'s' if self.attempts != 1 else ''}"
        return f"gave up after {count} in {self.elapsed_seconds:.1f} s{why}"


class Attempts:
    """The attempts of one call. Ask `failed` (or `unsatisfying`) after each; `number` is the attempt under way.

    `ends_at` is the deadline on the clock's scale; the policy's own and the one inherited from outer calls count too.
    Not `budgeted`: no retry budget is asked.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        name: str = "",
        clock: Clock | None = None,
        started: float | None = None,
        budgeted: bool = True,
    ) -> None:
        self.policy, self.name = policy, name
        self.clock = clock or clocks.current()
        self.started = self.clock.now() if started is None else started
        self.number = 1
        ends = [end for end in (deadlines.ends_at(), policy.deadline and self.started + policy.deadline) if end]
        self.ends_at: float | None = min(ends) if ends else None
        self._waits = waits(policy.jitter, policy.wait_initial, policy.wait_max)
        self._budget = budget_of(policy, name) if budgeted else None

    def failed(self, error: BaseException) -> Wait | GaveUp:
        """What follows after attempt `number` raised `error`."""
        if is_out_of_memory(error) and not _is_listed(self.policy, error):
            return self._next("oom", 0.0) if self.policy.on_oom != "fail" else self._gave_up("oom")
        if not is_retryable(self.policy, error):
            return self._gave_up("not-retryable")
        told = retry_after(error, self.clock) if self.policy.respect_retry_after else None
        return self._next("exception", next(self._waits)) if told is None else self._next("retry-after", told)

    def unsatisfying(self) -> Wait | GaveUp:
        """What follows after attempt `number` gave a result that `retry_on_result` does not accept."""
        return self._next("result", next(self._waits))

    def _next(self, reason: Literal["exception", "result", "retry-after", "oom"], seconds: float) -> Wait | GaveUp:
        if self.number >= self.policy.attempts:
            return self._gave_up("attempts")
        if self.ends_at is not None and self.clock.now() + seconds >= self.ends_at:
            return self._gave_up("deadline")
        # Out of memory says nothing about a service: it takes nothing from the budget.
        if self._budget is not None and reason != "oom" and not self._budget.take():
            return self._gave_up("budget")
        self.number += 1
        return Wait(seconds, reason, self.number - 1)

    def _gave_up(self, reason: Literal["attempts", "deadline", "budget", "not-retryable", "oom"]) -> GaveUp:
        return GaveUp(reason, self.number, self.clock.now() - self.started)


def budget_of(policy: RetryPolicy, name: str) -> RetryBudget | None:
    """The budget that a policy's retries are paid from; None where it has none."""
    if policy.budget is None or isinstance(policy.budget, RetryBudget):
        return policy.budget
    return budget_for(name)


def _is_listed(policy: RetryPolicy, error: BaseException) -> bool:
    """Whether the policy names the error's own class among those to retry."""
    return isinstance(policy.on, tuple) and any(kind is type(error) for kind in policy.on)


def is_retryable(policy: RetryPolicy, error: BaseException) -> bool:
    """Whether `error` may be followed by another attempt at all; only an Exception ever is."""
    if not isinstance(error, Exception) or isinstance(error, (InputRejected, CircuitOpen)):
        return False
    if getattr(error, "retryable", True) is False and isinstance(error, GuardError):
        return False
    on: Any = policy.on
    if on is None:
        return not isinstance(error, PROGRAMMING) and not is_out_of_memory(error)
    return isinstance(error, on) if isinstance(on, tuple) else bool(on(error))


def retry_after(error: BaseException, clock: Clock) -> float | None:
    """Seconds that the other side asked to wait, None where it did not say.

    Read from `error.retry_after`, or from the headers of `error.response` (httpx, requests, openai) or of the error
    itself (urllib, aiohttp): retry-after-ms, then Retry-After in seconds or as an HTTP date (RFC 9110, 10.2.3).
    """
    told = getattr(error, "retry_after", None)
    if isinstance(told, (int, float)) and not isinstance(told, bool):
        return _number(told, 1.0)
    headers = getattr(getattr(error, "response", None), "headers", None) or getattr(error, "headers", None)
    get = getattr(headers, "get", None)
    if get is None:
        return None
    if (seconds := _number(get("retry-after-ms"), 1000.0)) is not None:
        return seconds
    text = get("retry-after") or get("Retry-After")
    if (seconds := _number(text, 1.0)) is not None:
        return seconds
    import email.utils

    try:
        date = email.utils.parsedate_to_datetime(str(text)) if text else None
    except (ValueError, TypeError):
        return None
    return None if date is None else max(0.0, date.timestamp() - clock.wall())


def _number(text: Any, unit: float) -> float | None:
    try:
        number = float(text) / unit if text is not None else math.nan
    except (TypeError, ValueError):
        return None
    return max(0.0, number) if math.isfinite(number) else None
