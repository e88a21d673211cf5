"""The values themselves: what is unknown stays unknown, limits are shares or bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlguard_nb.devices import Ceiling, Ram, Unknown, headroom, known, limit_in_bytes, tightest
from mlguard_nb.devices.host import peak_bytes

NOBODY = Unknown("nobody says")


def test_unknown_is_no_truth_value() -> None:
    """`if reading:` would treat Unknown as a number; it raises and says what to write."""
    with pytest.raises(TypeError, match="isinstance"):
        bool(NOBODY)


def test_headroom_of_an_unknown_is_that_unknown() -> None:
    """The reason travels; a made-up 0 never appears."""
    assert headroom(NOBODY, 5) is NOBODY
    assert headroom(5, NOBODY) is NOBODY
    assert headroom(5, 9) == 0


def test_limits_are_shares_or_bytes() -> None:
    """A float is a share of the total, an int is bytes and never more than the total."""
    assert limit_in_bytes(0.5, 100) == 50
    assert limit_in_bytes(70, 100) == 70
    assert limit_in_bytes(170, 100) == 100
    assert limit_in_bytes(170, NOBODY) == 170
    assert limit_in_bytes(0.5, NOBODY) is NOBODY


def test_the_tightest_ceiling_has_the_least_room() -> None:
    """Not the lowest limit: the one that will be hit first."""
    low, full = Ceiling("low", 10, 1), Ceiling("full", 100, 99)
    assert tightest((low, full)) is full
    assert tightest(()) is None


def test_ram_headroom_is_the_least_of_all_ceilings() -> None:
    """Also where the level shown has more room, or is not known."""
    assert Ram(100, 10, ceilings=(Ceiling("ulimit -v", 50, 45),)).headroom_bytes == 5
    assert Ram(NOBODY, NOBODY, ceilings=(Ceiling("/app", 50, 45),)).headroom_bytes == 5
    assert Ram(NOBODY, NOBODY).headroom_bytes is NOBODY


def test_known_hands_none_to_sinks() -> None:
    """JSON has no words for a reason."""
    assert known(NOBODY) is None
    assert known(0) == 0


def test_the_peak_of_a_process_is_what_linux_says(tmp_path: Path) -> None:
    """In bytes, of this process or another; with the reason where nobody says."""
    for process in ("self", "12"):
        (tmp_path / process).mkdir()
    (tmp_path / "self" / "status").write_text("Name:\tpython\nVmHWM:\t  2048 kB\nVmRSS:\t 1 kB\n")
    (tmp_path / "12" / "status").write_text("Name:\tkthreadd\n")
    assert peak_bytes(proc=tmp_path) == 2 * 2**20
    assert peak_bytes(12, tmp_path) == Unknown(f"{tmp_path}/12/status has no VmHWM")
    gone = peak_bytes(13, tmp_path)
    assert isinstance(gone, Unknown)
    assert "No such file" in gone.reason
