"""What processes hold: a kernel with its children, this server, and who owns the rest.

Reads /proc for many processes at once, so it belongs on a slow thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from mlguard_nb import clock as clocks
from mlguard_nb.telemetry.wire import Measured

__all__ = ["Owner", "ProcessTable"]

Owner = Literal["mine", "other_user", "absent"]
_TREE_SECONDS = 5.0
_ENDED = "this process has ended"


class ProcessTable:
    """The processes of this machine as seen from here; the tree of children is read at most every five seconds."""

    def __init__(self, clock: clocks.Clock | None = None, proc: Path = Path("/proc")) -> None:
        self._clock, self._proc = clock or clocks.SYSTEM, proc
        self._children: dict[int, list[int]] = {}
        self._read_at = float("-inf")

    def family(self, pid: int) -> frozenset[int]:
        """`pid` and everything that it started, directly or not."""
        self._refresh()
        found, waiting = {pid}, [pid]
        while waiting:
            fresh = [child for child in self._children.get(waiting.pop(), ()) if child not in found]
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

    def _refresh(self) -> None:
        now = self._clock.now()
        if now - self._read_at < _TREE_SECONDS:
            return
        import psutil

        children: defaultdict[int, list[int]] = defaultdict(list)
        for process in psutil.process_iter(["pid", "ppid"]):
            children[process.info["ppid"]].append(process.info["pid"])
        self._children, self._read_at = dict(children), now

    def _held(self, pid: int) -> int | None:
        try:
            text = (self._proc / str(pid) / "status").read_text()
        except OSError:
            return _resident(pid)
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "RssAnon" not in fields:  # kernels before 4.5, and processes that are ending
            return _resident(pid)
        return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem") if name in fields)


def _resident(pid: int) -> int | None:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None
