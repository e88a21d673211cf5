"""Kernels of this user's other Jupyter servers on this machine, named by the environment they were started with."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mlguard_nb import clock as clocks
from mlguard_nb.server.kernels import KernelFacts

__all__ = ["Neighbours"]

_LOOK_SECONDS = 30.0  # a look reads the command line of every process on the machine


class Neighbours:
    """The kernels whose connection files lie in `runtime`, the folder that all servers of a user share (Linux).

    Which there are is looked for at most every half minute; those that end are left out at once.
    """

    def __init__(self, runtime: Path, clock: clocks.Clock | None = None, proc: Path = Path("/proc")) -> None:
        self._connects = re.compile(re.escape(os.fsencode(runtime)) + rb"/kernel-([^/\0]+)\.json(?:\0|$)")
        self._clock, self._proc = clock or clocks.SYSTEM, proc
        self._found: tuple[KernelFacts, ...] = ()
        self._looked_at = float("-inf")

    def kernels(self, ours: frozenset[int]) -> tuple[KernelFacts, ...]:
        """Those that are not among the processes `ours`. They have no path: this server may not show it."""
        now = self._clock.now()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._found, self._looked_at = tuple(self._look()), now
        return tuple(
            kernel
            for kernel in self._found
            if kernel.pid is not None and kernel.pid not in ours and self._kernel_id(kernel.pid) == kernel.kernel_id
        )

    def _look(self) -> Iterator[KernelFacts]:
        for entry in os.listdir(self._proc) if self._proc.is_dir() else ():
            kernel = self._kernel(int(entry)) if entry.isdigit() else None
            if kernel is not None:
                yield kernel

    def _kernel(self, pid: int) -> KernelFacts | None:
        kernel_id = self._kernel_id(pid)
        if kernel_id is None:
            return None
        process = self._proc / str(pid)
        try:
            environment = (process / "environ").read_bytes() if process.stat().st_uid == os.geteuid() else b""
        except OSError:  # it has ended, or may not be looked at
            return None
        named = re.search(rb"(?:^|\0)JPY_SESSION_NAME=(?:[^\0]*/)?([^/\0]+)", environment)
        return None if named is None else KernelFacts(kernel_id, _text(named), None, "another_server", None, pid, None)

    def _kernel_id(self, pid: int) -> str | None:
        """As the connection file in its command line has it; None of another process, and of one that has ended."""
        try:
            connects = self._connects.search((self._proc / str(pid) / "cmdline").read_bytes())
        except OSError:
            return None
        return None if connects is None else _text(connects)


def _text(found: re.Match[bytes]) -> str:
    return found[1].decode(errors="replace")
