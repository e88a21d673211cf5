"""The seam to the machine: everything that asks how much memory is left asks a Machine, so tests bring their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from mlguard_nb import clock
from mlguard_nb.devices.cgroup import Group, Level, groups_above
from mlguard_nb.devices.files import KeptFile
from mlguard_nb.devices.host import Host
from mlguard_nb.devices.nvml import Driver
from mlguard_nb.devices.readings import Ceiling, Gpu, GpuProcess, Ram, Reading, Unknown, tightest

__all__ = ["LocalMachine", "Machine", "current", "install"]

_LOOK_AGAIN_SECONDS, _SEARCH_AGAIN_SECONDS = 1.0, 10.0


class Machine(Protocol):
    """What a machine can be asked. No answer ever raises: what cannot be read is Unknown, with the reason."""

    def read(self) -> Reading:
        """Memory and devices at one instant."""
        ...

    def ram(self) -> Ram:
        """Host memory against the limit that is hit first."""
        ...

    def gpus(self) -> tuple[Gpu, ...] | Unknown:
        """Every device the driver shows, MIG slices in place of the card they are cut from."""
        ...

    def gpu_processes(self) -> tuple[GpuProcess, ...] | Unknown:
        """Who holds device memory. Slow (milliseconds): never on a call path, at most every two seconds."""
        ...


class LocalMachine:
    """This machine: cgroups, /proc and the NVIDIA driver.

    `proc` and `cgroups` are where the kernel's files are mounted (a copied tree in tests). Which cgroup this process
    is in is looked up again each second, since a supervisor may move it; which groups above it account memory is
    searched for where it was moved, and each ten seconds, since that takes a hundred times as long.
    """

    def __init__(
        self, *, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup"), driver: Driver | None = None
    ) -> None:
        self._proc, self._cgroups = proc, cgroups
        self._host = Host(proc)
        self._driver = driver or Driver()
        self._membership = KeptFile(proc / "self" / "cgroup")
        self._member_of: bytes | Unknown | None = None
        self._known: dict[Path, Group] = {}
        self._chain: tuple[Group, ...] = ()
        self._looked = self._searched = float("-inf")

    def read(self) -> Reading:
        """Memory and devices at one instant."""
        return Reading(clock.current().wall(), self.ram(), self.gpus())

    def ram(self) -> Ram:
        """Host memory against the limit that is hit first."""
        machine = self._host.memory()
        total = machine if isinstance(machine, Unknown) else machine.limit_bytes
        levels, limits = self._levels(total)
        others = () if isinstance(machine, Unknown) else (machine,)
        address_space = self._host.address_space()
        if address_space is not None:
            others = (*others, address_space)
        container = tightest(limits)
        if container is not None:
            cache = next(level.cache_bytes for level in levels if level.name == container.name)
            ceilings = (*limits, *others)
            return Ram(container.limit_bytes, container.used_bytes, "container", cache, total, ceilings)
        if isinstance(machine, Unknown):
            return Ram(machine, machine, "machine", machine, machine, others)
        return Ram(machine.limit_bytes, machine.used_bytes, "machine", _cache(levels), total, others)

    def _levels(self, total: int | Unknown) -> tuple[list[Level], tuple[Ceiling, ...]]:
        """What the groups say that may bind, and the limits among that.

        Those without a limit are read once a second, to see whether they have one now; of the innermost the page
        cache of that look is shown. A limit above the machine's own memory never binds: /proc/meminfo already says the
        truth there.
        """
        levels: list[Level] = []
        limits: tuple[Ceiling, ...] = ()
        now = clock.SYSTEM.now()
        for place, group in enumerate(self._groups_at(now)):
            may_bind = group.may_bind(now)
            if place and not may_bind:
                continue
            level = group.read(now) if may_bind else group.last
            if isinstance(level, Unknown):
                continue
            levels.append(level)
            limit = level.limit_bytes
            if limit is not None and (isinstance(total, Unknown) or limit < total):
                limits = (*limits, Ceiling(level.name, limit, level.used_bytes))
        return levels, limits

    def gpus(self) -> tuple[Gpu, ...] | Unknown:
        """Every device the driver shows, MIG slices in place of the card they are cut from."""
        return self._driver.gpus()

    def gpu_processes(self) -> tuple[GpuProcess, ...] | Unknown:
        """Who holds device memory; milliseconds."""
        return self._driver.processes()

    @property
    def groups(self) -> tuple[Group, ...]:
        """The control groups above this process, innermost first; empty where none accounts memory."""
        return self._groups_at(clock.SYSTEM.now())

    def _groups_at(self, now: float) -> tuple[Group, ...]:
        if now - self._looked >= _LOOK_AGAIN_SECONDS:
            member_of, self._looked = self._membership.read(), now
            if member_of != self._member_of or now - self._searched >= _SEARCH_AGAIN_SECONDS:
                found = groups_above(self._proc, self._cgroups)
                # Groups that stayed keep their open files.
                self._known = {group.folder: self._known.get(group.folder, group) for group in found}
                self._chain = tuple(self._known.values())
                self._member_of, self._searched = member_of, now
        return self._chain


def _cache(levels: list[Level]) -> int | Unknown:
    return levels[0].cache_bytes if levels else Unknown("no cgroup of this process accounts its page cache")


_current: Machine | None = None


def current() -> Machine:
    """The machine in force: this one, unless a test installed another."""
    global _current
    if _current is None:
        _current = LocalMachine()
    return _current


def install(machine: Machine | None) -> Machine | None:
    """Put `machine` in force (None: this one) and return what it replaces, to be handed back later."""
    global _current
    previous, _current = _current, machine
    return previous


def _forget_local() -> None:
    """A forked child reads through its own files and its own driver session."""
    global _current
    if isinstance(_current, LocalMachine):
        _current = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_local)
