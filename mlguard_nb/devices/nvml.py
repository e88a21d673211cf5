"""NVIDIA's own account of its devices, and the only place that speaks to the driver.

Nothing is loaded before the first question. Each number is asked for by itself, so a driver that refuses one (no
permission, not supported, a MIG slice) still gives the others. Memory and utilisation are asked for at each look; which
devices there are, their names, temperature and power once a second, since the driver itself averages over about that.
A driver that is missing, lost or not loaded is asked again later, without a restart.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mlguard_nb import clock
from mlguard_nb.devices.cgroup import in_container
from mlguard_nb.devices.readings import Gpu, GpuProcess, Unknown

__all__ = ["Driver"]

T = TypeVar("T")

# Error codes of nvml.h: they are part of its interface and never change their number.
_NOT_SUPPORTED, _NO_PERMISSION, _NOT_FOUND = 3, 4, 6
_UNINITIALIZED, _DRIVER_NOT_LOADED, _TIMEOUT, _LIBRARY_NOT_FOUND, _FUNCTION_NOT_FOUND = 1, 9, 10, 12, 13
_GPU_IS_LOST, _RESET_REQUIRED, _VERSION_MISMATCH = 15, 16, 18
_SESSION_OVER = frozenset({_UNINITIALIZED, _DRIVER_NOT_LOADED, _GPU_IS_LOST, _RESET_REQUIRED, _VERSION_MISMATCH})

_REASONS = {
    _LIBRARY_NOT_FOUND: "no NVIDIA driver here (libnvidia-ml was not found); {install}",
    _DRIVER_NOT_LOADED: "the NVIDIA driver is installed but not loaded; run nvidia-smi as an administrator "
    "to load it, or reboot",
    _NO_PERMISSION: "the driver refuses {what} to this user; ask the administrator for access to /dev/nvidia*",
    _NOT_SUPPORTED: "this device does not report {what}",
    _FUNCTION_NOT_FOUND: "this driver is too old to report {what}; update it",
    _TIMEOUT: "the driver did not answer in time when asked for {what}; if nvidia-smi hangs too, reset the GPU",
    _GPU_IS_LOST: "the GPU is lost: it no longer answers on its bus; reset it (nvidia-smi -r) or reboot",
    _RESET_REQUIRED: "the GPU must be reset before it answers again (nvidia-smi -r)",
    _VERSION_MISMATCH: "the driver was updated under a running system, library and kernel module differ; reboot",
}
_UNIFIED = "this device shares the machine's memory and has none of its own; look at RAM"
_ON_MIG = "{what} is measured for the whole card, not for a MIG slice"
_DESCRIBE_SECONDS = 1.0
_BUSY = Unknown("the driver has not yet answered an earlier question; if nvidia-smi hangs too, reset the GPU")


class Driver:
    """The NVIDIA driver as it answers now. `retry_seconds` bounds how often a failed start is tried again."""

    def __init__(self, retry_seconds: float = 5.0, patience_seconds: float = 1.0) -> None:
        self._retry_seconds, self._patience_seconds = retry_seconds, patience_seconds
        self._lock = threading.Lock()
        self._nvml: Any = None
        self._owner = 0
        self._failed: tuple[float, Unknown] | None = None
        self._identities: dict[int, tuple[str, str]] = {}
        self._described: tuple[tuple[Gpu, Any], ...] = ()
        self._described_at = float("-inf")

    def gpus(self) -> tuple[Gpu, ...] | Unknown:
        """Every device, MIG slices in place of the card they are cut from; empty where the driver drives none."""
        return self._in_session(lambda: tuple(self._now(gpu, handle) for gpu, handle in self._devices()))

    def processes(self) -> tuple[GpuProcess, ...] | Unknown:
        """Who holds memory on which device: milliseconds a device. PIDs are the host's."""
        return self._in_session(lambda: tuple(self._all_processes()))

    # A session: started when first needed, once a process, ended when the driver says that it is gone.

    def _in_session(self, ask: Callable[[], T]) -> T | Unknown:
        if self._owner != os.getpid():  # a forked child inherits neither the session nor a lock held in its parent
            self._owner, self._lock, self._nvml, self._failed = os.getpid(), threading.Lock(), None, None
            self._forget()
        if not self._lock.acquire(timeout=self._patience_seconds):
            return _BUSY
        try:
            reason = self._start()
            if reason is not None:
                return reason
            try:
                return ask()
            except self._nvml.NVMLError as error:
                unknown = _why(error, "its devices")
                if error.value in _SESSION_OVER:
                    self._end(unknown)
                return unknown
        finally:
            self._lock.release()

    def _start(self) -> Unknown | None:
        if self._nvml is not None:
            return None
        now = clock.current().now()
        if self._failed is not None and 0 <= now - self._failed[0] < self._retry_seconds:
            return self._failed[1]
        try:
            import pynvml
        except ImportError:
            self._failed = now, Unknown("the driver's Python binding is missing: pip install nvidia-ml-py")
            return self._failed[1]
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            self._failed = now, _why(error, "a session")
            return self._failed[1]
        self._nvml, self._failed = pynvml, None
        return None

    def _end(self, reason: Unknown) -> None:
        nvml, self._nvml = self._nvml, None
        self._forget()
        self._failed = clock.current().now(), reason
        with contextlib.suppress(nvml.NVMLError):  # the driver is gone already: nothing is left to shut down
            nvml.nvmlShutdown()

    def _forget(self) -> None:
        """Handles are those of one session, and in the next one another card may have this one's number."""
        self._described, self._described_at = (), float("-inf")

    # Questions, each by itself.

    def _ask(self, what: str, question: Callable[[], T]) -> T | Unknown:
        try:
            return question()
        except self._nvml.NVMLError as error:
            return _why(error, what)

    def _indices(self) -> range:
        return range(self._nvml.nvmlDeviceGetCount())

    def _devices(self) -> tuple[tuple[Gpu, Any], ...]:
        """Each device as described at most a second ago, with its handle; None for a card that did not answer."""
        indices = self._indices()  # at each look: this question is the one that a session which is over fails
        now = clock.SYSTEM.now()
        if now - self._described_at >= _DESCRIBE_SECONDS:
            self._described = tuple(device for index in indices for device in self._card(index))
            self._described_at = now
        return self._described

    def _card(self, index: int) -> Iterator[tuple[Gpu, Any]]:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            slices = list(self._slices(handle))
        except self._nvml.NVMLError as error:
            yield self._silent(index, _why(error, "this device")), None
            return
        if not slices:
            yield self._gpu(handle, index), handle
        for part in slices:
            yield self._slice(part, handle, index), part

    def _now(self, gpu: Gpu, handle: Any) -> Gpu:
        """`gpu` with what changes from look to look."""
        if handle is None:
            return gpu
        total, used, free = self._memory(handle)
        return Gpu(
            gpu.uuid,
            gpu.index,
            gpu.name,
            total,
            used,
            free,
            gpu.utilisation if gpu.mig else self._utilisation(handle),
            gpu.temperature_celsius,
            gpu.power_watts,
            gpu.power_limit_watts,
            gpu.mig,
        )

    def _silent(self, index: int, reason: Unknown) -> Gpu:
        """A card that is there and does not answer: every number is unknown for the same reason."""
        uuid, name = self._identities.get(index, (f"GPU-{index}-unknown", f"GPU {index}"))
        return Gpu(uuid, index, name, reason, reason, reason, reason, reason, reason, reason)

    def _gpu(self, handle: Any, index: int) -> Gpu:
        nvml = self._nvml
        uuid, name = self._identity(handle, index)
        return Gpu(
            uuid,
            index,
            name,
            temperature_celsius=self._temperature(handle),
            power_watts=self._ask("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            power_limit_watts=self._ask("its power limit", lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        )

    def _slice(self, handle: Any, card: Any, index: int) -> Gpu:
        uuid = self._ask("a UUID", lambda: _text(self._nvml.nvmlDeviceGetUUID(handle)))
        name = self._ask("a name", lambda: _text(self._nvml.nvmlDeviceGetName(handle)))
        power = Unknown(_ON_MIG.format(what="power"))
        return Gpu(
            f"MIG-of-{index}-unknown" if isinstance(uuid, Unknown) else uuid,
            index,
            f"MIG slice of GPU {index}" if isinstance(name, Unknown) else name,
            utilisation=Unknown(_ON_MIG.format(what="utilisation")),
            temperature_celsius=self._temperature(card),
            power_watts=power,
            power_limit_watts=power,
            mig=True,
        )

    def _slices(self, card: Any) -> Iterator[Any]:
        nvml = self._nvml
        mode = self._ask("its MIG mode", lambda: nvml.nvmlDeviceGetMigMode(card)[0])
        if isinstance(mode, Unknown) or mode != 1:
            return
        count = self._ask("its MIG slices", lambda: nvml.nvmlDeviceGetMaxMigDeviceCount(card))
        for position in range(0 if isinstance(count, Unknown) else count):
            try:
                yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, position)
            except nvml.NVMLError as error:
                if error.value != _NOT_FOUND:  # places without a slice are normal
                    raise

    def _identity(self, handle: Any, index: int) -> tuple[str, str]:
        """UUID and name, which a card keeps; where it does not say them now, as it said them last."""
        uuid = self._ask("a UUID", lambda: _text(self._nvml.nvmlDeviceGetUUID(handle)))
        name = self._ask("a name", lambda: _text(self._nvml.nvmlDeviceGetName(handle)))
        last_uuid, last_name = self._identities.get(index, (f"GPU-{index}-unknown", f"GPU {index}"))
        identity = last_uuid if isinstance(uuid, Unknown) else uuid, last_name if isinstance(name, Unknown) else name
        self._identities[index] = identity
        return identity

    def _memory(self, handle: Any) -> tuple[int | Unknown, int | Unknown, int | Unknown]:
        """Total, used and free. The driver's own reserve counts as used: nobody else can have it."""
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        except self._nvml.NVMLError as error:
            reason = Unknown(_UNIFIED) if error.value == _NOT_SUPPORTED else _why(error, "its memory")
            return reason, reason, reason
        if not memory.total:  # some unified-memory devices answer with zeros instead of an error
            return Unknown(_UNIFIED), Unknown(_UNIFIED), Unknown(_UNIFIED)
        return memory.total, memory.total - memory.free, memory.free

    def _utilisation(self, handle: Any) -> float | Unknown:
        return self._ask("utilisation", lambda: self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)

    def _temperature(self, handle: Any) -> float | Unknown:
        nvml = self._nvml
        return self._ask("temperature", lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)))

    def _all_processes(self) -> Iterator[GpuProcess]:
        for index in self._indices():
            # A card that does not answer says why among the devices; the others' holders are still told.
            with contextlib.suppress(self._nvml.NVMLError):
                card = self._nvml.nvmlDeviceGetHandleByIndex(index)
                yield from self._holders(list(self._slices(card)) or [card])

    def _holders(self, handles: list[Any]) -> Iterator[GpuProcess]:
        nvml = self._nvml
        for handle in handles:
            uuid = _text(nvml.nvmlDeviceGetUUID(handle))
            seen: dict[int, int | Unknown] = {}
            for question in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
                found = self._ask("its processes", lambda ask=question, on=handle: ask(on))  # type: ignore[misc]
                for process in () if isinstance(found, Unknown) else found:
                    seen[process.pid] = _held(process.usedGpuMemory)
            yield from (GpuProcess(pid, uuid, used) for pid, used in seen.items())


def _held(used: int | None) -> int | Unknown:
    """Bytes a process holds; the driver says "not available" for processes of other PID namespaces and on WDDM."""
    return Unknown("the driver does not tell what this process holds") if used is None else used


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value  # bindings before 11.5 answer with bytes


def _why(error: Any, what: str) -> Unknown:
    """A driver's error as a sentence with a next step; `what` is what was asked for."""
    known = _REASONS.get(error.value)
    install = "install it on the host and start the container with --gpus all" if in_container() else "install it"
    return Unknown(
        known.format(what=what, install=install)
        if known
        else f"the driver answered {str(error)!r} when asked for {what}"
    )
