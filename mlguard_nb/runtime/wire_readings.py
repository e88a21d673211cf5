"""A machine's reading as the message a page gets: every Unknown becomes null with its reason."""

from __future__ import annotations

from functools import lru_cache

from mlguard_nb.devices.readings import Gpu, Ram, Reading, Unknown
from mlguard_nb.telemetry.wire import DevicePoint, GpuNow, Holders, KernelPoint, Measured, Point, RamNow, Sample

__all__ = ["measured", "point", "sample"]


@lru_cache(maxsize=256)
def measured(value: float | Unknown) -> Measured:
    """The number, or null and why. Sizes and limits, reasons and most temperatures are the same from look to look."""
    return Measured(None, value.reason) if isinstance(value, Unknown) else Measured(value)


def sample(reading: Reading) -> Sample:
    """All devices of `reading`; a machine whose devices are Unknown has none, and says why."""
    gpus, reason = ((), reading.gpus.reason) if isinstance(reading.gpus, Unknown) else (reading.gpus, None)
    return Sample("sample", reading.wall, _ram(reading.ram), tuple(_gpu(gpu) for gpu in gpus), reason)


def point(now: Sample, holders: Holders | None) -> Point:
    """One second of the history: `now`, and what each kernel held when last looked at (None: not looked at)."""
    kernels = () if holders is None else holders.kernels
    return Point(
        now.wall,
        now.ram.used.value,
        tuple(DevicePoint(gpu.uuid, gpu.used.value, gpu.utilisation.value) for gpu in now.gpus),
        tuple(
            KernelPoint(
                kernel.kernel_id,
                kernel.ram.value,
                tuple(DevicePoint(held.uuid, held.used.value, None) for held in kernel.gpus),
            )
            for kernel in kernels
        ),
    )


def _ram(ram: Ram) -> RamNow:
    return RamNow(measured(ram.used_bytes), measured(ram.limit_bytes), ram.source)


def _gpu(gpu: Gpu) -> GpuNow:
    return GpuNow(
        uuid=gpu.uuid,
        index=gpu.index,
        name=gpu.name,
        mig=gpu.mig,
        used=measured(gpu.used_bytes),
        total=measured(gpu.total_bytes),
        utilisation=measured(gpu.utilisation),
        temperature=measured(gpu.temperature_celsius),
        power=measured(gpu.power_watts),
        power_limit=measured(gpu.power_limit_watts),
    )
