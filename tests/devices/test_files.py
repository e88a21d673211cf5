"""Kernel files that stay open: who lets go of one last closes it, and what cannot be read is Unknown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlguard_nb.devices import Unknown
from mlguard_nb.devices.files import KeptFile


def test_a_file_is_opened_once_and_closed_by_who_drops_it(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    path.write_text("7\n")
    kept = KeptFile(path)
    assert [kept.number(), kept.number()] == [7, 7]
    assert kept._file is not None
    descriptor = kept._file.number
    path.write_text("max\n")
    assert kept.number() == -1
    assert os.fstat(descriptor).st_ino == path.stat().st_ino
    del kept
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_file_that_is_made_anew_is_found_again(tmp_path: Path) -> None:
    kept = KeptFile(tmp_path / "usage")
    missing = kept.number()
    assert isinstance(missing, Unknown)
    assert "No such file" in missing.reason
    assert not KeptFile(tmp_path / "no folder" / "limit", "wb").write(b"5")
    (tmp_path / "usage").write_text("many\n")
    odd = kept.number()
    assert isinstance(odd, Unknown)
    assert "'many'" in odd.reason


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system has no /proc")
@pytest.mark.parametrize("before_the_end", ["", "import os; os.closerange(3, 100)"])
def test_a_program_in_development_mode_hears_of_no_open_file(before_the_end: str) -> None:
    """Nor does one that has closed every file itself, as daemons do."""
    program = f"""if True:
        from mlguard_nb.devices.machine import LocalMachine
        machine = LocalMachine()
        assert machine.ram().used_bytes > 0
        {before_the_end}
    """
    ran = subprocess.run([sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=True)
    assert ran.stderr == ""
