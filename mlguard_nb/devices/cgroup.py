"""The memory limits that cgroups put on this process: version 1, version 2 and machines that mount both.

Every group from this process up to the root can have a limit, and the one with the least room is hit first, which
need not be the one with the lowest limit. Usage is the working set: what is charged to the group without the page
cache, which the kernel drops by itself before it kills anybody (the kubelet leaves out its inactive half only).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mlguard_nb import clock
from mlguard_nb.devices.files import KeptFile
from mlguard_nb.devices.readings import Unknown

__all__ = ["Group", "Level", "groups_above", "in_container", "working_set"]

# Version 1 has no word for "no limit": it shows LONG_MAX cut down to whole pages. No machine has an exbibyte.
_NO_LIMIT = 1 << 60
_LIMIT_SECONDS = 1.0
_NOT_READ = Unknown("this group has not been read yet")


class Level(NamedTuple):
    """What one group said: its limit where it has one, its working set, and the cache left out of that."""

    name: str
    limit_bytes: int | None
    used_bytes: int
    cache_bytes: int


class Group:
    """One cgroup folder, its files kept open. `version` is 1 or 2, `name` its path as the kernel writes it."""

    def __init__(self, folder: Path, name: str, version: int) -> None:
        self.name, self.folder, self.version = name, folder, version
        usage, limits = (
            ("memory.current", ("memory.max", "memory.high"))
            if version == 2
            else ("memory.usage_in_bytes", ("memory.limit_in_bytes",))
        )
        self._usage = KeptFile(folder / usage)
        self._stat = KeptFile(folder / "memory.stat")
        self._limits = tuple(KeptFile(folder / name) for name in limits)
        prefix = b"" if version == 2 else b"total_"
        self._inactive, self._active = (b"\n%b%b " % (prefix, key) for key in (b"inactive_file", b"active_file"))
        self._known_limit: int | None = None
        self._known_at = float("-inf")
        self.last: Level | Unknown = _NOT_READ

    def read(self, now: float | None = None) -> Level | Unknown:
        """This group now, kept as `last`; Unknown where its usage cannot be read. `now` spares a look at the clock."""
        self.last = level = self._read(clock.SYSTEM.now() if now is None else now)
        return level

    def _read(self, now: float) -> Level | Unknown:
        used = self._usage.number()
        stat = self._stat.read()
        if isinstance(used, Unknown):
            return used
        if isinstance(stat, Unknown):
            return stat
        stat = b"\n%b\n" % stat
        cache = (_statistic(stat, self._inactive) or 0) + (_statistic(stat, self._active) or 0)
        return Level(self.name, self._limit(stat, now), working_set(used, cache), cache)

    def may_bind(self, now: float) -> bool:
        """Whether this group has a limit, or is to be asked again: without one its usage need not be read at all."""
        return self._known_limit is not None or now - self._known_at >= _LIMIT_SECONDS

    def _limit(self, stat: bytes, now: float) -> int | None:
        """The lowest of this group's own limits, None without any; looked up again each second."""
        if now - self._known_at >= _LIMIT_SECONDS:
            self._known_limit, self._known_at = self._read_limit(stat), now
        return self._known_limit

    def _read_limit(self, stat: bytes) -> int | None:
        found = [limit for file in self._limits if not isinstance(limit := file.number(), Unknown)]
        if self.version == 1:
            # The parents' limits, told here even where a container may not look at its parents.
            found.append(_statistic(stat, b"\nhierarchical_memory_limit ") or -1)
        return min((limit for limit in found if 0 <= limit < _NO_LIMIT), default=None)


def in_container(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs inside a container, as Docker, Podman, systemd-nspawn and Kubernetes mark theirs."""
    marked = any((root / name).exists() for name in (".dockerenv", "run/.containerenv", "run/systemd/container"))
    return marked or "container" in environment or "KUBERNETES_SERVICE_HOST" in environment


def working_set(usage: int, file_cache: int) -> int:
    """What the kernel cannot drop by itself, in bytes. The two come from two reads, so the cache can be ahead."""
    return max(0, usage - file_cache)


def _statistic(stat: bytes, key: bytes) -> int | None:
    """The number behind `key`, which is a line's beginning with the newline before it. `stat` has one at either end.

    Found by search: this is most of what a reading costs.
    """
    start = stat.find(key)
    if start < 0:
        return None
    start += len(key)
    return int(stat[start : stat.find(b"\n", start)])


def groups_above(proc: Path, root: Path) -> tuple[Group, ...]:
    """The memory groups from this process up to the root, innermost first; empty where there are none.

    `proc` is where /proc is, `root` where /sys/fs/cgroup is. On a machine that mounts both versions the one that
    really controls memory counts. A container may see its own group as the top of the mount while /proc still names
    the path outside: then the mount's top is the group.
    """
    path_v1, path_v2 = _own_paths(proc)
    v1 = _mount_v1(root)
    if v1 is not None and path_v1 is not None:
        return tuple(_chain(v1, path_v1, 1))
    for mount in (root, root / "unified"):
        if path_v2 is not None and _controls_memory(mount):
            return tuple(_chain(mount, path_v2, 2))
    return ()


def _own_paths(proc: Path) -> tuple[str | None, str | None]:
    """This process's path in the version 1 memory tree and in the version 2 tree; None where it is in neither."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return None, None
    v1 = v2 = None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            v1 = path
        elif number == "0":
            v2 = path
    return v1, v2


def _mount_v1(root: Path) -> Path | None:
    return next((mount for mount in (root / "memory", root) if (mount / "memory.usage_in_bytes").exists()), None)


def _controls_memory(mount: Path) -> bool:
    """Whether this version 2 tree accounts memory; on hybrid machines it is mounted, yet empty of it."""
    if (mount / "memory.current").exists():  # a container: its own group is the top
        return True
    try:
        return "memory" in (mount / "cgroup.controllers").read_text().split()
    except OSError:
        return False


def _chain(mount: Path, path: str, version: int) -> Iterator[Group]:
    usage = "memory.current" if version == 2 else "memory.usage_in_bytes"
    inside = PurePosixPath(path.lstrip("/"))
    if ".." in inside.parts or not (mount / inside).is_dir():
        inside = PurePosixPath()
    for level in (inside, *inside.parents) if inside.parts else (inside,):
        folder = mount / level
        if (folder / usage).exists():  # the root of a version 2 tree has no usage of its own
            yield Group(folder, "/" if level == PurePosixPath() else f"/{level}", version)
