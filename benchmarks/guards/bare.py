"""The functions under the guards, and how peers are looked for and timed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from benchmarks.measure import nanoseconds

__all__ = ["add", "call_bare", "has", "timed", "wait_for"]


def add(x: Any, y: Any = 2) -> Any:
    """A function that does nothing: what a guard around it costs is the guard."""
    return x


async def wait_for(x: Any) -> Any:
    """The same as a coroutine."""
    return x


def call_bare() -> float:
    """Nanoseconds of a call of `add` without any guard, which most ratios refer to."""
    return nanoseconds(lambda: add(1, 2))


def has(*modules: str) -> bool:
    """Whether all of them are installed."""
    return all(importlib.util.find_spec(module.partition(".")[0]) is not None for module in modules) and all(
        importlib.util.find_spec(module) is not None for module in modules
    )


def timed(calls: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Nanoseconds a call, by name."""
    return {name: nanoseconds(call) for name, call in calls.items()}
