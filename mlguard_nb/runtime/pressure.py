"""The one comparison of a memory policy with a reading: is there room, and if not, which device is short."""

from __future__ import annotations

import logging

from mlguard_nb import devices
from mlguard_nb.devices.frameworks import visible_devices
from mlguard_nb.devices.readings import Gpu, Ram, Reading, Unknown, limit_in_bytes
from mlguard_nb.errors import DeviceUnavailable, MemoryPressure
from mlguard_nb.policy.values import MemoryPolicy
from mlguard_nb.runtime.holders import gpu_name
from mlguard_nb.units import format_gib

__all__ = ["RAM", "is_hopeless", "never_fits", "pressure", "watched_gpus"]

_log = logging.getLogger("mlguard.memory")
RAM = "RAM"
_blind: set[str] = set()


def pressure(
    policy: MemoryPolicy,
    reading: Reading | None = None,
    *,
    need: int = 0,
    reserved: dict[str, int] | None = None,
    margin: float = 0.0,
) -> MemoryPressure | None:
    """Why a call that asks for `need` bytes has no room, None where it has.

    `reading` is the sampler's latest where none is given. `reserved` are bytes promised to other calls, by device
    ("RAM" or a UUID). `margin` is the share of each limit that must be free besides. `need` counts against the
    devices where the policy speaks of them, else against RAM. What nobody can read is no reason to stop: it is
    warned about once. DeviceUnavailable only where the policy names a device that is not there.
    """
    reading = reading or devices.shared().latest
    reserved = reserved or {}
    wants_gpu = policy.gpu is not None or policy.device is not None
    short = None
    if policy.ram is not None or (policy.need is not None and not wants_gpu):
        asked = 0 if wants_gpu else need
        limit = 1.0 if policy.ram is None else policy.ram
        short = _short_of_ram(limit, reading.ram, asked, reserved.get(RAM, 0), margin)
    if short is None and wants_gpu:
        limit = 1.0 if policy.gpu is None else policy.gpu
        for gpu in watched_gpus(policy, reading.gpus):
            short = _short_of_gpu(limit, gpu, need, reserved.get(gpu.uuid, 0), margin)
            if short is not None:
                break
    return short


def _short_of_ram(limit: float, ram: Ram, need: int, reserved: int, margin: float) -> MemoryPressure | None:
    used, size, left = ram.used_bytes, limit_in_bytes(limit, ram.limit_bytes), ram.headroom_bytes
    if isinstance(used, Unknown) or isinstance(size, Unknown) or isinstance(left, Unknown):
        _warn_blind(RAM, next(value for value in (used, size, left) if isinstance(value, Unknown)))
        return None
    promised = need + reserved
    if used + promised + _spare(size, need, margin) <= size and promised <= left:
        return None
    return _short(RAM, need, min(left, max(0, size - used)), size, used)


def _short_of_gpu(limit: float, gpu: Gpu, need: int, reserved: int, margin: float) -> MemoryPressure | None:
    used, size = gpu.used_bytes, limit_in_bytes(limit, gpu.total_bytes)
    for value in (used, size):
        if isinstance(value, Unknown):
            _warn_blind(f"GPU {gpu.index}", value)
    if isinstance(used, Unknown) or isinstance(size, Unknown):
        return None
    if used + need + reserved + _spare(size, need, margin) <= size:
        return None
    return _short(gpu_name(gpu), need, max(0, size - used), size, used)


def _spare(size: int, need: int, margin: float) -> float:
    """Bytes that must be free besides. Of what a large `need` leaves it asks for a part, so that it can be had."""
    return min(size * margin, (size - need) * max(margin, 0.5))


def _short(device: str, need: int, free: int, limit: int, used: int) -> MemoryPressure:
    short = MemoryPressure(device, need or None, free, limit, used=used)
    if not is_hopeless(short):
        return short
    return MemoryPressure(device, need, free, limit, used=used, next_step=never_fits(need, limit))


def is_hopeless(short: MemoryPressure) -> bool:
    """Whether waiting is in vain: what the call itself needs is more than the limit."""
    return short.needed is not None and short.limit is not None and short.needed > short.limit


def never_fits(asked: int, stop: int) -> str:
    """The next step where `asked` bytes are more than the `stop`, whoever else lets go of memory."""
    return f"ask for less: asked for {format_gib(asked)}; it can never fit below the stop of {format_gib(stop)}"


def watched_gpus(policy: MemoryPolicy, gpus: tuple[Gpu, ...] | Unknown) -> tuple[Gpu, ...]:
    """The devices a policy speaks of: the one it names, else all that this process may use."""
    if isinstance(gpus, Unknown):
        if policy.device is not None and "not been read" not in gpus.reason:
            raise DeviceUnavailable(str(policy.device), gpus.reason)
        _warn_blind("the GPUs", gpus)
        return ()
    visible = visible_devices(gpus)
    if isinstance(visible, Unknown):
        _warn_blind("CUDA_VISIBLE_DEVICES", visible)
        chosen = gpus
    else:
        by_uuid = {gpu.uuid: gpu for gpu in gpus}
        chosen = tuple(by_uuid[uuid] for uuid in visible)
    if policy.device is None:
        return chosen
    return (_named(policy.device, chosen),)


def _named(device: int | str, visible: tuple[Gpu, ...]) -> Gpu:
    if isinstance(device, int) or device.isdigit():
        index = int(device)
        if index >= len(visible):
            raise DeviceUnavailable(str(device), f"this process sees {len(visible)} device(s), counted from 0")
        return visible[index]
    wanted = device.lower().removeprefix("gpu-")
    found = [gpu for gpu in visible if gpu.uuid.lower().removeprefix("gpu-").startswith(wanted)]
    if len(found) != 1:
        raise DeviceUnavailable(device, f"{len(found) or 'no'} visible devices have a UUID that begins so")
    return found[0]


def _warn_blind(what: str, unknown: Unknown) -> None:
    """A limit that cannot be watched: said once for each reason."""
    told = f"{what}: {unknown.reason}"
    if "not been read yet" not in unknown.reason and told not in _blind:
        _blind.add(told)
        _log.warning("memory_guard cannot watch %s. Calls go through.", told)
