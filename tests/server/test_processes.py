"""What processes hold, measured on real ones."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlguard_nb.server.processes import ProcessTable
from mlguard_nb.telemetry.wire import Measured
from mlguard_nb.testing import FakeClock

TREE = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
HOLD = "block = bytearray(64 * 2**20); print('ready', flush=True); input()"


def test_a_family_is_measured_with_its_children() -> None:
    """Memory that a child took shows in the family of its parent, and is gone with it."""
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        table = ProcessTable()
        assert child.pid in table.family(os.getpid())
        held = table.memory({child.pid}).value
        assert held is not None
        assert 64 * 2**20 <= held < 160 * 2**20
        assert table.owner(child.pid) == "mine"
        assert table.environment(child.pid) is not None
    finally:
        child.kill()
        child.wait()
    assert ProcessTable().memory({child.pid}) == Measured(None, "this process has ended")
    assert ProcessTable().owner(child.pid) == "absent"


@pytest.mark.parametrize("proc", ["/proc", "/nonexistent"])
def test_a_family_has_grandchildren_and_is_read_anew_after_five_seconds(proc: str) -> None:
    """By what Linux tells of each thread's children, and where it does not by the table of all processes."""
    clock = FakeClock()
    table = ProcessTable(clock, Path(proc))
    before = table.family(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", TREE], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert table.family(os.getpid()) == before
        clock.sleep(5.0)
        fresh = table.family(os.getpid()) - before
        assert child.pid in fresh
        assert len(fresh) == 2
    finally:
        child.communicate(b"\n")


def test_a_child_that_a_thread_started_belongs_to_the_family() -> None:
    """A server starts kernels from whichever thread it likes."""
    began, done = threading.Event(), threading.Event()
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        began.set()
        done.wait(30)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        assert began.wait(30)
        assert started[0].pid in ProcessTable().family(os.getpid())
    finally:
        started[0].communicate(b"\n")
        done.set()
        thread.join()
