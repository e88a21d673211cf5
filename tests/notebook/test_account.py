"""What a kernel tells pages whose server cannot look at it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mlguard_nb.devices.readings import Gpu, GpuProcess
from mlguard_nb.notebook.account import Accounts, account
from mlguard_nb.telemetry.wire import Ask, as_json
from mlguard_nb.testing import FakeDevices

GIB = 2**30
UUID = "GPU-1"
MARKED = 7.0


def one_gpu(**more: Any) -> FakeDevices:
    gpu = Gpu(uuid=UUID, index=0, name="A100", used_bytes=16 * GIB, total_bytes=80 * GIB)
    return FakeDevices(ram_used="5GiB", ram_limit="16GiB", gpus=(gpu,), **more)


class Comm:
    """A comm as ipykernel hands it over."""

    def __init__(self, comm_id: str = "") -> None:
        self.comm_id = comm_id
        self.sent: list[dict[str, Any]] = []
        self.end: Callable[[Any], None] | None = None
        self.is_closed = False

    def on_close(self, callback: Callable[[Any], None]) -> None:
        self.end = callback

    def send(self, data: dict[str, Any]) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.is_closed = True


def is_told(comm: Comm) -> bool:
    """Whether it was told of the reading at MARKED, whatever the sampler told it besides."""
    return any(told["sample"]["wall"] == MARKED for told in comm.sent)


def test_the_driver_is_believed_where_it_names_this_process() -> None:
    with one_gpu(processes=(GpuProcess(os.getpid(), UUID, 12 * GIB), GpuProcess(1, UUID, GIB))) as machine:
        told = account(machine.read(), machine)
    assert [(held.uuid, held.used.value) for held in told.gpus] == [(UUID, 12 * GIB)]
    assert told.ram.value is not None
    assert told.ram.value > 2**20
    assert told.sample.ram.limit.value == 16 * GIB


def test_what_nobody_counts_is_null_with_a_reason() -> None:
    """The driver names only processes that are not here, and no framework is loaded: not 0."""
    with one_gpu(processes=(GpuProcess(4_000_000, UUID, 12 * GIB),)) as machine:
        told = account(machine.read(), machine)
    assert told.gpus[0].used.value is None
    assert told.gpus[0].used.reason


def test_it_samples_only_while_a_page_listens() -> None:
    accounts = Accounts()
    assert not accounts.is_running
    one, other = Comm(), Comm()
    with one_gpu() as machine:
        accounts.opened(one, {})
        accounts.opened(other, {})
        assert accounts.is_running
        accounts.tell(machine.read())
        assert one.sent[-1]["kind"] == other.sent[-1]["kind"] == "account"
        assert one.sent[-1]["sample"] == as_json(account(machine.read(), machine))["sample"] | {
            "wall": one.sent[-1]["sample"]["wall"]
        }
        assert one.end is not None
        one.end({})
        heard = len(one.sent)
        accounts.tell(machine.read())
        assert len(one.sent) == heard
        assert accounts.is_running
        accounts.close()
    assert not accounts.is_running


def test_a_page_that_was_reloaded_is_told_once() -> None:
    """Its goodbye may never have left the browser; the page that comes next names the comm it stands for."""
    accounts = Accounts()
    other, before, after = Comm("other"), Comm("before"), Comm("after")
    with one_gpu() as machine:
        accounts.opened(other, {})
        accounts.opened(before, {"content": {"data": as_json(Ask("ask", None))}})
        accounts.opened(after, {"content": {"data": as_json(Ask("ask", "before"))}})
        assert [before.is_closed, other.is_closed] == [True, False]
        accounts.tell(machine.read()._replace(wall=MARKED))
        assert [is_told(comm) for comm in (other, before, after)] == [True, False, True]
        accounts.close()


@pytest.mark.parametrize(
    "data", [None, [], "ask", {"kind": "ask"}, {"kind": "ask", "instead_of": 7}, {"instead_of": ""}]
)
def test_a_page_that_asks_in_another_way_is_told_too(data: object) -> None:
    accounts, quiet, comm = Accounts(), Comm(), Comm("7")
    with one_gpu() as machine:
        accounts.opened(quiet, {})
        accounts.opened(comm, {"content": {"data": data}})
        accounts.tell(machine.read()._replace(wall=MARKED))
        accounts.close()
    assert is_told(quiet)
    assert is_told(comm)


def test_a_thousand_pages_that_come_and_go_leave_nothing() -> None:
    """No thread stays; of pages that never say that they go, the newest are told and the others let go."""
    accounts, before = Accounts(), threading.enumerate()
    with one_gpu() as machine:
        for _ in range(1000):
            comm = Comm()
            accounts.opened(comm, {})
            assert comm.end is not None
            comm.end({})
        assert not accounts.is_running
        crashed = [Comm() for _ in range(1000)]
        for comm in crashed:
            accounts.opened(comm, {})
        accounts.tell(machine.read())
        assert [comm.is_closed for comm in crashed] == [True] * 968 + [False] * 32
        assert all(comm.sent for comm in crashed[-32:])
        accounts.close()
    born = [thread for thread in threading.enumerate() if thread not in before]
    for thread in born:
        thread.join(60)
    assert [thread.name for thread in born if thread.is_alive()] == []


def test_a_forked_child_tells_nothing() -> None:
    """Samplers go on in a forked child; its numbers are not those of the kernel."""
    accounts, comm = Accounts(), Comm()
    with one_gpu() as machine:
        reader, writer = os.pipe()
        accounts._comms = (comm,)
        child = os.fork()
        if child == 0:
            accounts.tell(machine.read())
            os.write(writer, str(len(comm.sent)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 10) == b"0"
        accounts.tell(machine.read())
    assert len(comm.sent) == 1
