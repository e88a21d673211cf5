"""What processes hold on each device, as far as the driver tells and as far as processes can be seen from here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlguard_nb.devices.readings import Gpu, GpuProcess, Unknown
from mlguard_nb.server.processes import Owner
from mlguard_nb.telemetry.wire import Held, Measured

__all__ = ["OnGpus"]

_FOREIGN = (
    "the driver names processes that cannot be seen from here; start the container with --pid=host to tell them apart"
)


@dataclass(frozen=True, slots=True)
class OnGpus:
    """The devices with the processes on them, and whose each process is. No devices where nobody knows of any."""

    gpus: tuple[Gpu, ...]
    processes: tuple[GpuProcess, ...] | Unknown
    owners: dict[int, Owner]

    @classmethod
    def seen(
        cls,
        gpus: tuple[Gpu, ...] | Unknown,
        processes: tuple[GpuProcess, ...] | Unknown,
        owner: Callable[[int], Owner],
    ) -> OnGpus:
        """What the driver told, with `owner` asked once for each process."""
        pids = set() if isinstance(processes, Unknown) else {process.pid for process in processes}
        return cls(() if isinstance(gpus, Unknown) else gpus, processes, {pid: owner(pid) for pid in pids})

    def held(self, pids: frozenset[int], *, seen_only: bool = False) -> tuple[Held, ...]:
        """What `pids` hold together on each device. Where they hold nothing that can be seen but others cannot be told
        apart, that is not known; with `seen_only` it is nothing.
        """
        return tuple(Held(gpu.uuid, self._used(gpu.uuid, pids, seen_only)) for gpu in self.gpus)

    def _used(self, uuid: str, pids: frozenset[int], seen_only: bool) -> Measured:
        if isinstance(self.processes, Unknown):
            return Measured(None, self.processes.reason)
        here = [process for process in self.processes if process.uuid == uuid]
        mine = [process.used_bytes for process in here if process.pid in pids]
        unknown = next((used for used in mine if isinstance(used, Unknown)), None)
        if unknown is not None:
            return Measured(None, unknown.reason)
        if not mine and not seen_only and any(self.owners[process.pid] == "absent" for process in here):
            return Measured(None, _FOREIGN)
        return Measured(sum(used for used in mine if not isinstance(used, Unknown)))
