"""What became of every call: how many began, how each ended, which value was wrong, which call never came back."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class WrongValue(Exception):
    """A guarded call gave something that the function would never have returned."""


class Tally:
    """Counts by job; safe under threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[int, tuple[str, float]] = {}
        self._next = 0
        self.begun: Counter[str] = Counter()
        self.ended: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []

    @contextmanager
    def call(self, job: str) -> Iterator[list[str]]:
        """One call of `job`; the block puts its outcome into the list. What it raises instead is a breach."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            self.begun[job] += 1
            self._under_way[number] = (job, time.monotonic())
        outcome: list[str] = []
        try:
            yield outcome
        except Exception as error:
            self._note(f"{job}: {type(error).__name__}: {error}")
            outcome.append("wrong")
        finally:
            with self._lock:
                del self._under_way[number]
                self.ended[job, outcome[0] if outcome else "abandoned"] += 1

    def _note(self, text: str) -> None:
        with self._lock:
            if len(self.wrong) < 20:
                self.wrong.append(text)

    def under_way(self) -> int:
        """Calls that have begun and not ended."""
        with self._lock:
            return len(self._under_way)

    def stuck(self, seconds: float) -> list[str]:
        """Calls that have been under way for longer than `seconds`."""
        now = time.monotonic()
        with self._lock:
            return [
                f"{job} for {now - since:.0f} s" for job, since in self._under_way.values() if now - since > seconds
            ]

    def outcomes(self, job: str) -> dict[str, int]:
        """How often each outcome was seen."""
        with self._lock:
            return {outcome: count for (of, outcome), count in sorted(self.ended.items()) if of == job}

    def breaches(self, must_see: Mapping[str, frozenset[str]]) -> list[str]:
        """What is wrong with the account: values, lost calls, and outcomes that should have come about and did not."""
        found = [f"wrong: {text}" for text in self.wrong]
        for job, begun in self.begun.items():
            outcomes = self.outcomes(job)
            if sum(outcomes.values()) != begun:
                found.append(f"lost: {job} began {begun} calls, and {sum(outcomes.values())} ended")
            if "abandoned" in outcomes:
                found.append(f"lost: {job} has {outcomes['abandoned']} calls without an outcome")
        for job, wanted in must_see.items():
            missing = wanted - set(self.outcomes(job))
            if missing:
                found.append(f"not reached: {job} never ended in {', '.join(sorted(missing))}")
        return found
