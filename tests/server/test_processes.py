"""What processes hold, measured on real ones."""

from __future__ import annotations

import os
import subprocess
import sys

from mlguard_nb.server.processes import ProcessTable
from mlguard_nb.telemetry.wire import Measured

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
