"""Where the bombs go off: a memory cgroup with a limit, or, where none can be made, a recorded one that is kept true.

The second is a copied cgroup tree whose usage a small process writes, fifty times faster than anybody reads it, from
what the kernel and its children really hold. The watchdog's RLIMIT_DATA is real in both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.notebook.kernels import ROOT, Kernel

LIMIT_BYTES = 1 << 30
_SHARED = Path("/dev/shm/mlguard-bomb")


class NoContainer(Exception):
    """This machine does not let the tests make a container with a limit; the message says why."""


@dataclass(frozen=True)
class Container:
    """`told` says which kind it is; `is_real` whether the system itself enforces it. `kernel` starts one inside."""

    told: str
    is_real: bool
    kernel: Callable[[], Kernel]


@contextmanager
def any_container(folder: Path, *scratch: str) -> Iterator[Container]:
    """A real one where it can be made, else a recorded one below `folder`, which then says why."""
    try:
        with real_container(*scratch) as real:
            yield real
    except NoContainer as reason:
        with recorded_container(folder, str(reason)) as recorded:
            yield recorded


@contextmanager
def memory_group(limit_bytes: int = LIMIT_BYTES) -> Iterator[Path]:
    """The folder of a cgroup with a limit below the one of this process; NoContainer where it cannot be made."""
    own = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    root = Path("/sys/fs/cgroup")
    if "memory" in own:
        parent, limit = root / "memory" / own["memory"].lstrip("/"), "memory.limit_in_bytes"
    else:
        parent, limit = root / own.get("", "").lstrip("/"), "memory.max"
    folder = parent / f"mlguard-bombs-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / limit).write_text(str(limit_bytes))
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        raise NoContainer(f"no memory cgroup can be made here: {error}") from error
    try:
        yield folder
    finally:
        _wait_until_empty(folder)
        folder.rmdir()


@contextmanager
def real_container(*scratch: str) -> Iterator[Container]:
    """One that the system enforces; NoContainer where it cannot be made. The files `scratch` are removed at the end."""
    with memory_group() as folder:

        def inside() -> Kernel:
            _wait_until_empty(folder)
            kernel = Kernel(load=False)
            (folder / "cgroup.procs").write_text(str(_pid(kernel)))
            return kernel

        try:
            yield Container(f"in a real memory cgroup of {LIMIT_BYTES >> 20} MiB", True, inside)
        finally:
            subprocess.run(["rm", "-f", str(_SHARED), *scratch], check=False)


def _wait_until_empty(folder: Path) -> None:
    ends = time.monotonic() + 10
    while (folder / "cgroup.procs").read_text() and time.monotonic() < ends:
        time.sleep(0.05)


@contextmanager
def recorded_container(folder: Path, why: str) -> Iterator[Container]:
    """A version 2 tree below `folder` with the same limit. A hard RLIMIT_DATA keeps a bomb that nobody stops away from
    the machine.
    """
    proc, group = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    group.mkdir()
    (proc / "self" / "cgroup").write_text("0::/\n")
    (proc / "meminfo").write_text(Path("/proc/meminfo").read_text())
    for name, text in (("max", str(LIMIT_BYTES)), ("high", "max"), ("stat", "inactive_file 0\nactive_file 0")):
        (group / f"memory.{name}").write_text(f"{text}\n")
    feeders: list[subprocess.Popen[bytes]] = []

    def inside() -> Kernel:
        kernel = Kernel(load=False)
        command = [sys.executable, "-m", "tests.notebook.containers", str(_pid(kernel)), str(group / "memory.current")]
        feeder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        feeders.append(feeder)
        assert feeder.stdout is not None and feeder.stdout.readline() == b"up\n"
        answer = kernel.run(
            "import resource\nfrom pathlib import Path\nfrom mlguard_nb.devices.machine import LocalMachine, install\n"
            f"install(LocalMachine(proc=Path({str(proc)!r}), cgroups=Path({str(group)!r})))\n"
            f"resource.setrlimit(resource.RLIMIT_DATA, ({20 * LIMIT_BYTES}, {20 * LIMIT_BYTES}))"
        )
        assert answer.error is None, answer.traceback
        return kernel

    try:
        yield Container(
            f"in a recorded cgroup tree of {LIMIT_BYTES >> 20} MiB, real RLIMIT_DATA ({why})", False, inside
        )
    finally:
        for feeder in feeders:
            feeder.kill()
            feeder.wait()
        _SHARED.unlink(missing_ok=True)


def _pid(kernel: Kernel) -> int:
    return int(kernel.manager.provisioner.pid)  # type: ignore[union-attr]


def _held(pid: int) -> int:
    """Bytes that a process and its descendants hold: pages that a fork shares count once, and files in memory too."""
    from mlguard_nb.notebook.sentinel import children

    held = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    for child in children(pid):
        try:
            for line in Path(f"/proc/{child}/smaps_rollup").read_text().splitlines():
                held += int(line.split()[1]) * 1024 if line.startswith("Pss:") else 0
        except (OSError, IndexError):
            continue
    mapped = _SHARED.stat().st_blocks * 512 if _SHARED.exists() else 0
    return max(held, mapped)


def feed(pid: int, usage: Path) -> None:
    """Write what `pid` holds into `usage` until it ends: in place, since readers keep the file open."""
    file = os.open(usage, os.O_WRONLY | os.O_CREAT)
    is_told = False
    while True:
        try:
            os.pwrite(file, b"%020d\n" % _held(pid), 0)
        except (OSError, IndexError):
            return
        if not is_told:
            os.write(1, b"up\n")
            is_told = True
        time.sleep(0.001)


if __name__ == "__main__":
    feed(int(sys.argv[1]), Path(sys.argv[2]))
