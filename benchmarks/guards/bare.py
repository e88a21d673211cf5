"""The functions under the guards, how peers are looked for, and how ours, theirs and the bare call become one row."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.measure import side_by_side, side_by_side_async
from benchmarks.table import Row

__all__ = ["add", "async_row", "has", "row", "wait_for"]

Call = Callable[[], Any]


def add(x: Any, y: Any = 2) -> Any:
    """A function that does nothing: what a guard around it costs is the guard."""
    return x


async def wait_for(x: Any) -> Any:
    """The same as a coroutine."""
    return x


def has(*modules: str) -> bool:
    """Whether all of them are installed."""
    return all(
        importlib.util.find_spec(module.partition(".")[0]) is not None and importlib.util.find_spec(module) is not None
        for module in modules
    )


def row(
    path: str,
    ours: Call,
    peers: Mapping[str, Call] | None = None,
    *,
    base: Call = lambda: add(1, 2),
    base_name: str = "",
    budget_ratio: float | None = None,
    budget: float | None = None,
    repeat: int = 70,
) -> Row:
    """All of them measured in turns: the base (by default a call of `add` without any guard), ours, each peer."""
    found = side_by_side({"": base, path: ours, **(peers or {})}, repeat=repeat)
    return _row(path, found, base_name, budget_ratio, budget)


def async_row(path: str, ours: Call, peers: Mapping[str, Call], *, budget_ratio: float | None = None) -> Row:
    """The same, awaited; the base is a bare await."""
    found = side_by_side_async({"": partial(wait_for, 1), path: ours, **peers})
    return _row(path, found, "a bare await", budget_ratio)


def _row(
    path: str, found: dict[str, float], base_name: str, budget_ratio: float | None, budget: float | None = None
) -> Row:
    base, ours = found.pop(""), found.pop(path)
    return Row(path, ours, base, found, budget, budget_ratio, base_name)
