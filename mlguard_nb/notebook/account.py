"""A kernel's own account of its machine, for pages whose server cannot look there: another host, foreign process ids.

A page opens a comm to `TARGET` and gets a `KernelAccount` each second until it closes it, also while a cell runs.
Nothing is sampled for it before the first page asks.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlguard_nb.devices.machine import Machine
    from mlguard_nb.devices.readings import Gpu, Reading
    from mlguard_nb.devices.sampler import Sampler
    from mlguard_nb.telemetry.wire import Held, KernelAccount

__all__ = ["TARGET", "Accounts", "account", "offer", "withdraw"]

TARGET = "mlguard.account"
_PERIOD_SECONDS = 1.0
_MOST_PAGES = 32
_HERE = "_mlguard_accounts"


def account(reading: Reading, machine: Machine) -> KernelAccount:
    """What this process holds of `reading`: as the driver says, else as its frameworks count."""
    from mlguard_nb.devices.readings import Unknown
    from mlguard_nb.notebook.peaks import own_bytes
    from mlguard_nb.runtime.wire_readings import sample
    from mlguard_nb.telemetry.wire import KernelAccount, Measured

    gpus = () if isinstance(reading.gpus, Unknown) else reading.gpus
    own = own_bytes()
    ram = Measured(own, None if own is not None else "this system does not say what a process holds")
    return KernelAccount("account", socket.gethostname(), sample(reading), ram, _held(gpus, machine))


def _held(gpus: tuple[Gpu, ...], machine: Machine) -> tuple[Held, ...]:
    from mlguard_nb.devices.frameworks import allocated_bytes
    from mlguard_nb.devices.readings import Unknown
    from mlguard_nb.runtime.wire_readings import measured
    from mlguard_nb.telemetry.wire import Held

    processes = machine.gpu_processes() if gpus else ()
    named = () if isinstance(processes, Unknown) else processes
    mine = {process.uuid: process.used_bytes for process in named if process.pid == os.getpid()}
    # The driver of a container without --pid=host counts this process under a number of its own.
    return tuple(Held(gpu.uuid, measured(mine.get(gpu.uuid, allocated_bytes(gpu.uuid)))) for gpu in gpus)


class Accounts:
    """Tells every page that has opened a comm; the sampler runs only while one has."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._comms: tuple[Any, ...] = ()
        self._sampler: Sampler | None = None
        self._changing = threading.Lock()

    @property
    def is_running(self) -> bool:
        """Whether anybody listens."""
        return self._sampler is not None

    def opened(self, comm: Any, message: Any) -> None:
        """A page asks: it is told each second from now on, and no longer over the comm it had before a reload."""
        from mlguard_nb.devices.sampler import Sampler

        comm.on_close(lambda _message: self.closed(comm))
        before = _instead_of(message)
        with self._changing:
            # A page that crashed never closes its comm: the oldest make way, and one that still listens asks again.
            gone = tuple(old for old in self._comms if old.comm_id == before) or self._comms[: 1 - _MOST_PAGES]
            self._comms = (*(old for old in self._comms if old not in gone), comm)
            if self._sampler is None:
                self._sampler = Sampler(period=_PERIOD_SECONDS)
                self._sampler.subscribe(self.tell)
                self._sampler.start()
        for old in gone:
            old.close()

    def closed(self, comm: Any) -> None:
        """The page has gone; the last one to go ends the sampling."""
        with self._changing:
            self._comms = tuple(other for other in self._comms if other is not comm)
            if not self._comms and self._sampler is not None:
                self._sampler.stop()
                self._sampler = None

    def tell(self, reading: Reading) -> None:
        """Send what `reading` says to every page."""
        from mlguard_nb.devices.machine import current
        from mlguard_nb.telemetry.wire import as_json

        if os.getpid() != self._owner:  # a forked child samples on, and is not this kernel
            return
        message = as_json(account(reading, current()))
        for comm in self._comms:
            comm.send(message)

    def close(self) -> None:
        """End every conversation."""
        for comm in self._comms:
            comm.close()
            self.closed(comm)


def _instead_of(message: Any) -> str | None:
    """The comm that the page had before, as an `Ask` says; None of any other message."""
    data = message.get("content", {}).get("data")
    before = data.get("instead_of") if isinstance(data, dict) and data.get("kind") == "ask" else None
    return before if isinstance(before, str) else None


def offer(ip: Any) -> None:
    """Let pages ask the kernel of the shell `ip`; a terminal has none, and nobody asks there."""
    manager = getattr(getattr(ip, "kernel", None), "comm_manager", None)
    if manager is not None:
        accounts = Accounts()
        manager.register_target(TARGET, accounts.opened)
        setattr(ip, _HERE, accounts)


def withdraw(ip: Any) -> None:
    """No longer."""
    accounts = getattr(ip, _HERE, None)
    if accounts is not None:
        ip.kernel.comm_manager.unregister_target(TARGET, accounts.opened)
        accounts.close()
        delattr(ip, _HERE)
