"""Every learned schema accepts the data it was learned from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mlguard_nb.errors import PolicyError
from mlguard_nb.policy.schemas import Array, Col
from mlguard_nb.runtime.arrays import check_array
from mlguard_nb.runtime.frames import check_frame
from mlguard_nb.runtime.learning import learn, rounded_outwards
from mlguard_nb.runtime.shapes import parse_shape


@given(arrays(st.sampled_from(["float64", "float32", "int64", "uint8", "bool"]), array_shapes(max_side=5)))
def test_an_array_is_accepted_by_its_own_schema(array: Any) -> None:
    schema = learn(array)
    assert isinstance(schema, Array)
    assert check_array(schema, parse_shape(schema.shape or ""), "x", array, {})[0] == []


COLUMNS = {
    "whole": [1, 2, 3],
    "real": [1.5, float("nan"), -2.25],
    "text": ["a", None, "c"],
    "flag": [True, False, True],
    "when": pd.to_datetime(["2024-01-01", "2024-01-02", None]),
    "zoned": pd.to_datetime(["2024-01-01", "2024-01-02", None]).tz_localize("UTC"),
    "kind": pd.Categorical(["x", "y", "x"]),
    "nullable": pd.array([1, None, 3], dtype="Int64"),
    "large": np.array([1, 2, 2**63], dtype="uint64"),
    "mixed": [1, "a", 2.5],
    "lasts": pd.to_timedelta([1, 2, 3], unit="s"),
}


def test_a_pandas_frame_is_accepted_by_its_own_schema_without_a_warning() -> None:
    frame = pd.DataFrame(COLUMNS)
    assert check_frame(learn(frame), "df", frame) == ([], [])  # type: ignore[arg-type]


@given(st.lists(st.one_of(st.none(), st.floats(width=32)), min_size=1, max_size=20))
def test_any_column_of_numbers_is_accepted(values: list[float | None]) -> None:
    frame = pd.DataFrame({"a": pd.array(values, dtype="Float64")})
    assert check_frame(learn(frame), "df", frame)[0] == []  # type: ignore[arg-type]


def test_a_polars_frame_is_accepted_by_its_own_schema() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(
        {"whole": [1, 2, None], "real": [0.5, float("nan"), None], "text": ["a", None, "b"], "flag": [True, None, False],
         "many": [[1], [2, 3], []]}
    )  # fmt: skip
    assert check_frame(learn(frame), "df", frame) == ([], [])  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_ranges_are_only_ever_rounded_outwards(one: float, other: float) -> None:
    low, high = sorted((one, other))
    seen = rounded_outwards(low, high)
    assert seen[0] <= low <= high <= seen[1]


def test_a_learned_range_only_warns() -> None:
    schema = learn(pd.DataFrame({"age": [20.0, 60.0]}))
    broken, warned = check_frame(schema, "df", pd.DataFrame({"age": [90.0]}))  # type: ignore[arg-type]
    assert broken == []
    assert [(v.argument, v.rule) for v in warned] == [("df.age", "seen")]
    assert dict(schema.columns)["age"] == Col(float, seen=(20.0, 60.0))  # type: ignore[union-attr]


def test_other_values_are_refused() -> None:
    with pytest.raises(PolicyError, match="not from dict"):
        learn({"a": 1})
