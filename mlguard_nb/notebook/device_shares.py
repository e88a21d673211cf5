"""The share of each GPU that this process may take while a guarded cell runs: the device's twin of RLIMIT_DATA.

A framework that reaches its share raises its own out-of-memory error, which leaves the kernel and the other users of
the device alone. Only torch and CuPy have such a setting, and only where the program has imported them itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mlguard_nb.notebook.facts import DeviceFacts

__all__ = ["Lowered", "lower", "restore"]


@dataclass(frozen=True, slots=True)
class Lowered:
    """One device whose share was lowered; `undo` gives it back."""

    uuid: str
    used_bytes: int
    undo: Callable[[], None]


def lower(devices: Iterable[DeviceFacts]) -> tuple[Lowered, ...]:
    """Keep this process below the stop of every GPU that has one: what others use is theirs."""
    lowered: list[Lowered] = []
    for device in devices:
        if device.key in ("ram", "gpu") or device.stop is None or not device.limit or device.used is None:
            continue
        undone = (_torch(device), _cupy(device))
        lowered += [Lowered(device.key, device.used, undo) for undo in undone if undo is not None]
    return tuple(lowered)


def restore(lowered: Iterable[Lowered]) -> None:
    """Give every share back."""
    for one in lowered:
        one.undo()


def _room(device: DeviceFacts, reserved: int) -> int:
    """Bytes below the stop that nobody else holds, for a framework that has `reserved` of them already.

    What it has in its pool without a live tensor in it is its own too.
    """
    assert device.stop is not None
    assert device.used is not None
    assert device.limit is not None
    return max(0, min(device.limit, device.stop - max(0, device.used - reserved)))


def _torch(device: DeviceFacts) -> Callable[[], None] | None:
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    for index in range(torch.cuda.device_count()):
        if _same(str(torch.cuda.get_device_properties(index).uuid), device.key):
            share = _room(device, int(torch.cuda.memory_reserved(index))) / (device.limit or 1)
            ask = getattr(torch.cuda, "get_per_process_memory_fraction", None)
            before = float(ask(index)) if ask is not None else 1.0
            torch.cuda.set_per_process_memory_fraction(min(share, before), index)
            return lambda: torch.cuda.set_per_process_memory_fraction(before, index)
    return None


def _cupy(device: DeviceFacts) -> Callable[[], None] | None:
    cupy: Any = sys.modules.get("cupy")
    if cupy is None:
        return None
    number = cupy.cuda.Device().id
    found = cupy.cuda.runtime.getDeviceProperties(number).get("uuid", b"")
    if not _same(_text(found), device.key):
        return None
    pool = cupy.get_default_memory_pool()
    size = max(1, _room(device, int(pool.total_bytes())))  # 0 would mean: no limit
    before = int(pool.get_limit())
    pool.set_limit(size=size if before == 0 else min(size, before))
    return lambda: pool.set_limit(size=before)


def _text(uuid: bytes | str) -> str:
    """A UUID as the driver writes it; CUDA gives 16 bytes."""
    if isinstance(uuid, str):
        return uuid
    digits = bytes(uuid)[:16].hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _same(one: str, other: str) -> bool:
    return one.removeprefix("GPU-").lower() == other.removeprefix("GPU-").lower()
