"""What processes hold: a kernel with its children, this server, and who owns the rest.

Reads /proc for many processes at once, so it belongs on a slow thread.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from mlguard_nb import clock as clocks
from mlguard_nb.devices.files import size_in
from mlguard_nb.telemetry.wire import Measured

__all__ = ["Owner", "ProcessTable"]

Owner = Literal["mine", "other_user", "absent"]
_TREE_SECONDS = 5.0
_ENDED = "this process has ended"


class ProcessTable:
    """The processes of this machine as seen from here; who started whom is read at most every five seconds.

    Linux tells the children of each thread, so only the families that are asked for are read, however many processes
    the machine has; elsewhere the table of all of them is.
    """

    def __init__(self, clock: clocks.Clock | None = None, proc: Path = Path("/proc")) -> None:
        self._clock, self._proc = clock or clocks.SYSTEM, proc
        self._tells_children = (proc / "thread-self" / "children").exists()
        self._children: dict[int, list[int]] = {}
        self._read_at = float("-inf")

    def family(self, pid: int) -> frozenset[int]:
        """`pid` and everything that it started, directly or not."""
        now = self._clock.now()
        if now - self._read_at >= _TREE_SECONDS:
            self._children, self._read_at = {} if self._tells_children else _everybody(), now
        found, waiting = {pid}, [pid]
        while waiting:
            fresh = [child for child in self._children_of(waiting.pop()) if child not in found]
            found.update(fresh)
            waiting.extend(fresh)
        return frozenset(found)

    def memory(self, pids: Iterable[int]) -> Measured:
        """Bytes of their own that these processes hold together: libraries and files that others share are left out."""
        known = [held for pid in pids if (held := self._held(pid)) is not None]
        return Measured(sum(known)) if known else Measured(None, _ENDED)

    def owner(self, pid: int) -> Owner:
        """Whose process `pid` is; "absent" when no process of that number can be seen from here."""
        import psutil

        try:
            return "mine" if psutil.Process(pid).username() == psutil.Process().username() else "other_user"
        except psutil.NoSuchProcess:
            return "absent"
        except psutil.Error:
            return "other_user"

    def environment(self, pid: int) -> Mapping[str, str] | None:
        """The environment that `pid` was started with, None where it cannot be read."""
        import psutil

        try:
            return psutil.Process(pid).environ()
        except (psutil.Error, OSError):
            return None

    def _children_of(self, pid: int) -> list[int]:
        if self._tells_children and pid not in self._children:
            self._children[pid] = self._told_by_threads(pid)
        return self._children.get(pid, [])

    def _told_by_threads(self, pid: int) -> list[int]:
        threads = f"{self._proc}/{pid}/task"
        found: list[int] = []
        with contextlib.suppress(OSError):  # this process has ended
            for thread in os.listdir(threads):
                with contextlib.suppress(OSError):  # this thread has
                    found += map(int, _read(f"{threads}/{thread}/children").split())
        return found

    def _held(self, pid: int) -> int | None:
        try:
            status = _read(f"{self._proc}/{pid}/status")
        except OSError:
            return _resident(pid)
        own = size_in(status, b"\nRssAnon:")
        if own is None:  # kernels before 4.5, and processes that are ending
            return _resident(pid)
        return own + (size_in(status, b"\nRssShmem:") or 0)


def _everybody() -> dict[int, list[int]]:
    import psutil

    children: defaultdict[int, list[int]] = defaultdict(list)
    for process in psutil.process_iter(["pid", "ppid"]):
        children[process.info["ppid"]].append(process.info["pid"])
    return dict(children)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _resident(pid: int) -> int | None:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
