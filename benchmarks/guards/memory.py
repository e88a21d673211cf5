"""memory_guard without pressure, beside asking psutil on every call."""

from __future__ import annotations

from benchmarks.guards.bare import add, row
from benchmarks.table import Row

__all__ = ["rows"]


def rows() -> list[Row]:
    """The call path reads an attribute that the sampler keeps; the sampler ticks ten times a second: 12 µs a
    tick where a bare call takes 30 ns.
    """
    import psutil

    from mlguard_nb import memory_guard
    from mlguard_nb.devices import Sampler

    ours = memory_guard(ram=0.99)(add)
    peers = {"psutil.virtual_memory()": psutil.virtual_memory}
    return [
        row("memory_guard, no pressure", lambda: ours(1, 2), peers, budget_ratio=2.7),
        row("one tick of the memory sampler", Sampler().tick, peers, budget_ratio=400.0),
    ]
