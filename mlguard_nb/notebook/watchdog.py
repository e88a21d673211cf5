"""Keeps the kernel alive: a cell that reaches its stop is ended by a signal, before the system ends the kernel.

Two nets. The sentinel process signals at the stop (T1). The soft RLIMIT_DATA, set between the stop and the machine's
limit (T2), makes a single huge allocation fail with MemoryError where no signal would come in time. Linux only.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from mlguard_nb.devices.cgroup import Group
from mlguard_nb.devices.readings import Ram, Unknown
from mlguard_nb.errors import MemoryPressure, MemoryStop
from mlguard_nb.notebook.peaks import data_bytes
from mlguard_nb.notebook.sentinel import ticks

__all__ = ["Plan", "Watchdog", "Watched", "is_supported", "plan_for"]

if sys.platform != "win32":
    import resource

_HERTZ = 50
_HERTZ_NEAR = 100
_THREADS_SECONDS = 2.0
_NEAR = 0.8  # of the stop: from here on the sentinel may have something to say about a cell that is over


class Watched(Protocol):
    """The run that is watched."""

    def is_inside(self, frame: FrameType | None) -> bool:
        """Whether the cell's own lines are being run by `frame` or what it called."""
        ...

    def cancel(self, error: BaseException) -> bool:
        """End a cell that is suspended in an await; False where it is not one, or runs right now."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What to watch, and the two thresholds in bytes: `stop` raises, `wall` is where allocations fail.

    `kind` is v1, v2 or machine; `usage` and `stat` are the kernel's files that say how much is in use.
    """

    stop: int
    wall: int
    limit: int
    used: int
    kind: str
    usage: str
    stat: str
    overcommit: bool = False


def is_supported() -> bool:
    """Whether this system and this thread can be watched: Linux, and the main thread, which signals reach."""
    return sys.platform.startswith("linux") and threading.current_thread() is threading.main_thread()


def plan_for(ram: Ram, stop: int, groups: Iterable[Group], *, overcommit: bool = False) -> Plan | None:
    """The plan for a ceiling of `stop` bytes; None where nobody can say how much is in use.

    `groups` are the control groups above this process, one of which binds where `ram` is a container's.
    """
    if isinstance(ram.used_bytes, Unknown) or isinstance(ram.limit_bytes, Unknown):
        return None
    wall = stop + max(0, ram.limit_bytes - stop) // 2
    kind, usage, stat = "machine", "/proc/meminfo", "-"
    if ram.source == "container":
        binding = [ceiling.name for ceiling in ram.ceilings if ceiling[1:] == (ram.limit_bytes, ram.used_bytes)]
        for group in groups:
            if group.name in binding:
                name = "memory.current" if group.version == 2 else "memory.usage_in_bytes"
                kind, usage, stat = f"v{group.version}", str(group.folder / name), str(group.folder / "memory.stat")
                break
    return Plan(stop, wall, ram.limit_bytes, ram.used_bytes, kind, usage, stat, overcommit)


class Watchdog:
    """One for a kernel. `arm` before an attempt, `disarm` after it; between cells it costs nothing."""

    def __init__(self) -> None:
        _ALL.add(self)
        self._sentinel: subprocess.Popen[bytes] | None = None
        self._signal = 0
        self._handler_before: Any = None
        self._run: Watched | None = None
        self._plan: Plan | None = None
        self._parachute: tuple[int, int] | None = None
        self._restore: tuple[int, int] | None = None
        self._threads: frozenset[int] = frozenset()
        self._unanswered = 0
        self._said = b""
        self.fired = 0

    @property
    def is_armed(self) -> bool:
        """Whether an attempt is being watched."""
        return self._plan is not None

    def arm(self, run: Watched, plan: Plan) -> None:
        """Watch `run` until `disarm`. OSError where the sentinel cannot be started: then nothing is watched."""
        sentinel = self._started()
        self._answers(wait=plan.used >= _NEAR * plan.stop)
        self.fired = 0
        self._threads = frozenset(sys._current_frames())
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        data = data_bytes()
        room = max(0, plan.limit - plan.wall)
        hertz = _HERTZ_NEAR if plan.stop - plan.used < plan.limit // 10 else _HERTZ
        slack = 0 if plan.overcommit else max(1 << 20, (plan.wall - plan.stop) // 2)
        step = max(1 << 20, room // 16)
        line = f"arm {plan.stop} {hertz} {slack} {self._signal} {step} {ticks()} {plan.kind} {plan.usage} {plan.stat}\n"
        assert sentinel.stdin is not None
        sentinel.stdin.write(line.encode())
        self._restore = (soft, hard)
        self._run, self._plan = run, plan
        if plan.overcommit or data is None:
            return
        ceiling = data + max(0, plan.wall - plan.used)
        if soft == resource.RLIM_INFINITY or ceiling < soft:
            self._parachute = (ceiling + room // 8, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (ceiling, hard))

    def disarm(self, *, failed: bool, near: bool = True) -> int:
        """No longer watch; the number of times the stop was signalled. Room for the way out is made first.

        Where the cell went well and use is not `near` the stop, the sentinel's answer is not waited for.
        """
        limits = self._restore
        self._parachute = None  # first: a signal that comes now would set its limit for good
        if limits is not None:
            resource.setrlimit(resource.RLIMIT_DATA, limits)
        self._restore = None
        plan, self._plan, self._run = self._plan, None, None
        if plan is None:
            return 0
        if failed or self.fired:
            self._end_new_threads()
        self._say_off(failed=failed)
        if not (failed or self.fired or near):
            return 0
        told = self._answers()
        if limits is not None:  # the sentinel may have lowered it while it did not yet know that the cell was over
            resource.setrlimit(resource.RLIMIT_DATA, limits)
        return max(self.fired, told)

    def pressure(self) -> MemoryPressure:
        """The error for a cell that reached its stop."""
        plan = self._plan
        stop = plan.stop if plan is not None else None
        return MemoryPressure("RAM", limit=stop, next_step="make the cell need less, or raise mem=")

    def stop(self) -> None:
        """End the sentinel and give the signal back."""
        self._parachute = None
        if self._restore is not None:
            resource.setrlimit(resource.RLIMIT_DATA, self._restore)
            self._restore = None
        if self._sentinel is not None:
            for pipe in (self._sentinel.stdin, self._sentinel.stdout):
                if pipe is not None:
                    pipe.close()
            try:
                self._sentinel.wait(1.0)
            except subprocess.TimeoutExpired:
                self._sentinel.kill()
                self._sentinel.wait()
            self._sentinel = None
        if self._handler_before is not None:
            signal.signal(self._signal, self._handler_before)
            self._handler_before = None

    def forget_in_child(self) -> None:
        """In a forked child: it is nobody's guarded cell, and a pool that outlives the cell must not stay limited."""
        if self._restore is not None:
            resource.setrlimit(resource.RLIMIT_DATA, self._restore)
        self._restore = self._parachute = None
        self._run = self._plan = self._sentinel = None
        self._unanswered = 0

    def _started(self) -> subprocess.Popen[bytes]:
        if self._handler_before is None:
            self._signal = signal.SIGRTMIN + 8
            self._handler_before = signal.signal(self._signal, self._handle) or signal.SIG_DFL
        sentinel = self._sentinel
        if sentinel is None or sentinel.poll() is not None:
            script = str(Path(__file__).with_name("sentinel.py"))
            if not sys.executable:
                raise OSError("this process does not know its Python")
            sentinel = subprocess.Popen(
                [sys.executable, "-I", "-S", script, str(os.getpid())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, bufsize=0,
            )  # fmt: skip
            assert sentinel.stdout is not None
            if sentinel.stdout.readline() != b"up\n":
                sentinel.kill()
                raise OSError(f"it ended at once with {sentinel.wait()}")
            os.set_blocking(sentinel.stdout.fileno(), False)
            self._sentinel, self._unanswered, self._said = sentinel, 0, b""
        return sentinel

    def _handle(self, _number: int, frame: FrameType | None) -> None:
        if self._parachute is not None:  # first of all: room for the unwinding
            resource.setrlimit(resource.RLIMIT_DATA, self._parachute)
        run = self._run
        if run is None:
            return
        if not run.is_inside(frame):
            run.cancel(self.pressure())
            return
        self.fired += 1
        if self.fired == 1:
            raise self.pressure()
        raise MemoryStop("the cell caught MemoryPressure and went on allocating")

    def _say_off(self, *, failed: bool) -> None:
        sentinel = self._sentinel
        if sentinel is None or sentinel.stdin is None:
            return
        try:
            sentinel.stdin.write(b"off failed\n" if failed else b"off\n")
            self._unanswered += 1
        except OSError:  # it was killed: the next arm starts another
            self._unanswered = 0

    def _answers(self, *, wait: bool = True) -> int:
        """Read what the sentinel has still to say (without `wait`: has said by now); how often it fired last."""
        fired = 0
        sentinel = self._sentinel
        while self._unanswered and sentinel is not None and sentinel.stdout is not None:
            if b"\n" not in self._said:
                if wait:
                    select.select([sentinel.stdout], [], [])
                try:
                    read = os.read(sentinel.stdout.fileno(), 4096)
                except BlockingIOError:
                    break
                if not read:  # it was killed: the next arm starts another
                    self._unanswered = 0
                    break
                self._said += read
                continue
            line, _, self._said = self._said.partition(b"\n")
            self._unanswered -= 1
            words = line.split()
            fired = int(words[1]) if len(words) == 3 else 0
        return fired

    def _end_new_threads(self) -> None:
        """Threads that the cell started go on allocating after it: end those that still run Python code.

        Thread.is_alive() is wrong after a signal raised in join() (3.9 to 3.12), so the interpreter's own list counts.
        """
        born = set(sys._current_frames()) - self._threads - {threading.get_ident()} - _own_threads()
        ends = time.monotonic() + _THREADS_SECONDS
        while born and time.monotonic() < ends:
            for thread in born:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(SystemExit))
            time.sleep(0.02)
            born &= set(sys._current_frames())
        if born:
            gc.collect()


def _own_threads() -> set[int]:
    """Threads of this package and of the kernel, which a cell may have been the first to start."""
    ours = ("mlguard-", "IPythonHistory", "Heartbeat", "IOPub", "Control", "asyncio_")
    return {thread.ident or 0 for thread in threading.enumerate() if thread.name.startswith(ours)}


_ALL: weakref.WeakSet[Watchdog] = weakref.WeakSet()


def _after_fork() -> None:
    for watchdog in list(_ALL):
        watchdog.forget_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
