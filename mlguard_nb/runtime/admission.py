"""Bytes promised to calls that are under way, so that N calls at once cannot all pass the same check."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from mlguard_nb.devices.readings import Reading, known
from mlguard_nb.errors import MemoryPressure

__all__ = ["LEDGER", "Ledger"]


class _Promises:
    """What is promised on one device, and how much of it has been taken since.

    `baseline` is the use that growth is counted from; None until the next reading that knows it.
    """

    def __init__(self) -> None:
        self.total = 0
        self.baseline: int | None = None

    def outstanding(self, used: int | None) -> int:
        """Promised bytes that are not yet in use. What nobody can see being taken counts in full."""
        if used is None:
            return self.total
        if self.baseline is None:
            self.baseline = used
        return max(0, self.total - max(0, used - self.baseline))


class Ledger:
    """Promises by device ("RAM" or a UUID), in bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._promises: dict[str, _Promises] = {}

    def outstanding(self, reading: Reading) -> dict[str, int]:
        """Promised and not yet taken, by device."""
        with self._lock:
            return self._outstanding(reading)

    def promise(
        self, device: str, need: int, reading: Reading, check: Callable[[dict[str, int]], MemoryPressure | None]
    ) -> MemoryPressure | None:
        """Promise `need` bytes of `device` where `check(what is outstanding)` finds room; else what it found."""
        with self._lock:
            short = check(self._outstanding(reading))
            if short is None and need:
                promises = self._promises.setdefault(device, _Promises())
                promises.total += need
                promises.outstanding(_used(reading, device))  # growth is counted from here
            return short

    def force(self, device: str, need: int, reading: Reading) -> None:
        """Promise it whether there is room or not: the policy only warns."""
        self.promise(device, need, reading, lambda _outstanding: None)

    def release(self, device: str, need: int) -> None:
        """The call is over. What the others have taken is not known: from the next reading on they count in full."""
        if not need:
            return
        with self._lock:
            promises = self._promises.get(device)
            if promises is None:  # a child forked during the call: the promise is its parent's
                return
            promises.total -= need
            promises.baseline = None
            if promises.total <= 0:
                del self._promises[device]

    def _outstanding(self, reading: Reading) -> dict[str, int]:
        return {device: kept.outstanding(_used(reading, device)) for device, kept in self._promises.items()}

    def forget(self) -> None:
        """A forked child has none of its parent's calls."""
        self._lock = threading.Lock()
        self._promises = {}


def _used(reading: Reading, device: str) -> int | None:
    if device == "RAM":
        return known(reading.ram.used_bytes)
    gpus = known(reading.gpus) or ()
    return next((known(gpu.used_bytes) for gpu in gpus if gpu.uuid == device), None)


LEDGER = Ledger()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LEDGER.forget)
