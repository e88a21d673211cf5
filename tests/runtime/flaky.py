"""A function that fails so many times, and its retried self."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlguard_nb import retry


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
