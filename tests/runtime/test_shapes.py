"""The shape grammar: what fits, what does not, and what the message says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlguard_nb.errors import PolicyError
from mlguard_nb.runtime.shapes import Bindings, parse_shape


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("", ()),
        ("3", (3,)),
        ("b 32", (7, 32)),
        ("_ _", (1, 2)),
        ("n n", (4, 4)),
        ("...", ()),
        ("... 3", (5, 6, 3)),
        ("b ... c", (1, 2)),
        ("*batch d", (2, 3, 4)),
        ("n n+1", (4, 5)),
        ("n 2*n-1", (4, 7)),
        ("rows=10", (10,)),
    ],
)
def test_fits(text: str, shape: tuple[int, ...]) -> None:
    assert parse_shape(text).mismatch(shape, {}) is None


@pytest.mark.parametrize(
    ("text", "shape", "why"),
    [
        ("", (1,), "0 dimensions, found 1"),
        ("b 32", (7, 31), "a dimension of 32, found 31"),
        ("b 32", (7,), "2 dimensions, found 1"),
        ("n n", (4, 5), "n is 4 here, found 5"),
        ("... 3", (), "at least 1 dimensions, found 0"),
        ("n n+1", (4, 4), "n + 1 is 5 here, found 4"),
    ],
)
def test_says_why_not(text: str, shape: tuple[int, ...], why: str) -> None:
    assert parse_shape(text).mismatch(shape, {}) == why


def test_names_are_bound_across_arrays() -> None:
    bound: Bindings = {}
    assert parse_shape("*batch d").mismatch((2, 3, 4), bound) is None
    assert bound == {"batch": (2, 3), "d": 4}
    assert parse_shape("*batch d").mismatch((2, 9, 4), bound) == "*batch is (2, 3) here, found (2, 9)"
    assert parse_shape("d").mismatch((5,), bound) == "d is 4 here, found 5"


@pytest.mark.parametrize("text", ["a ... *b", "a b!", "*1", "f(x)", "n**2", "'x'"])
def test_a_word_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(PolicyError, match="Array"):
        parse_shape(text)


@given(st.lists(st.integers(0, 9), max_size=5))
def test_a_shape_written_as_numbers_fits_only_itself(shape: list[int]) -> None:
    parsed = parse_shape(" ".join(map(str, shape)))
    assert parsed.mismatch(tuple(shape), {}) is None
    assert parsed.mismatch((*shape, 1), {}) is not None
