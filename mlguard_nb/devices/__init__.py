"""What the machine has left: host memory, cgroup limits, NVIDIA devices, and one thread that keeps the latest reading.

Nothing here raises when a reading fails: it is `Unknown`, with the reason. The names load on first use: `retry` only
wants to know what an out-of-memory error looks like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlguard_nb.devices.machine import LocalMachine, Machine, current, install
    from mlguard_nb.devices.readings import (
        Ceiling,
        Gpu,
        GpuProcess,
        Ram,
        Reading,
        Unknown,
        headroom,
        known,
        limit_in_bytes,
        tightest,
    )
    from mlguard_nb.devices.sampler import Sampler, shared

__all__ = [
    "Ceiling",
    "Gpu",
    "GpuProcess",
    "LocalMachine",
    "Machine",
    "Ram",
    "Reading",
    "Sampler",
    "Unknown",
    "current",
    "headroom",
    "install",
    "known",
    "limit_in_bytes",
    "shared",
    "tightest",
]

_HOME_OF = {
    **dict.fromkeys(("LocalMachine", "Machine", "current", "install"), "machine"),
    **dict.fromkeys(("Sampler", "shared"), "sampler"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME_OF.get(name, 'readings')}"), name)
    globals()[name] = value
    return value
