"""The five decorators beside their peers: every row of the budget table in the design of the runtime."""

from __future__ import annotations

import importlib
import multiprocessing
from pathlib import Path

from benchmarks.table import Row, as_text, draw

__all__ = ["GROUPS", "rows", "run"]

GROUPS = ("retrying", "validating", "caching", "memory", "monitoring", "stack", "importing")


def run(results: Path) -> str:
    """The budget table; its picture goes to `results`."""
    found = rows()
    draw(found, results / "runtime.png")
    return as_text(found)


def rows() -> list[Row]:
    """Ours beside each peer that is installed. Every group has an interpreter of its own: the threads and sinks that
    one starts are no load on the next.
    """
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return [row for group in pool.map(_measure, GROUPS, chunksize=1) for row in group]


def _measure(group: str) -> list[Row]:
    found: list[Row] = importlib.import_module(f"benchmarks.guards.{group}").rows()
    return found
