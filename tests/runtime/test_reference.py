"""A reference tells stable data from shifted data, and travels as JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlguard_nb.errors import PolicyError
from mlguard_nb.runtime.reference import Reference

RANDOM = np.random.default_rng(3)
TRAINING = pd.DataFrame({"age": RANDOM.normal(40, 10, 5000), "city": ["x"] * 5000, "spent": RANDOM.gamma(2, 5, 5000)})


def test_data_of_the_same_population_is_stable() -> None:
    drifts = Reference.fit(TRAINING).compare(
        pd.DataFrame({"age": RANDOM.normal(40, 10, 4000), "spent": RANDOM.gamma(2, 5, 4000)})
    )
    assert [drift.column for drift in drifts] == ["age", "spent"]
    for drift in drifts:
        assert drift.psi < 0.1
        assert drift.ks < 0.05
        assert abs(drift.mean_shift) < 0.1
        assert not drift.is_shifted


def test_a_shift_of_one_deviation_is_seen_by_all_three_distances() -> None:
    moved = Reference.fit(TRAINING).compare(TRAINING.assign(age=TRAINING["age"] + 10))
    age, spent = moved
    assert age.is_shifted
    assert age.ks == pytest.approx(0.38, abs=0.03)  # 2 * Phi(1/2) - 1
    assert age.mean_shift == pytest.approx(1.0, abs=0.01)
    assert not spent.is_shifted


def test_nulls_and_a_column_of_nothing_else() -> None:
    half = TRAINING["age"].where(np.arange(5000) % 2 == 0)
    reference = Reference.fit(TRAINING[["age"]])
    assert reference.compare(half.to_frame())[0].nulls == pytest.approx(0.5)
    nothing = reference.compare(pd.DataFrame({"age": [np.nan, np.nan]}))[0]
    assert nothing.is_shifted
    assert nothing.ks == 1.0


def test_json_gives_the_same_answers(tmp_path: Path) -> None:
    reference = Reference.fit(TRAINING)
    loaded = Reference.load(reference.save(tmp_path / "reference.json"))
    assert loaded == reference
    assert loaded.compare(TRAINING) == reference.compare(TRAINING)


@pytest.mark.parametrize("text", ["", "[]", '{"columns": {"a": {}}}', '{"columns": 3}'])
def test_text_that_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(PolicyError, match="no reference"):
        Reference.from_json(text)


def test_arrays_and_constant_columns() -> None:
    reference = Reference.fit(np.column_stack([np.full(100, 3.0), np.arange(100.0)]))
    same, moved = reference.compare(np.column_stack([np.full(50, 3.0), np.arange(50.0) + 500]))
    assert not same.is_shifted
    assert moved.is_shifted


def test_there_must_be_something_to_learn_from() -> None:
    with pytest.raises(PolicyError, match="no numeric column"):
        Reference.fit(pd.DataFrame({"city": ["x"]}))
    with pytest.raises(PolicyError, match="not from dict"):
        Reference.fit({"a": 1})
