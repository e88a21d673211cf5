"""Drift is measured on a thread, from a sample of what was served lately."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mlguard_nb.runtime.drift import LEAST_ROWS, MOST_ROWS, RESERVOIR_ROWS, DriftWatch
from mlguard_nb.runtime.reference import Reference

if TYPE_CHECKING:
    import pytest

RANDOM = np.random.default_rng(5)
REFERENCE = Reference.fit(pd.DataFrame({"a": RANDOM.normal(size=4000), "b": RANDOM.normal(size=4000)}))


def served(rows: int, shift: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame({"a": RANDOM.normal(size=rows) + shift, "b": RANDOM.normal(size=rows)})


def test_nothing_is_said_before_there_are_rows_enough() -> None:
    told: list[Any] = []
    watch = DriftWatch(REFERENCE, told.append)
    watch.offer(served(LEAST_ROWS - 1))
    watch.flush()
    assert told == []
    watch.offer(served(1))
    watch.flush()
    assert len(told) == 1


def test_a_shift_is_told_by_column() -> None:
    told: list[Any] = []
    watch = DriftWatch(REFERENCE, told.append)
    watch.offer(served(2000, shift=2.0))
    watch.flush()
    shifted = {drift.column: drift.is_shifted for drift in told[-1]}
    assert shifted == {"a": True, "b": False}


def test_a_shift_shows_however_much_good_data_was_served_before() -> None:
    """A sample of all that was ever served would dilute it: after a month, for a month."""
    told: list[Any] = []
    watch = DriftWatch(REFERENCE, told.append)
    for _ in range(200):
        watch.offer(served(MOST_ROWS))
        watch.flush()
    assert len(watch._rows) == RESERVOIR_ROWS
    assert not any(drift.is_shifted for drift in told[-1])
    for _ in range(12):
        watch.offer(served(MOST_ROWS, shift=4.0))
        watch.flush()
    assert {drift.column: drift.is_shifted for drift in told[-1]} == {"a": True, "b": False}


def test_rows_of_a_large_call_are_spread_over_it_and_copied() -> None:
    """What the function writes into its argument afterwards is not what was served."""
    told: list[Any] = []
    watch = DriftWatch(REFERENCE, told.append)
    frame = pd.DataFrame({"a": np.arange(5.0 * MOST_ROWS), "b": 0.0})
    array = frame.to_numpy()
    for data in (frame, array[:MOST_ROWS]):
        rows = watch._some_rows(data)
        assert rows.shape == (MOST_ROWS, 2)
        assert not np.shares_memory(rows, array)
    assert watch._some_rows(frame)[-1, 0] >= 4.9 * MOST_ROWS


def test_a_watch_that_cannot_tell_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []

    def tell(drifts: Any) -> None:
        told.append(drifts)
        if len(told) == 1:
            raise OSError("the disk is full")

    watch = DriftWatch(REFERENCE, tell)
    for _ in range(2):
        watch.offer(served(MOST_ROWS))
        watch.flush()
    assert len(told) == 2
    assert "could not be measured" in caplog.text


def test_data_without_the_columns_counts_as_missing_and_text_is_left_alone() -> None:
    told: list[Any] = []
    watch = DriftWatch(REFERENCE, told.append)
    watch.offer({"not": "a frame"})
    watch.offer(served(LEAST_ROWS)[["b"]])
    watch.flush()
    assert told[0][0].ks == 1.0
    assert not told[0][1].is_shifted


def test_it_travels_without_its_thread() -> None:
    watch = DriftWatch(REFERENCE, print)
    watch.offer(served(10))
    watch.flush()
    copy = pickle.loads(pickle.dumps(watch))
    copy.offer(served(10))
    copy.flush()
    assert copy._seen == 10
