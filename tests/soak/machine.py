"""The machine under the load: a container (or numbers), a driver that is a C library, a Redis server, a clock that jumps."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mlguard_nb.clock import SystemClock
from mlguard_nb.devices.machine import LocalMachine
from mlguard_nb.devices.nvml import Driver
from mlguard_nb.devices.readings import Gpu, GpuProcess, Ram, Reading, Unknown, known
from tests.runtime.redis_server import Server

GB = 10**9
CARD = "gpu GPU-soak-1 80000000000 {used} 37 55 210000 700000 NVIDIA Soak\n"
LOST = "error nvmlDeviceGetHandleByIndex_v2 15 0\n"
DOUBLE = Path(__file__).parents[1] / "devices" / "nvml_double.c"


class NotHere(Exception):
    """A part of the load cannot run on this machine; the text says what is missing."""


class JumpingClock(SystemClock):
    """The machine's clocks, moved: monotonic time only forwards (a suspended machine), the time of day either way."""

    def __init__(self) -> None:
        self._ahead = self._wall_ahead = 0.0

    def now(self) -> float:
        return super().now() + self._ahead

    def wall(self) -> float:
        return super().wall() + self._wall_ahead

    def jump(self, seconds: float, wall_seconds: float) -> None:
        assert seconds >= 0
        self._ahead += seconds
        self._wall_ahead += wall_seconds


class SoakMachine:
    """The memory and the GPUs under the load. Its memory is numbers: 16 GB, of which the faults change what is in use."""

    def __init__(self) -> None:
        self.driver = Driver(retry_seconds=0.2)
        self._limit, self._used = 16 * GB, 4 * GB

    def fill(self, share: float) -> None:
        """Have that share of the memory in use."""
        self._used = int(share * self._limit)

    def empty(self) -> None:
        """Have as much in use as in the beginning."""
        self._used = 4 * GB

    def read(self) -> Reading:
        return Reading(time.time(), self.ram(), self.gpus())

    def ram(self) -> Ram:
        return Ram(self._limit, self._used, "container", 0, self._limit)

    def gpus(self) -> tuple[Gpu, ...] | Unknown:
        return self.driver.gpus()

    def gpu_processes(self) -> tuple[GpuProcess, ...] | Unknown:
        return self.driver.processes()


# Takes so many bytes for good; the kernel ends it first where the container runs over.
_BALLAST = """\
import sys
open("/proc/self/oom_score_adj", "w").write("1000")
taken = bytearray(int(sys.argv[1]))
taken[::4096] = bytes(len(range(0, len(taken), 4096)))
print("taken", flush=True)
sys.stdin.read()
"""
CONTAINER_BYTES = 2**30


class ContainedMachine(SoakMachine):
    """This process in a control group of its own, whose memory another process in it really takes."""

    def __init__(self) -> None:
        super().__init__()
        self._local = LocalMachine(driver=self.driver)
        self._ballast: subprocess.Popen[bytes] | None = None

    def ram(self) -> Ram:
        return self._local.ram()

    def fill(self, share: float) -> None:
        self.empty()
        used = known(self._local.ram().used_bytes) or 0
        wanted = max(1, int(share * CONTAINER_BYTES) - used - 8 * 2**20)  # less what the other interpreter takes
        self._ballast = subprocess.Popen(
            [sys.executable, "-S", "-c", _BALLAST, str(wanted)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._ballast.stdout is not None
        self._ballast.stdout.readline()  # empty where it was ended before it had all

    def empty(self) -> None:
        if self._ballast is not None:
            self._ballast.kill()
            self._ballast.communicate()
            self._ballast = None


@contextmanager
def contained() -> Iterator[ContainedMachine]:
    """Put this process into a control group of a gibibyte; NotHere where there can be none."""
    from tests.notebook.containers import NoContainer, memory_group

    try:
        entered = ExitStack()
        folder = entered.enter_context(memory_group(CONTAINER_BYTES))
    except (NoContainer, OSError) as reason:
        raise NotHere(f"memory is really filled only in a control group, else by numbers: {reason}") from reason
    with entered:
        (folder / "cgroup.procs").write_text(str(os.getpid()))
        machine = ContainedMachine()
        try:
            yield machine
        finally:
            machine.empty()
            for process in (folder / "cgroup.procs").read_text().split():
                (folder.parent / "cgroup.procs").write_text(process)


class DriverFile:
    """The text file in which the double's one card stands."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gpus.txt"
        self.set(used=20 * GB)

    def set(self, used: int, *, is_lost: bool = False) -> None:
        """Written whole, since the double may read at any moment."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(CARD.format(used=used) + (LOST if is_lost else ""))
        fresh.replace(self.path)

    def hang(self) -> None:
        """The driver takes no notice of whoever asks for its memory."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(CARD.format(used=20 * GB) + "hang nvmlDeviceGetMemoryInfo\n")
        fresh.replace(self.path)

    def unload(self) -> None:
        self.path.unlink()


def load_driver_double(folder: Path) -> DriverFile:
    """Compile and load it before pynvml asks: the loader then gives it for the name libnvidia-ml.so.1."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise NotHere("the GPU jobs need a C compiler (cc), and there is none")
    library = folder / "libnvidia-ml.so.1"
    options = ["-shared", "-fPIC", "-O1", f"-Wl,-soname,{library.name}"]
    subprocess.run([compiler, *options, "-o", library, DOUBLE], check=True)
    file = DriverFile(folder)
    os.environ["MLGUARD_NVML_STATE"] = str(file.path)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return file


def start_redis(folder: Path) -> Server:
    """A server of the soak's own; NotHere where none is installed."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise NotHere("the Redis jobs need redis-server or valkey-server, and there is none")
    return Server(program, folder)
