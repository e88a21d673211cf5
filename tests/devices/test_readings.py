"""The values themselves: what is unknown stays unknown, limits are shares or bytes."""

from __future__ import annotations

import pytest

from mlguard_nb.devices import Ceiling, Ram, Unknown, headroom, known, limit_in_bytes, tightest

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
