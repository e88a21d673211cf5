"""Drift is measured on a thread, from a fair sample of what was served."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd

from mlguard_nb.runtime.drift import LEAST_ROWS, RESERVOIR_ROWS, DriftWatch
from mlguard_nb.runtime.reference import Reference

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


def test_every_served_row_has_the_same_chance_to_be_kept() -> None:
    told: list[Any] = []
    watch = DriftWatch(REFERENCE, told.append)
    for _ in range(10):  # half of all rows are shifted, the early half
        watch.offer(served(RESERVOIR_ROWS // 2, shift=4.0))
    for _ in range(10):
        watch.offer(served(RESERVOIR_ROWS // 2))
    watch.flush()
    a = watch._rows[:, 0]
    assert len(a) == RESERVOIR_ROWS
    assert abs((a > 2).mean() - 0.5) < 0.03


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
