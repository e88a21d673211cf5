"""Who holds it: columns add up, strangers are counted and not named, and what cannot be told apart is a row of its own."""

from __future__ import annotations

from collections.abc import Mapping

from mlguard_nb.devices.readings import GpuProcess, Unknown
from mlguard_nb.server.kernels import KernelFacts
from mlguard_nb.server.ledger import holders
from mlguard_nb.server.processes import Owner
from mlguard_nb.telemetry.wire import Holders, Measured, OtherNow
from mlguard_nb.testing import FakeDevices, fake_gpu
from tests.server.conftest import GIB

KERNEL, CHILD, OTHER_KERNEL, SERVER, STRANGER, SCRIPT = 100, 101, 200, 1, 900, 950
UUID = fake_gpu().uuid


class Table:
    """Processes made of numbers: two kernels, the server, a stranger, and one that only the driver can see."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self.start_environment = environment

    def family(self, pid: int) -> frozenset[int]:
        return frozenset({KERNEL, CHILD}) if pid == KERNEL else frozenset({pid})

    def memory(self, pids: frozenset[int]) -> Measured:
        sizes = {KERNEL: 2, CHILD: 1, OTHER_KERNEL: 1, SERVER: 0.5}
        return Measured(sum(sizes[pid] for pid in pids) * GIB)

    def owner(self, pid: int) -> Owner:
        return "other_user" if pid == STRANGER else "absent" if pid > STRANGER + 50 else "mine"

    def environment(self, pid: int) -> Mapping[str, str] | None:
        return self.start_environment


def kernel(kernel_id: str, pid: int | None) -> KernelFacts:
    elsewhere = None if pid else "this kernel runs on another host"
    return KernelFacts(kernel_id, f"{kernel_id}.ipynb", f"{kernel_id}.ipynb", "idle", 0.0, pid, elsewhere)


def look(
    *processes: GpuProcess | Unknown, table: Table | None = None, kernels: tuple[KernelFacts, ...] = ()
) -> Holders:
    machine = FakeDevices(ram_used=6 * GIB, ram_limit=16 * GIB, gpus=(fake_gpu(total=80 * GIB, used=16 * GIB),))
    told = processes[0] if processes and isinstance(processes[0], Unknown) else processes
    both = kernels or (kernel("churn", KERNEL), kernel("rag", OTHER_KERNEL))
    return holders(machine.read(), both, told, table or Table(), server_pid=SERVER)  # type: ignore[arg-type]


def row(found: Holders, who: str) -> OtherNow:
    return next(other for other in found.others if other.who == who)


def on_gpu(pid: int, gib: float) -> GpuProcess:
    return GpuProcess(pid, UUID, int(gib * GIB))


def test_both_columns_add_up_to_the_device() -> None:
    """A kernel counts with its children; everything that nobody holds is in the last rows."""
    found = look(on_gpu(CHILD, 12), on_gpu(OTHER_KERNEL, 2), on_gpu(STRANGER, 1))
    rows = [*found.kernels, *found.others]
    assert found.kernels[0].ram == Measured(3 * GIB)
    assert found.kernels[0].gpus[0].used == Measured(12 * GIB)
    assert sum(one.ram.value or 0 for one in rows) == 6 * GIB
    assert sum(one.gpus[0].used.value or 0 for one in rows) == 16 * GIB
    assert row(found, "not_attributed").gpus[0].used == Measured(1 * GIB)


def test_a_stranger_is_counted_and_never_measured() -> None:
    found = look(on_gpu(STRANGER, 1))
    strangers = row(found, "other_users")
    assert strangers.count == 1
    assert strangers.ram.value is None
    assert strangers.gpus[0].used == Measured(1 * GIB)


def test_processes_of_another_pid_namespace_are_not_spread_over_the_kernels() -> None:
    """A kernel might be one of the processes that only the driver sees: its use is unknown, with the way out."""
    found = look(on_gpu(5000, 14))
    assert found.kernels[0].gpus[0].used.value is None
    assert "--pid=host" in str(found.kernels[0].gpus[0].used.reason)
    assert row(found, "not_attributed").gpus[0].used == Measured(16 * GIB)


def test_a_driver_that_does_not_tell_is_not_zero() -> None:
    reason = Unknown("the driver refuses its processes to this user")
    found = look(reason)
    assert found.kernels[0].gpus[0].used == Measured(None, reason.reason)
    held = look(GpuProcess(KERNEL, UUID, Unknown("not told")))
    assert held.kernels[0].gpus[0].used == Measured(None, "not told")


def test_a_kernel_on_another_host_has_no_numbers_here() -> None:
    found = look(kernels=(kernel("far", None),))
    assert found.kernels[0].ram == Measured(None, "this kernel runs on another host")
    assert found.kernels[0].gpus[0].used.value is None


def test_the_devices_a_kernel_may_use_come_from_its_environment() -> None:
    """CUDA_VISIBLE_DEVICES as the kernel was started with it; without it nothing is restricted."""
    assert look(table=Table({})).kernels[0].visible is None
    assert look(table=Table({"CUDA_VISIBLE_DEVICES": ""})).kernels[0].visible == ()
