"""The process that watches a kernel's memory from outside and signals it in time.

Run by itself (`python -I -S sentinel.py PID`), with the standard library only: it must stay small, and it must go on
when the kernel's interpreter is held by one long C call. It sleeps on its input while no guarded cell runs.

Its input is lines: `arm STOP HERTZ SLACK SIGNAL STEP BORN KIND USAGE_FILE STAT_FILE` (KIND is v1, v2 or machine; sizes
in bytes; BORN is when the cell began, in clock ticks since the machine did) and `off` (`off failed` where the
cell ended with an error), which it answers with `ok FIRED RAISED`.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time

if sys.platform != "win32":
    import resource

_AGAIN_SECONDS = 0.1
_KILL_AFTER_SECONDS = 0.15
_GONE_SECONDS = 2.0
_PINNED_POLLS = 3
_MOST_RAISES = 4
_NEAR = 256 << 10


class Usage:
    """The working set of one cgroup, or of the machine, read through files that stay open."""

    def __init__(self, kind: str, usage: str, stat: str) -> None:
        self._kind = kind
        self._usage = os.open(usage, os.O_RDONLY)
        self._stat = -1 if kind == "machine" else os.open(stat, os.O_RDONLY)
        prefix = b"\n" if kind == "v2" else b"\ntotal_"
        self._keys = (prefix + b"inactive_file ", prefix + b"active_file ")

    def close(self) -> None:
        """Close the files."""
        os.close(self._usage)
        if self._stat >= 0:
            os.close(self._stat)

    def is_over(self, stop: int) -> bool:
        """Whether the working set has reached `stop`; the cache that does not count is read only near it."""
        text = os.pread(self._usage, 4096, 0)
        if self._kind == "machine":
            return _field(text, b"MemTotal:") - _field(text, b"MemAvailable:") >= stop
        used = int(text)
        return used >= stop and used - self._cache() >= stop

    def _cache(self) -> int:
        text = b"\n" + os.pread(self._stat, 8192, 0)
        found = 0
        for key in self._keys:
            at = text.find(key)
            found += 0 if at < 0 else int(text[at + len(key) : text.index(b"\n", at + 1)])
        return found


def _field(text: bytes, key: bytes) -> int:
    at = text.index(key) + len(key)
    return int(text[at : text.index(b"kB", at)]) * 1024


class Watch:
    """One armed cell: fires a signal at the stop, and again while it lasts."""

    def __init__(self, pid: int, status: int, words: list[str]) -> None:
        self.pid, self._status = pid, status
        self.stop, self.period, self._slack = int(words[0]), 1 / float(words[1]), int(words[2])
        self._signal, self._step = int(words[3]), int(words[4])
        self._born = int(words[5])
        self._usage = Usage(words[6], words[7], words[8])
        self.fired = self.raised = 0
        self._first = self._last = 0.0
        self._killed: set[int] = set()
        self._pinned = 0

    def poll(self) -> None:
        """Look once. ProcessLookupError when the kernel is gone."""
        hot = self._usage.is_over(self.stop)
        soft, hard = resource.prlimit(self.pid, resource.RLIMIT_DATA)
        limited = soft != resource.RLIM_INFINITY
        data = self._data_bytes() if hot or limited else 0
        now = time.monotonic()
        if hot and (not self.fired or now - self._last > _AGAIN_SECONDS):
            self._fire(now, soft, hard, data)
        if limited and data >= soft - _NEAR:
            self._pinned += 1
            if self._pinned >= _PINNED_POLLS and self.raised < _MOST_RAISES:
                # Stuck at the limit: it may be the unwinding itself that needs a little room.
                self.raised += 1
                self._pinned = 0
                resource.prlimit(self.pid, resource.RLIMIT_DATA, (soft + self._step, hard))
                os.kill(self.pid, self._signal)
        else:
            self._pinned = 0

    def _data_bytes(self) -> int:
        text = os.pread(self._status, 4096, 0)
        if b"VmData:" not in text:
            raise ProcessLookupError("the kernel has ended: a zombie has no sizes")
        return _field(text, b"VmData:")

    def _fire(self, now: float, soft: int, hard: int, data: int) -> None:
        if not self.fired:
            self._first = now
            for child in self._newborn():
                _write(f"/proc/{child}/oom_score_adj", "1000")
            if self._slack and soft != resource.RLIM_INFINITY and soft > data + self._slack:
                resource.prlimit(self.pid, resource.RLIMIT_DATA, (data + self._slack, hard))
        elif now - self._first > _KILL_AFTER_SECONDS and not self._killed:
            self._kill_newborn()
        os.kill(self.pid, self._signal)
        self.fired += 1
        self._last = now

    def finish(self, *, failed: bool) -> str:
        """The cell is over: what happened, as the answer to `off`. Children of a cell that failed for memory go too.

        The answer waits for their memory: a killed process gives it back in its own time, and until then the next
        cell would find the machine as full as before.
        """
        if self.fired and (failed or self._usage.is_over(self.stop)):
            self._kill_newborn()
        ends = time.monotonic() + _GONE_SECONDS
        while any(_holds_memory(child) for child in self._killed) and time.monotonic() < ends:
            time.sleep(0.005)
        self._usage.close()
        return f"ok {self.fired} {self.raised}\n"

    def _newborn(self) -> list[int]:
        """Processes of the cell: those that began with it or later. (The cell may have started them before this
        process came to read that there is a cell, so who was there at that time says nothing.)"""
        return [child for child in children(self.pid) if born(child) >= self._born]

    def _kill_newborn(self) -> None:
        for child in self._newborn():
            try:
                os.kill(child, signal.SIGKILL)
            except OSError:  # it ended by itself
                continue
            self._killed.add(child)


def ticks() -> int:
    """Now, as the system writes the beginning of a process: in clock ticks since the machine began."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def born(pid: int) -> int:
    """When a process began, in clock ticks since the machine did; -1 where it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return -1


def children(pid: int) -> list[int]:
    """Every descendant of `pid` but this process."""
    found: list[int] = []
    todo = [pid]
    while todo:
        parent = todo.pop()
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children") as file:
                    born = [int(word) for word in file.read().split()]
                found += born
                todo += born
        except OSError:
            continue
    return [child for child in found if child != os.getpid()]


def _holds_memory(pid: int) -> bool:
    """Whether a process that was killed has not yet given its memory back.

    A thread is a zombie once it has let go of the memory. (Its size in statm is 0 before that: the process no longer
    shows its memory while the system is still at work freeing it.)
    """
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] not in "ZX":
                    return True
    except (OSError, IndexError):
        return False
    return False


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        return


def main() -> None:
    """Serve the kernel whose number is the first argument until its end of the pipe is closed."""
    gc.disable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pid = int(sys.argv[1])
    status = os.open(f"/proc/{pid}/status", os.O_RDONLY)
    os.write(1, b"up\n")
    watch: Watch | None = None
    waiting = b""
    while True:
        ready, _, _ = select.select([0], [], [], None if watch is None else watch.period)
        if ready:
            read = os.read(0, 4096)
            if not read:
                return
            waiting += read
            while b"\n" in waiting:
                line, waiting = waiting.split(b"\n", 1)
                words = line.decode().split(" ")
                if words[0] == "arm":
                    watch = Watch(pid, status, words[1:])
                elif words[0] == "off":
                    answer = watch.finish(failed=len(words) > 1) if watch is not None else "ok 0 0\n"
                    watch = None
                    os.write(1, answer.encode())
        elif watch is not None:
            try:
                watch.poll()
            except ProcessLookupError:
                return


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:  # the kernel ended while it was being answered
        os._exit(0)
