"""Who holds memory, for the text of a refusal. Milliseconds: only where a call is refused."""

from __future__ import annotations

import os
from typing import Any

from mlguard_nb import devices
from mlguard_nb.devices.readings import Gpu, Unknown, known
from mlguard_nb.errors import Holder

__all__ = ["gpu_name", "holders_of"]

_MOST = 3


def holders_of(device: str) -> tuple[Holder, ...]:
    """The processes that hold most of `device` ("RAM", or a device's name as the reading gives it), this one first."""
    return _of_ram() if device == "RAM" else _of_gpu(device)


def _of_ram() -> tuple[Holder, ...]:
    try:
        import psutil
    except ImportError:
        return ()
    found: list[tuple[int, Any]] = []
    for process in psutil.process_iter(["pid", "name", "memory_info"]):
        info = process.info["memory_info"]
        if info is not None:
            found.append((info.rss, process.info))
    found.sort(key=lambda pair: (pair[1]["pid"] != os.getpid(), -pair[0]))
    return tuple(Holder(_named(info["pid"], info["name"]), rss) for rss, info in found[:_MOST])


def _of_gpu(device: str) -> tuple[Holder, ...]:
    machine = devices.current()
    gpus, processes = machine.gpus(), machine.gpu_processes()
    if isinstance(gpus, Unknown) or isinstance(processes, Unknown):
        return ()
    uuids = {
        gpu.uuid for gpu in gpus if device in (gpu.uuid, f"GPU {gpu.index} ({gpu.name})", f"{gpu.uuid} ({gpu.name})")
    }
    held = [process for process in processes if process.uuid in uuids]
    held.sort(key=lambda process: (process.pid != os.getpid(), -(known(process.used_bytes) or 0)))
    return tuple(Holder(_named(process.pid, None), known(process.used_bytes)) for process in held[:_MOST])


def gpu_name(gpu: Gpu) -> str:
    """How a refusal names a device."""
    return f"{gpu.uuid if gpu.mig else f'GPU {gpu.index}'} ({gpu.name})"


def _named(pid: int, name: str | None) -> str:
    if pid == os.getpid():
        return "this process"
    return f"{name} (process {pid})" if name else f"process {pid}"
