"""What the machine has left: host memory, cgroup limits, NVIDIA devices, and one thread that keeps the latest reading.

Nothing here raises when a reading fails: it is `Unknown`, with the reason.
"""

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
