"""validate_input: what is refused, what the error says, and what is let through."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import warnings
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import BaseModel, Field

from mlguard_nb import Array, Col, Frame, InputRejected, PolicyError, Reference, ValidatePolicy, validate_input
from mlguard_nb.policy.values import NameRef
from mlguard_nb.runtime import learning
from mlguard_nb.runtime.checking import SMALL_BYTES
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import DriftMeasured, InputRefused, InputUnusual

BIG = SMALL_BYTES // 4


def guarded(schema: Any, **options: Any) -> Any:
    @validate_input(x=schema, **options)
    def function(x: Any) -> Any:
        return x

    return function


def rules(error: InputRejected) -> list[tuple[str, str]]:
    return [(violation.argument, violation.rule) for violation in error.violations]


GOOD = np.full((4, 3), 0.5, dtype="float32")

ACCEPTED = [
    (Array("b 3", "float32", ge=0, le=1), GOOD),
    (Array("b 3", "float32"), GOOD),
    (Array("b 3"), GOOD.astype("int8")),
    (Array("...", "float64", gt=0), np.full(BIG, 1.0)),
    (Array("*any", "float16", ge=0, le=1), GOOD.astype("float16")),
    (Array("b 3", "float32", nan="allow"), GOOD * np.nan),
    (Array("n", nan=0.5), np.array([1.0, np.nan])),
    (Array("0 3"), np.zeros((0, 3))),
    (Array("n", "bool"), np.array([True])),
    (Array("n", "float32"), np.full(8, 1e30, dtype="float32")),  # whose sum of squares overflows
    (Array("n", "int64", ge=0), np.arange(BIG)),
    (Frame({"a": Col(float, ge=0, nan=0.5), "b": str}), pd.DataFrame({"a": [1.0, np.nan], "b": ["x", "y"]})),
    (Array("n", "float64", ge=0), np.ones(BIG)),  # one bound: the other end is only finite
    (Array("n", "float64", ge=0, le=1), np.r_[np.ones(BIG), -0.0]),
    (Array("n", "float64", ge=0, nan="allow"), np.array([np.inf, 1.0])),
    (Array("n", "<f4"), GOOD[0]),
    (Array("n", "str"), np.array(["a", "long"])),
    (Array("n", "datetime64"), np.array(["2020-01-01"], "datetime64[ns]")),
    (Array("n", "complex64"), np.ones(2, "complex64")),
    (Array("n", "object", ge=0), np.array([1, 2.5], dtype=object)),
    (Array("n", "bool", le=1), np.array([True])),
    (Array("_rows _rows"), np.ones((2, 3))),  # what begins with _ is not bound
    (Frame({"0": Col(float, ge=0)}), pd.DataFrame({0: [1.0]})),
    (Frame({"a": Col(str, isin=(["x"], "y"))}), pd.DataFrame({"a": ["y"]})),
    (Col(int, ge=0), np.int64(3)),
    (Col(float, ge=0), np.float32(3)),
    (Col(float, ge=0), 3),
    (Col(float, ge=0), pd.Series([0.0, 2.0])),
    (int, 3),
    (float, 3),
    (list[int], [1, 2]),
]


@pytest.mark.parametrize(("schema", "value"), ACCEPTED, ids=range(len(ACCEPTED)))
def test_good_values_pass_untouched(schema: Any, value: Any) -> None:
    assert guarded(schema)(value) is value


REFUSED = [
    (Array("b 3", "float32"), GOOD.tolist(), [("x", "type")]),
    (Array("b 4", "float64"), GOOD, [("x", "dtype"), ("x", "shape")]),
    (Array("b 3", "float32", ge=0, le=1), GOOD * 3, [("x", "<=")]),
    (Array("b 3", "float32", gt=0.5), GOOD, [("x", ">")]),
    (Array("b 3", "float32", lt=0.5), GOOD, [("x", "<")]),
    (Array("n", "float64"), np.array([1.0, np.nan]), [("x", "finite")]),
    (Array("n", "float64"), np.array([1.0, np.inf]), [("x", "finite")]),
    (Array("n", "float64", ge=0), np.array([1.0, np.inf]), [("x", "finite")]),
    (Array("n", "float64", ge=0, le=9), np.r_[np.ones(BIG), np.nan], [("x", "finite")]),
    (Array("n", "float64", ge=0, le=9), np.r_[np.ones(BIG), -1], [("x", ">=")]),
    (Array("n", "float16", le=1), np.full(4, 2, dtype="float16"), [("x", "<=")]),
    (Array("n", nan=0.1), np.array([1.0, np.nan]), [("x", "finite")]),
    (Frame({"a": float}), [1], [("x", "type")]),
    (
        Frame({"a": Col(float, ge=0), "b": Col(str, isin=("x",)), "c": int}, extra="forbid", min_rows=9),
        pd.DataFrame({"a": [-1.0, np.nan], "b": ["x", "z"], "d": [1, 2]}),
        [("x.a", "nulls"), ("x.a", ">="), ("x.b", "isin"), ("x.c", "column"), ("x", "extra"), ("x", "rows")],
    ),
    (Frame({"a": int}), pd.DataFrame({"a": ["1"]}), [("x.a", "dtype")]),
    (Col(float, ge=0, le=1), 2.0, [("x", "<=")]),
    (Col(int), None, [("x", "nulls")]),
    (Col(str, isin=("a", "b")), "c", [("x", "isin")]),
    (Col(int), True, [("x", "type")]),
    (Col(None, ge=0), "a", [("x", "type")]),
    (Array("n"), np.array([1, complex(0, np.nan)]), [("x", "finite")]),
    (Array("n"), np.array(["2020-01-01", "NaT"], "datetime64[D]"), [("x", "finite")]),
    (Array("n"), np.array(["a", None], dtype=object), [("x", "finite")]),
    (Array("n", ge=0), np.array([-1, None], dtype=object), [("x", "finite"), ("x", ">=")]),
    (Array("n", ge=0), np.array(["a"]), [("x", "dtype")]),
    (Array("n", ge=0), np.array(["2020-01-01"], "datetime64[D]"), [("x", "dtype")]),
    (Array("n", ge=0), np.ones(2, "complex64"), [("x", "dtype")]),
    (Array("n", ge=2), np.array([True]), [("x", ">=")]),
    (Array("n", ge=0), np.ma.array([1.0, 5.0, -5.0], mask=[0, 1, 0]), [("x", "finite"), ("x", ">=")]),
    (Frame({"a": Col(float)}), pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), [("x.a", "column")]),
    (Frame({"a": Col("object", ge=0)}), pd.DataFrame({"a": [1, "b"]}, dtype=object), [("x.a", ">=")]),
    (Frame({"a": Col("object", isin=("b",))}), pd.DataFrame({"a": [[1]]}), [("x.a", "isin")]),
    (Frame({"a": Col(ge=0)}), pd.DataFrame({"a": pd.to_datetime(["2020"])}), [("x.a", ">=")]),
    (Frame({"a": Col(float, ge="a", isin=(2.0,))}), pd.DataFrame({"a": [1.0]}), [("x.a", ">="), ("x.a", "isin")]),
    (Frame({"a": Col(ge=0)}), pl.DataFrame({"a": [dt.date(2020, 1, 1), None]}), [("x.a", "nulls"), ("x.a", ">=")]),
    (Frame({"a": Col(le=2**53)}), pd.DataFrame({"a": pd.array([2**53 + 1], dtype="Int64")}), [("x.a", "<=")]),
    (int, "3", [("x", "int_type")]),
    (int, True, [("x", "int_type")]),
    (list[int], [1, "2"], [("x[1]", "int_type")]),
]


@pytest.mark.parametrize(("schema", "value", "broken"), REFUSED, ids=range(len(REFUSED)))
def test_bad_values_are_refused_with_every_rule(schema: Any, value: Any, broken: list[tuple[str, str]]) -> None:
    with pytest.raises(InputRejected) as caught:
        guarded(schema)(value)
    assert rules(caught.value) == broken


def test_the_error_names_count_place_and_value() -> None:
    values = np.array([0.1, 0.2, 7.0, 9.0])
    with pytest.raises(InputRejected) as caught:
        guarded(Array("n", "float64", ge=0, le=1))(values)
    assert str(caught.value).endswith("x: <=: expected <= 1, found 2 of 4 outside, first 7.0 at 2")


def test_a_place_has_an_index_for_each_dimension_whatever_was_sampled() -> None:
    values = np.zeros((300, 200))
    values[299, 199] = 5.0
    values[::60] = 9.0
    for array in (values, np.asfortranarray(values)):
        with pytest.raises(InputRejected, match=r"1001 of 60000 outside, first 9.0 at \(0, 0\)"):
            guarded(Array("a b", le=1))(array)
    sparse = pd.DataFrame({"a": np.zeros(50_000)})
    sparse.loc[40_000:, "a"] = 3.0
    with pytest.raises(InputRejected, match="2000 of 10000, first 3.0 at row 40000"):
        guarded(Frame({"a": Col(float, le=1)}), depth="sample")(sparse)
    with pytest.raises(InputRejected, match=r"first 9.0 at \(0, 0\)"):
        guarded(Array("a b", le=1), depth="sample")(values)


def test_dimensions_are_bound_across_arguments_and_the_result() -> None:
    @validate_input(a=Array("n d"), b=Array("d m"), returns=Array("n m"))
    def product(a: Any, b: Any) -> Any:
        return a @ b if a.shape[0] != 7 else a

    assert product(np.ones((2, 3)), np.ones((3, 4))).shape == (2, 4)
    with pytest.raises(InputRejected, match="d is 3 here"):
        product(np.ones((2, 3)), np.ones((4, 3)))
    with pytest.raises(InputRejected, match="returns: shape"):
        product(np.ones((7, 3)), np.ones((3, 4)))


def test_a_shared_dimension_is_seen_by_the_fast_path_too() -> None:
    @validate_input(a=Array("n", nan="allow"), b=Array("n", nan="allow"))
    def both(a: Any, b: Any) -> bool:
        return True

    assert both(np.ones(3), np.ones(3))
    with pytest.raises(InputRejected, match="n is 3 here, found 4|n is 3 here"):
        both(np.ones(3), np.ones(4))


def test_schemas_are_read_from_annotations() -> None:
    @validate_input
    def function(x: Annotated[np.ndarray[Any, Any], Array("3")], y: int = 0) -> Annotated[Any, Array("3")]:
        return x

    assert function(np.ones(3)).shape == (3,)
    with pytest.raises(InputRejected):
        function(np.ones(4))


def test_the_schema_of_args_and_kwargs_is_that_of_each() -> None:
    """As type checkers read the annotation; the dimensions are shared."""

    @validate_input
    def function(*x: Annotated[Any, Array("n")], **named: Annotated[Any, Array("n 2")]) -> int:
        return len(x) + len(named)

    assert function(np.ones(3), np.ones(3), y=np.ones((3, 2))) == 3
    with pytest.raises(InputRejected) as refused:
        function(np.ones(3), np.ones(4), y=np.ones((3, 1)))
    assert [violation.argument for violation in refused.value.violations] == ["x[1]", "named['y']"]
    assert validate_input(x=int, coerce=True)(lambda *x: x)("1", 2) == (1, 2)


def test_annotations_may_allow_none_and_hold_conditions_of_pydantic() -> None:
    @validate_input
    def function(
        x: Annotated[np.ndarray[Any, Any], Array("3")] | None = None, age: Annotated[int, Field(ge=0)] = 0
    ) -> int:
        return age

    assert function() == function(None) == 0
    assert function(np.ones(3), age=7) == 7
    with pytest.raises(InputRejected, match=r"x: shape(.|\n)*age: greater_than_equal"):
        function(np.ones(4), age=-1)


def test_what_may_be_left_out_may_be_none() -> None:
    """As nobody gives a mask to a function whose mask is None unless it is given."""

    @validate_input(x=Array("n"), mask=Array("n", "bool"))
    def function(x: Any, mask: Any = None) -> Any:
        return mask

    assert function(np.ones(2)) is None
    assert function(np.ones(2), np.ones(2, bool)).all()
    with pytest.raises(InputRejected, match="mask: shape"):
        function(np.ones(2), np.ones(3, bool))
    with pytest.raises(InputRejected, match="x: type"):
        function(None)


def test_a_bare_decorator_takes_the_learned_schemas() -> None:
    learning.remember("Features", learning.learn(pd.DataFrame({"a": [1.0, 2.0]})))
    try:

        @validate_input
        def score(features: Any) -> int:
            return len(features)

        assert score(pd.DataFrame({"a": [50.0]})) == 1  # outside what was seen: unusual, not refused
        with pytest.raises(InputRejected):
            score(pd.DataFrame({"b": [1.0]}))
    finally:
        learning.forget()


class Order(BaseModel):
    amount: int


def test_without_coerce_nothing_is_converted_and_with_it_the_function_gets_the_result() -> None:
    with pytest.raises(InputRejected):
        guarded(Order)({"amount": "3"})
    assert guarded(Order, coerce=True)({"amount": "3"}) == Order(amount=3)
    assert guarded(Order)(Order(amount=3)) == Order(amount=3)


def test_arrays_and_frames_are_never_converted() -> None:
    """A cast can lose values and takes as much memory again: another dtype is refused, also with coerce=True."""
    for schema, value in (
        (Array(dtype="float32"), np.ones(3)),
        (Frame({"a": Col(float)}), pd.DataFrame({"a": [1]})),
        (Col(float), "3"),
    ):
        with pytest.raises(InputRejected):
            guarded(schema, coerce=True)(value)


def test_a_pandera_schema_is_taken_in_place_of_a_frame() -> None:
    pa = pytest.importorskip("pandera.pandas", reason="pandera is not installed; `make bench` installs it")
    schema = pa.DataFrameSchema({"a": pa.Column(float, pa.Check.ge(0))})
    frame = pd.DataFrame({"a": [1.0]})
    assert guarded(schema)(frame) is frame
    with pytest.raises(InputRejected) as caught:
        guarded(schema)(pd.DataFrame({"a": [-1.0, -2.0]}))
    assert len(caught.value.violations) == 2
    with pytest.raises(InputRejected, match="expected a frame, found list"):
        guarded(schema)([1])

    def annotated(df: Any) -> int:
        return len(df)

    annotated.__annotations__ = {"df": Annotated[pd.DataFrame, schema]}
    with pytest.raises(InputRejected, match=r"df\.a"):
        validate_input(annotated)(pd.DataFrame({"a": [-1.0]}))


def test_a_pandera_schema_for_polars_too() -> None:
    pa = pytest.importorskip("pandera.polars", reason="pandera is not installed; `make bench` installs it")
    check = guarded(pa.DataFrameSchema({"a": pa.Column(float, pa.Check.ge(0))}))
    assert check(pl.DataFrame({"a": [1.0]})).shape == (1, 1)
    with pytest.raises(InputRejected, match=r"x\.a: pandera"):
        check(pl.DataFrame({"a": [-1.0]}))


def test_a_positional_mapping_names_parameters_that_are_options() -> None:
    @validate_input({"returns": int, "depth": int})
    def odd(returns: int, depth: int) -> int:
        return returns + depth

    assert odd(1, depth=2) == 3
    with pytest.raises(InputRejected):
        odd("a", 2)


# What happens on failure.


def test_warn_lets_the_call_through(caplog: pytest.LogCaptureFixture) -> None:
    assert guarded(int, on_fail="warn")("3") == "3"
    assert "rejected its input" in caplog.text


def test_a_function_is_called_instead() -> None:
    assert guarded(int, on_fail=lambda x: f"instead of {x}")("3") == "instead of 3"

    @validate_input(x=int, on_fail=lambda x: -1)
    async def function(x: int) -> int:
        return x

    assert asyncio.run(function("3")) == -1  # type: ignore[arg-type]


def test_a_fallback_answers_for_generators_too() -> None:
    @validate_input(n=int, on_fail=lambda n: [-1])
    def count(n: int) -> Iterator[int]:
        yield n

    @validate_input(n=int, on_fail=lambda n: [-1])
    async def count_async(n: int) -> AsyncIterator[int]:
        yield n

    async def minus(n: int) -> AsyncIterator[int]:
        yield -2

    async def collect(function: Any, n: Any) -> list[int]:
        return [number async for number in function(n)]

    assert list(count(3)) == asyncio.run(collect(count_async, 3)) == [3]
    assert list(count("3")) == asyncio.run(collect(count_async, "3")) == [-1]  # type: ignore[arg-type]
    twice = validate_input(n=int, on_fail=minus)(count_async.__wrapped__)  # type: ignore[attr-defined]
    assert asyncio.run(collect(twice, "3")) == [-2]


def test_a_bad_result_goes_the_way_of_bad_input(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def bad(x: int) -> Any:
        return "bad"

    async def bad_async(x: int) -> Any:
        return "bad"

    assert validate_input(returns=int, on_fail="warn")(bad)(1) == "bad"
    assert "returns: int_type" in caplog.text
    assert validate_input(returns=int, on_fail=lambda x: -x)(bad)(7) == -7
    assert asyncio.run(validate_input(returns=int, on_fail=lambda x: -x)(bad_async)(7)) == -7
    with pytest.raises(InputRejected):
        validate_input(returns=int, on_fail=f"quarantine:{tmp_path}")(bad)(7)
    (kept,) = tmp_path.iterdir()
    assert json.loads((kept / "violations.json").read_text())["arguments"] == {"x": "7", "returns": "'bad'"}


def test_what_cannot_be_kept_does_not_hide_the_refusal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    for schema, value in ((int, Broken()), (Frame({"z": int}), pl.DataFrame({"a": [[1, 2]]}))):
        with pytest.raises(InputRejected):
            guarded(schema, on_fail=f"quarantine:{tmp_path}")(value)
    kept = [json.loads(file.read_text())["arguments"]["x"] for file in tmp_path.rglob("violations.json")]
    assert len(kept) == 2
    assert all(text.startswith("not kept: ") for text in kept)
    assert "cannot be kept" in caplog.text


def test_quarantine_keeps_the_input_and_raises(tmp_path: Path) -> None:
    @validate_input(df=Frame({"a": Col(float, ge=0)}), x=Array("2"), on_fail=f"quarantine:{tmp_path / 'q'}")
    def function(df: Any, x: Any, note: str = "plain") -> None:
        raise AssertionError

    with pytest.raises(InputRejected):
        function(pd.DataFrame({"a": [-1.0]}), np.ones(3))
    (kept,) = (tmp_path / "q").iterdir()
    told = json.loads((kept / "violations.json").read_text())
    assert [violation["rule"] for violation in told["violations"]] == [">=", "shape"]
    assert pd.read_csv(kept / "df.csv")["a"].tolist() == [-1.0]
    assert np.load(kept / "x.npy").tolist() == [1, 1, 1]
    assert told["arguments"]["note"] == "'plain'"


def test_a_quarantine_that_cannot_be_written_does_not_hide_the_refusal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputRejected):
        guarded(int, on_fail=f"quarantine:{tmp_path / 'file'}")("3")
    assert "cannot be written" in caplog.text


def test_a_refusal_is_told_to_the_bus() -> None:
    heard: list[Any] = []
    stop = bus.subscribe(heard.append)
    try:
        with pytest.raises(InputRejected):
            guarded(int)("3")
    finally:
        stop()
    assert [event.rules for event in heard if isinstance(event, InputRefused)] == [("int_type",)]


def test_depth_decides_how_much_is_read() -> None:
    spoiled = GOOD * np.nan
    assert guarded(Array("b 3", "float32"), depth="schema")(spoiled) is spoiled
    with pytest.raises(InputRejected):
        guarded(Array("n"), depth="sample")(np.full(100_000, np.nan))
    one_bad = np.ones(100_000)
    one_bad[5] = np.nan
    assert guarded(Array("n"), depth="sample")(one_bad) is one_bad  # a sample may miss one of many


def test_drift_against_a_reference_is_measured_off_the_call_path() -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": random.normal(size=2000)})
    heard: list[Any] = []
    stop = bus.subscribe(heard.append)

    @validate_input(x=Frame({"a": float}), stats=Reference.fit(frame))
    def score(x: Any) -> int:
        return len(x)

    try:
        assert score(frame + 3) == 2000
        score.__mlguard_guards__[0].watch.flush()  # type: ignore[attr-defined]
    finally:
        stop()
    (drift,) = [event for event in heard if isinstance(event, DriftMeasured)]
    assert drift.column == "a"
    assert drift.psi > 0.25


def test_a_reference_is_held_against_the_argument_with_a_schema() -> None:
    """Another frame may stand before it."""
    reference = Reference.fit(pd.DataFrame({"a": [1.0, 2.0, 3.0]}))
    join = validate_input(right=Frame({"a": float}), stats=reference)(lambda left, right: len(left))

    assert join(pd.DataFrame({"other": [1]}), pd.DataFrame({"a": [2.0]})) == 1


def test_a_reference_checks_columns_and_range_on_each_call() -> None:
    """A column that is missing is refused; a value outside the training data is counted, and let through."""
    reference = Reference.fit(pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [5, 6, 7]}))
    heard: list[Any] = []
    stop = bus.subscribe(heard.append)
    score = validate_input(stats=reference)(lambda model, x: len(x))
    try:
        assert score("m", pd.DataFrame({"a": [1.5, np.nan], "b": [5, 6]})) == 2
        assert [event for event in heard if isinstance(event, InputUnusual)] == []
        assert score("m", pl.DataFrame({"a": [1.5, 99.0], "b": [5, 6]})) == 2
        assert [event.columns for event in heard if isinstance(event, InputUnusual)] == [("x.a",)]
    finally:
        stop()
    for bad, rule in (
        (pd.DataFrame({"a": [1.5]}), "x.b: column"),
        (pd.DataFrame({"a": ["1"], "b": [5]}), "x.a: column"),
        (np.ones((2, 1)), "x.b: column"),
        (np.array(["a"]), "x: dtype"),
        ([1.0, 2.0], "stats: type"),
    ):
        with pytest.raises(InputRejected, match=rule):
            score("m", bad)


def test_one_column_more_in_an_array_is_refused() -> None:
    """They have no names: with a feature put in front every other one is taken for its neighbour."""
    score = validate_input(stats=Reference.fit(np.eye(3)))(lambda x: len(x))
    assert score(np.eye(3)) == 3
    with pytest.raises(InputRejected, match="expected 3 columns, found 4"):
        score(np.zeros((5, 4)))


# Kinds of function, and mistakes.


def test_generators_are_checked_when_they_start() -> None:
    @validate_input(n=int)
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    @validate_input(n=int)
    async def count_async(n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    async def collect(n: Any) -> list[int]:
        return [number async for number in count_async(n)]

    assert list(count(3)) == asyncio.run(collect(3)) == [0, 1, 2]
    with pytest.raises(InputRejected):
        list(count("3"))  # type: ignore[arg-type]
    with pytest.raises(InputRejected):
        asyncio.run(collect("3"))


@pytest.mark.parametrize(
    ("decorate", "message"),
    [
        (lambda: validate_input(y=int)(lambda x: x), "no parameter 'y'"),
        (lambda: validate_input(lambda x: x), "nothing to check"),
        (lambda: validate_input(x=Array("d+1"))(lambda x: x), "not bound"),
        (lambda: validate_input(ValidatePolicy(schemas=(("x", int),)), x=int), "not both"),
        (lambda: validate_input(3), "takes a function"),
        (lambda: validate_input(x=int, stats=3)(lambda x: x), "must be a Reference"),
        (lambda: validate_input(x=int, on_fail="shout"), "on_fail"),
        (lambda: validate_input(x=int, on_fail=lambda: 1)(lambda x: x), "on_fail <lambda>.* cannot be called as"),
        (lambda: validate_input(x=int, on_fail=NameRef("other"))(lambda x: x), "never bound"),
        (lambda: validate_input(x="int")(lambda x: x), "schema of x must be"),
        (lambda: validate_input(x={"a": 1})(lambda x: x), "schema of x must be"),
        (lambda: validate_input(x=Array("n", "flaot32"))(lambda x: x), "flaot32"),
        (lambda: validate_input(x=Frame({"a": "flaot"}))(lambda x: x), "a: Col\\('flaot'\\) is no dtype"),
        (lambda: validate_input(x=Col(dict))(lambda x: x), "is no dtype"),
    ],
)
def test_mistakes_are_named_at_decoration(decorate: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        decorate()


def test_a_model_that_pydantic_cannot_read_is_named_at_the_first_call() -> None:
    class Odd:
        @classmethod
        def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
            return {"type": "no such thing"}

    with pytest.raises(PolicyError, match="schema of x must be"):
        guarded(list[Odd])([])


def test_checking_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for schema, value in ACCEPTED:
            guarded(schema)(value)
        for schema, value, _broken in REFUSED:
            with pytest.raises(InputRejected):
                guarded(schema)(value)
