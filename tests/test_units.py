"""Sizes, shares and durations are read exactly, written back exactly, and never guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlguard_nb.errors import PolicyError
from mlguard_nb.units import format_bytes, format_duration, format_gib, parse_bytes, parse_duration, parse_limit


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("12GB", 12 * 10**9),
        ("12 GiB", 12 * 2**30),
        ("1.5GB", 1_500_000_000),
        ("512mb", 512 * 10**6),
        ("7B", 7),
        ("2e3MB", 2 * 10**9),
    ],
)
def test_sizes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@given(st.integers(1, 2**60))
def test_every_size_reads_back(count: int) -> None:
    assert parse_bytes(format_bytes(count)) == count


@given(st.floats(0, 1e12))
def test_every_duration_reads_back(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("1h", 3600), ("2d", 172800), ("500ms", 0.5), ("3", 3)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_limits_are_shares_or_bytes() -> None:
    assert parse_limit("0.8") == 0.8
    assert parse_limit("1") == 1.0
    assert parse_limit("12GB") == 12 * 10**9
    assert format_gib(12.8 * 2**30) == "12.8 GiB"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("12", "has no unit"),
        ("GB", "not a size"),
        ("3 parsecs", "not a unit of size"),
        ("0.1B", "less than one byte"),
        ("", "not a size"),
    ],
)
def test_a_wrong_size_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "message"), [("80%", "percentage"), ("12", "no unit"), ("0", "above 0"), ("x", "not a size")]
)
def test_a_wrong_limit_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse_limit(text)


def test_a_wrong_duration_says_what_to_write() -> None:
    with pytest.raises(PolicyError, match="not a duration"):
        parse_duration("3 weeks")
