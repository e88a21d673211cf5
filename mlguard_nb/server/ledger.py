"""Who holds the memory: kernels, this server, other users and the rest, so that each column adds up to its device."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from mlguard_nb.devices import frameworks
from mlguard_nb.devices.readings import Gpu, GpuProcess, Reading, Unknown
from mlguard_nb.runtime.wire_readings import measured
from mlguard_nb.server.on_gpus import OnGpus
from mlguard_nb.telemetry.wire import Held, Holders, KernelNow, Measured, OtherNow

if TYPE_CHECKING:
    from mlguard_nb.server.kernels import KernelFacts
    from mlguard_nb.server.processes import Owner

__all__ = ["Processes", "holders"]

_NOT_LOOKED_AT = "the memory of other users' processes is not looked at"


class Processes(Protocol):
    """What the ledger asks of the process table."""

    def family(self, pid: int) -> frozenset[int]:
        """A process with its children."""
        ...

    def memory(self, pids: frozenset[int]) -> Measured:
        """Bytes that these processes hold together."""
        ...

    def owner(self, pid: int) -> Owner:
        """Whose process it is."""
        ...

    def environment(self, pid: int) -> Mapping[str, str] | None:
        """The environment it was started with."""
        ...


def holders(
    reading: Reading,
    kernels: tuple[KernelFacts, ...],
    gpu_processes: tuple[GpuProcess, ...] | Unknown,
    processes: Processes,
    server_pid: int | None = None,
) -> Holders:
    """The ledger at `reading`. What nobody can be named for is a row of its own, never spread over the others."""
    on_gpus = OnGpus.seen(reading.gpus, gpu_processes, processes.owner)
    gpus, owners = on_gpus.gpus, on_gpus.owners

    families = {kernel.kernel_id: processes.family(kernel.pid) for kernel in kernels if kernel.pid is not None}
    rows = tuple(_kernel(kernel, families.get(kernel.kernel_id), processes, on_gpus) for kernel in kernels)
    taken = frozenset[int]().union(*families.values())
    server = processes.family(os.getpid() if server_pid is None else server_pid) - taken
    others = [OtherNow("server", None, processes.memory(server), on_gpus.held(server, seen_only=True))]

    strangers = frozenset(pid for pid, owner in owners.items() if owner == "other_user" and pid not in taken)
    if strangers:
        held = on_gpus.held(strangers, seen_only=True)
        others.append(OtherNow("other_users", len(strangers), Measured(None, _NOT_LOOKED_AT), held))
    named = frozenset(pid for pid, owner in owners.items() if owner == "mine") - taken - server
    others.append(_rest(reading, rows, others, on_gpus, named))
    if gpus:
        others.append(_not_attributed(gpus, rows, others))
    return Holders("holders", reading.wall, rows, tuple(others))


def _kernel(kernel: KernelFacts, family: frozenset[int] | None, processes: Processes, on_gpus: OnGpus) -> KernelNow:
    blind = Measured(None, kernel.elsewhere)
    return KernelNow(
        kernel_id=kernel.kernel_id,
        name=kernel.name,
        path=kernel.path,
        state=kernel.state,
        last_activity=kernel.last_activity,
        pid=kernel.pid,
        elsewhere=kernel.elsewhere,
        visible=_visible(kernel.pid, processes, on_gpus.gpus),
        ram=blind if family is None else processes.memory(family),
        gpus=tuple(Held(gpu.uuid, blind) for gpu in on_gpus.gpus) if family is None else on_gpus.held(family),
    )


def _visible(pid: int | None, processes: Processes, gpus: tuple[Gpu, ...]) -> tuple[str, ...] | None:
    environment = None if pid is None or not gpus else processes.environment(pid)
    visible = None if environment is None else frameworks.visible_devices(gpus, environment)
    return None if isinstance(visible, Unknown) or visible == tuple(gpu.uuid for gpu in gpus) else visible


def _rest(
    reading: Reading, rows: tuple[KernelNow, ...], others: list[OtherNow], on_gpus: OnGpus, named: frozenset[int]
) -> OtherNow:
    """Everything else: the host memory that no row above holds, and this user's other processes on the devices."""
    used = measured(reading.ram.used_bytes)
    if used.value is None:
        return OtherNow("rest", None, used, on_gpus.held(named, seen_only=True))
    everybody: tuple[KernelNow | OtherNow, ...] = (*rows, *others)
    attributed = sum(row.ram.value or 0 for row in everybody)
    return OtherNow("rest", None, Measured(max(0, used.value - attributed)), on_gpus.held(named, seen_only=True))


def _not_attributed(gpus: tuple[Gpu, ...], rows: tuple[KernelNow, ...], others: list[OtherNow]) -> OtherNow:
    """Device memory without an owner: the driver's own reserve, and processes that cannot be seen from here."""
    everybody: tuple[KernelNow | OtherNow, ...] = (*rows, *others)
    left = []
    for gpu in gpus:
        used = measured(gpu.used_bytes)
        if used.value is not None:
            found = [held.used.value for row in everybody for held in row.gpus if held.uuid == gpu.uuid]
            used = Measured(max(0, used.value - sum(value for value in found if value is not None)))
        left.append(Held(gpu.uuid, used))
    return OtherNow("not_attributed", None, Measured(0), tuple(left))
