"""Reductions over every value: the range by bit patterns says what two comparisons would, whatever the numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlguard_nb.runtime.reductions import CHUNK_BYTES, extremes, is_finite, is_within

FLOATS = st.sampled_from(["float16", "float32", "float64"]).flatmap(
    lambda dtype: hnp.arrays(dtype, st.integers(1, 12), elements=hnp.from_dtype(np.dtype(dtype)))
)
EDGES = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 0.1, math.inf])


@given(FLOATS, st.just(0.0) | EDGES, EDGES, st.booleans(), st.booleans())
def test_within_means_that_every_value_compares_so(
    numbers: Any, low: float, high: float, low_open: bool, high_open: bool
) -> None:
    with np.errstate(over="ignore"):
        above = numbers > low if low_open else numbers >= low
        below = numbers < high if high_open else numbers <= high
        wanted = bool((above & below).all())
        assert is_within(numbers, low, high, low_open, high_open) == wanted


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("value", "fits"),
    [(0.0, True), (-0.0, True), (1.0, True), (-1e-30, False), (1.0001, False), (math.nan, False), (-math.inf, False)],
)
def test_one_odd_value_in_the_last_piece_is_seen(dtype: str, value: float, fits: bool) -> None:
    numbers = np.full(3 * CHUNK_BYTES // np.dtype(dtype).itemsize, 0.5, dtype)
    numbers[-1] = value
    assert is_within(numbers, 0, 1) == fits
    assert is_within(numbers[::-1], 0, 1) == fits
    assert is_within(numbers.astype(numbers.dtype.newbyteorder()), 0, 1) == fits


@pytest.mark.parametrize(("dtype", "high"), [("float16", 1e-20), ("float32", 1e-60), ("float64", 5e-324)])
@pytest.mark.parametrize("value", [0.0, 1.0, math.nan])
def test_an_open_bound_that_is_next_to_nothing_lets_nothing_else_in(dtype: str, high: float, value: float) -> None:
    """Found by hypothesis: 1e-20 is 0 as float16, and no number of [0, 0) is below it."""
    numbers = np.full(3, value, dtype)
    assert is_within(numbers, 0.0, high, False, True) == (value == 0.0 and dtype == "float64")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_bound_means_the_nearest_number_of_the_dtype(dtype: str) -> None:
    for bound in (0.1, 0.7):
        assert is_within(np.array([bound], dtype), bound, 9)
        assert is_within(np.array([bound], dtype), 0, bound)


@given(FLOATS)
def test_finite_means_every_value_is(numbers: Any) -> None:
    assert is_finite(numbers) == bool(np.isfinite(numbers).all())
    low, high = extremes(numbers)
    assert (low, high) == (numbers.min(), numbers.max()) or math.isnan(low)


def test_complex_numbers_and_times_can_be_missing_too() -> None:
    assert is_finite(np.array([1 + 1j]))
    assert not is_finite(np.array([complex(0, math.nan)]))
    assert not is_finite(np.array(["NaT"], "datetime64[s]"))
    assert is_finite(np.array([3], "timedelta64[s]"))
