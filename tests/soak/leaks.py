"""Whether the process grew: what is measured while the load rests, and how much growth is none."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from mlguard_nb.devices.host import resident_bytes
from mlguard_nb.devices.readings import known

# What may be more at the end than in the middle: noise of the allocator, and connections to Redis, one a worker at most.
ALLOWED = {"traced_bytes": 400_000, "resident_bytes": 24_000_000, "threads": 0, "files": 6}


@dataclass(frozen=True, slots=True)
class Rest:
    """The process at one rest of the load. `traced_bytes` is what tracemalloc counts after a full collection."""

    traced_bytes: int
    resident_bytes: int
    threads: int
    files: int


def measure() -> Rest:
    """Now, after collecting what is garbage."""
    gc.collect()
    gc.collect()
    traced, _peak = tracemalloc.get_traced_memory()
    return Rest(traced, known(resident_bytes()) or 0, _threads(), len(os.listdir("/proc/self/fd")))


def growth(rests: Sequence[Rest]) -> dict[str, float]:
    """How much more there is in the last third of the rests than in the middle one (medians), by name.

    The first third is left out: pools and caches fill.
    """
    third = max(1, len(rests) // 3)
    middle, last = rests[-2 * third : -third] or rests[:1], rests[-third:]
    return {
        name: median(getattr(rest, name) for rest in last) - median(getattr(rest, name) for rest in middle)
        for name in ALLOWED
    }


def breaches(rests: Sequence[Rest]) -> list[str]:
    """What grew by more than is allowed."""
    return [
        f"leak: {name} grew by {more:,.0f}, and {ALLOWED[name]:,} are allowed"
        for name, more in growth(rests).items()
        if more > ALLOWED[name]
    ]


# What comes and goes while there is something to tell or to hold, one of each at most, and asyncio's own pool.
_PASSING = ("mlguard-hits", "mlguard-holders", "mlguard-leases", "asyncio_")


def _threads() -> int:
    names = [thread.name for thread in threading.enumerate()]
    return len(names) - len({name for name in names if name.startswith(_PASSING)})
