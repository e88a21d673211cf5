"""memory_guard without pressure, beside asking psutil on every call."""

from __future__ import annotations

from benchmarks.guards.bare import add, row
from benchmarks.table import Row

__all__ = ["rows"]


def rows() -> list[Row]:
    """One row: the call path reads an attribute that the sampler keeps."""
    import psutil

    from mlguard_nb import memory_guard

    ours = memory_guard(ram=0.99)(add)
    peers = {"psutil.virtual_memory()": psutil.virtual_memory}
    return [row("memory_guard, no pressure", lambda: ours(1, 2), peers, budget_ratio=2.7)]
