"""The sentinel as a process: it signals at the stop, and goes when its kernel goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlguard_nb.notebook import sentinel

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NOT TESTED: the watchdog is Linux only")


@pytest.fixture
def watched() -> Iterator[subprocess.Popen[bytes]]:
    """A process that counts the signals it gets on its stdout."""
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGUSR1, lambda *a: (sys.stdout.write('hit\\n'), sys.stdout.flush()))\n"
        "sys.stdout.write('up\\n'); sys.stdout.flush()\n"
        "while True: time.sleep(10)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def watching(watched: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", sentinel.__file__, str(watched.pid)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    yield process
    process.kill()
    process.wait()


def _say(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def _usage(folder: Path, used: int, cache: int) -> tuple[Path, Path]:
    usage, stat = folder / "memory.current", folder / "memory.stat"
    usage.write_text(f"{used}\n")
    stat.write_text(f"anon 1\ninactive_file {cache - 3}\nactive_file 3\n")
    return usage, stat


def test_it_signals_at_the_stop(
    watched: subprocess.Popen[bytes], watching: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """Usage without the reclaimable cache reaches the stop: the signal comes, and `off` tells how often."""
    usage, stat = _usage(tmp_path, 2000, 500)
    _say(watching, f"arm 1400 100 0 {int(signal.SIGUSR1)} 1048576 0 v2 {usage} {stat}")

    assert watched.stdout is not None and watched.stdout.readline() == b"hit\n"
    _say(watching, "off")
    assert watching.stdout is not None
    word, fired, raised = watching.stdout.readline().split()
    assert word == b"ok" and int(fired) >= 1 and int(raised) == 0


def test_cache_that_can_be_dropped_does_not_count(tmp_path: Path) -> None:
    """Usage above the stop with enough file cache, active or not, is not over it."""
    usage, stat = _usage(tmp_path, 2000, 900)
    reading = sentinel.Usage("v2", str(usage), str(stat))

    assert not reading.is_over(1400)
    assert reading.is_over(1100)
    reading.close()


def test_the_machine_counts_what_is_not_available(tmp_path: Path) -> None:
    """Where no container has a limit, MemTotal less MemAvailable is the use."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    300 kB\n")
    usage = sentinel.Usage("machine", str(meminfo), "-")

    assert usage.is_over(700 * 1024) and not usage.is_over(701 * 1024)
    usage.close()


def test_it_ends_with_its_kernel(watching: subprocess.Popen[bytes]) -> None:
    """A closed pipe is the end of it."""
    assert watching.stdin is not None
    watching.stdin.close()

    assert watching.wait(5) == 0


def test_children_are_found() -> None:
    """Descendants of a process, as the kernel lists them."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    try:
        assert child.pid in sentinel.children(os.getpid())
    finally:
        child.kill()
        child.wait()


def test_a_killed_process_holds_memory_until_it_is_a_zombie(watched: subprocess.Popen[bytes]) -> None:
    """A zombie has given its memory back, and a number that is nobody's holds none."""
    assert sentinel._holds_memory(watched.pid)
    watched.kill()
    os.waitid(os.P_PID, watched.pid, os.WEXITED | os.WNOWAIT)
    assert not sentinel._holds_memory(watched.pid)
    watched.wait()
    assert not sentinel._holds_memory(watched.pid)


def test_a_kernel_that_is_a_zombie_is_gone(watched: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Its sizes are no longer told: the sentinel ends in silence, as for a number that is nobody's."""
    usage, stat = _usage(tmp_path, 2000, 500)
    words = f"1400 100 0 {int(signal.SIGUSR1)} 1048576 0 v2 {usage} {stat}".split(" ")
    status = os.open(f"/proc/{watched.pid}/status", os.O_RDONLY)
    watched.kill()
    os.waitid(os.P_PID, watched.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(ProcessLookupError, match="zombie"):
        sentinel.Watch(watched.pid, status, words).poll()
    os.close(status)


def test_the_answer_waits_for_the_memory_of_killed_children(tmp_path: Path) -> None:
    """What a cell started is gone, memory and all, when the sentinel has answered that the cell is over."""
    program = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; x = b\"x\" * (200 << 20); print(flush=True); time.sleep(60)'], stdout=-1)\n"
        "child.stdout.readline(); print(child.pid, flush=True); sys.stdin.readline()\n"
    )
    usage, stat = _usage(tmp_path, 100, 3)
    armed = sentinel.ticks()
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    watch = sentinel.Watch(parent.pid, -1, ["50", "50", "0", "0", "1", str(armed), "v2", str(usage), str(stat)])
    watch.fired = 1  # the child was there before the watch was: it counts all the same, since it began after the cell
    assert sentinel._holds_memory(child)
    assert watch.finish(failed=True) == "ok 1 0\n"
    assert not sentinel._holds_memory(child)
    parent.communicate(b"\n")


def test_what_began_before_the_cell_is_not_its_child(watched: subprocess.Popen[bytes]) -> None:
    """The beginnings that the system writes and our own clock are one scale; a number that is nobody's has none."""
    assert 0 < sentinel.born(watched.pid) <= sentinel.ticks()
    watched.kill()
    watched.wait()
    assert sentinel.born(watched.pid) == -1
