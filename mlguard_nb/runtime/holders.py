"""Who holds memory, for the text of a refusal. That takes up to tenths of a second: done every two seconds at most."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from mlguard_nb import clock, devices
from mlguard_nb.devices.readings import Gpu, GpuProcess, Unknown, known
from mlguard_nb.errors import Holder

__all__ = ["gpu_name", "gpu_processes", "holders_of"]

T = TypeVar("T")

_MOST = 3
_GOOD_SECONDS = 2.0
_PATIENCE_SECONDS = 2.0
_lock = threading.Lock()
# By what was asked: the machine that was asked, when, and what it said.
_said: dict[str, tuple[devices.Machine, float, tuple[Any, ...]]] = {}
_looks: dict[str, threading.Thread] = {}


def holders_of(device: str) -> tuple[Holder, ...]:
    """The processes that hold most of `device` ("RAM", or a device's name as the reading gives it), this one first.

    The answer may be two seconds old, and is empty where none came in two seconds.
    """
    return _told(device, lambda: _of_ram() if device == "RAM" else _of_gpu(device))


def gpu_processes() -> tuple[GpuProcess, ...]:
    """Who is on the devices, as the driver tells; as old as two seconds, and empty where it does not say."""
    return _told("processes", _on_gpus)


def _told(key: str, look: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
    """What `look` finds, or found less than two seconds ago.

    A service that is short of memory refuses many calls, and must not spend its time on looking at every process for
    each of them. While one caller looks, two seconds at most, the others take the old answer, or none.
    """
    before = _answer(key)
    if before is not None and clock.SYSTEM.now() - before[0] < _GOOD_SECONDS:
        return before[1]
    with _lock:
        under_way = _looks.get(key)
        if under_way is not None and under_way.is_alive():
            return () if before is None else before[1]
        thread = _looks[key] = threading.Thread(target=_look, args=(key, look), name="mlguard-holders", daemon=True)
        with contextlib.suppress(RuntimeError):  # the interpreter is ending, or the process may have no more threads
            thread.start()
    if thread.ident is not None:
        thread.join(_PATIENCE_SECONDS)
    now = _answer(key)
    return () if now is None else now[1]


def _answer(key: str) -> tuple[float, tuple[Any, ...]] | None:
    """When this machine last answered, and what."""
    said = _said.get(key)
    return said[1:] if said is not None and said[0] is devices.current() else None


def _look(key: str, look: Callable[[], tuple[Any, ...]]) -> None:
    machine = devices.current()
    found = look()
    _said[key] = machine, clock.SYSTEM.now(), found


def _on_gpus() -> tuple[GpuProcess, ...]:
    processes = devices.current().gpu_processes()
    return () if isinstance(processes, Unknown) else processes


def _of_ram() -> tuple[Holder, ...]:
    try:
        import psutil
    except ImportError:
        return ()
    found: list[tuple[int, Any]] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it has ended, or may not be looked at
            found.append((process.memory_info().rss, process))
    found.sort(key=lambda pair: (pair[1].pid != os.getpid(), -pair[0]))
    return tuple(Holder(_named(process.pid, _name(process)), rss) for rss, process in found[:_MOST])


def _name(process: Any) -> str | None:
    import psutil

    try:
        name: str = process.name()
    except psutil.Error:
        return None
    return name


def _of_gpu(device: str) -> tuple[Holder, ...]:
    gpus, processes = devices.current().gpus(), _on_gpus()
    if isinstance(gpus, Unknown):
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


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _said.clear()
    _looks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
