"""What makes two calls of a cached function one: the content of the arguments, and the code."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlguard_nb import cache_result
from mlguard_nb.errors import PolicyError
from tests.runtime.counting import counted


@pytest.mark.parametrize(
    "others",
    [
        (1, True, 1.0, "1", b"1", 1 + 0j, (1,), [1]),
        (0.0, -0.0, 0, False, None, ""),
        (np.zeros(3), np.zeros(3, "f4"), np.zeros((3, 1)), np.zeros(4), [0.0, 0.0, 0.0], np.array([0.0, 0.0, -0.0])),
        ({"a": 1}, {"a": 1.0}, {"b": 1}),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}), pd.DataFrame({"a": [2]})),
    ],
)
def test_arguments_that_differ_never_share_a_result(others: tuple[Any, ...]) -> None:
    """Also where Python's == or str() would take them for one."""
    function = counted()
    first = [function(value) for value in others]
    assert len(set(first)) == len(others)
    assert [function(value) for value in others] == first


def test_equal_content_is_the_same_call() -> None:
    """A copy of an array or of a view of it, another order of keywords, a default spelt out, a keyword instead of a position."""
    function = counted()
    assert function(np.arange(5)) == function(np.arange(5).copy()) == function(np.arange(10)[::2] // 2)
    assert function(np.arange(10)[::2]) == function(np.arange(10)[::2].copy())
    assert function(1, a=1, b=2) == function(1, b=2, a=1)
    calls: list[int] = []

    @cache_result
    def scaled(x: int, factor: int = 2) -> int:
        calls.append(x)
        return x * factor

    assert scaled(3) == scaled(3, 2) == scaled(x=3) == scaled(factor=2, x=3) == 6
    assert calls == [3]


def test_every_kind_of_parameter_counts() -> None:
    """Positional-only, keyword-only, extra ones; invalidate finds the key that the call made."""

    @cache_result
    def function(a: Any, /, b: Any = 2, *rest: Any, c: Any, d: Any = None, **named: Any) -> Any:
        return [a, b, rest, c, d, named]

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((1,), {"c": 1}), ((1, 2), {"c": 1, "d": 0}), ((1, 2, 3), {"c": 1}), ((1, 2, 3.0), {"c": 1}), ((1, 2, 0.0), {"c": 1}),
        ((1, 2, -0.0), {"c": 1}), ((1,), {"c": 1, "e": 0.0}), ((1,), {"c": 1, "e": -0.0}), ((1,), {"c": 1, "a": 5}),
        ((1, 2, np.arange(3)), {"c": [1]}), ((1,), {"c": 1, "e": 1, "f": 2}), ((1,), {"c": 1, "f": 1, "e": 2}),
    ]  # fmt: skip
    for args, named in calls:
        function(*args, **named)
    assert function.cache_info().misses == len(calls)
    for args, named in calls:
        function(*args, **named)
    assert function.cache_info().hits == len(calls)
    assert all(function.invalidate(*args, **named) for args, named in calls)


def test_parameters_may_be_named_like_builtins() -> None:
    """The generated source names no builtin that a parameter could hide."""

    class Job:
        @cache_result
        def run(self, object: Any, *tuple: Any, **dict: Any) -> Any:
            return [object, tuple, dict]

    job = Job()
    assert job.run([1], {2}, a=[3]) == job.run([1], {2}, a=[3]) == [[1], ({2},), {"a": [3]}]


def test_numbers_that_a_key_function_makes_count_as_arguments_do() -> None:
    """0.0 and -0.0 differ, and NaN is itself, also where `key=` says what counts."""
    calls: list[float] = []
    function = cache_result(key=lambda x: x)(lambda x: calls.append(x) or len(calls))
    assert [function(x) for x in (0.0, -0.0, float("nan"), 1.5)] == [1, 2, 3, 4]
    assert [function(x) for x in (0.0, -0.0, float("nan"), 1.5)] == [1, 2, 3, 4]


def test_nan_hits_itself() -> None:
    """NaN is not equal to itself, and still is the same content."""
    function = counted()
    assert function(float("nan")) == function(float("nan"))


def test_an_array_of_a_gpu_is_read_through_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """CuPy's class has the name and the flags of NumPy's, and no buffer."""

    class ndarray:
        def __init__(self, held: Any) -> None:
            self._held, self.dtype, self.shape, self.flags = held, held.dtype, held.shape, held.flags

        def get(self) -> Any:
            return self._held

    ndarray.__module__ = "cupy"
    monkeypatch.setitem(sys.modules, "cupy", ModuleType("cupy"))
    function = counted()
    answers = [function(ndarray(np.full(3, value))) for value in (1.0, 2.0, 1.0)]
    assert answers == [1, 2, 1]


def test_an_argument_without_content_is_an_error_that_names_it() -> None:
    """At the call, with the next step; the function does not run."""
    function = counted()
    with pytest.raises(PolicyError, match=r"argument 'x' is of type .*object.*key=.*ignore="):
        function(object())
    assert function.calls == []


def test_key_names_the_arguments_that_count() -> None:
    """The others do not."""
    calls: list[Any] = []

    @cache_result(key=("a",))
    def function(a: int, connection: Any) -> int:
        calls.append(a)
        return a

    assert function(1, object()) == function(1, object())
    assert calls == [1]


def test_ignore_leaves_arguments_out() -> None:
    """All the others count."""
    calls: list[Any] = []

    @cache_result(ignore=("connection",))
    def function(a: int, connection: Any) -> int:
        calls.append(a)
        return a

    function(1, object())
    function(1, object())
    function(2, object())
    assert calls == [1, 2]


def test_key_may_be_a_function() -> None:
    """It sees the arguments and returns what counts."""
    function = counted(key=lambda x, *rest, **named: x % 10)
    assert function(3) == function(13) != function(4)


def test_a_name_that_is_no_parameter_is_refused_at_decoration() -> None:
    """With the parameters there are."""
    with pytest.raises(PolicyError, match=r"no parameter 'y'; it has x"):

        @cache_result(key=("y",))
        def function(x: int) -> int:
            return x


def test_watched_files_count_with_size_and_time(tmp_path: Path) -> None:
    """A file that changed behind the same name is another call."""
    path = tmp_path / "data.csv"
    path.write_text("1")
    function = counted(watch_files=True)
    assert function(str(path)) == function(str(path))
    before = function(path), function(str(path))
    path.write_text("1,2,3")
    assert function(path) not in before
    assert function(str(path)) not in before


def test_files_named_in_the_code_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a literal, or as a global; and so does the working directory, when the name is relative."""
    (tmp_path / "visits.csv").write_text("1")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "visits.csv").write_text("2")
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"cache_result": cache_result, "__name__": "__main__", "DATA": str(tmp_path / "visits.csv")}
    exec("@cache_result(watch_files=True)\ndef literal():\n    return open('visits.csv').read()", space)
    exec("@cache_result(watch_files=True)\ndef named():\n    return open(DATA).read()", space)
    for function in (space["literal"], space["named"]):
        assert [function(), function()] == ["1", "1"]
        assert function.cache_info().misses == 1
    (tmp_path / "visits.csv").write_text("1,1")
    assert [space["literal"](), space["named"]()] == ["1,1", "1,1"]
    monkeypatch.chdir(tmp_path / "other")
    assert space["literal"]() == "2"


# Code is part of the key.


def test_redefining_a_function_it_calls_computes_anew() -> None:
    """As in a notebook, where a cell above is edited and run again."""
    space: dict[str, Any] = {"cache_result": cache_result, "__name__": "__main__"}
    exec("def clean(x):\n    return x + 1\n@cache_result\ndef step(x):\n    return clean(x)", space)
    step = space["step"]
    assert [step(1), step(1)] == [2, 2]
    exec("def clean(x):\n    return x + 100", space)
    assert [step(1), step(1)] == [101, 101]
    assert step.cache_info().misses == 2


def test_a_constant_that_changed_computes_anew() -> None:
    """A global the code reads is part of the key, whether it is replaced or changed in place."""
    space: dict[str, Any] = {"cache_result": cache_result, "__name__": "__main__"}
    exec("LIMIT = 1\nWEIGHTS = [1]\n@cache_result\ndef step(x):\n    return x * LIMIT + sum(WEIGHTS)", space)
    step = space["step"]
    assert step(10) == 11
    space["LIMIT"] = 2
    assert step(10) == 21
    space["WEIGHTS"].append(5)
    assert step(10) == 26
    assert step(10) == 26
    assert step.cache_info().hits == 1


def test_a_global_client_does_not_get_in_the_way() -> None:
    """Something without content counts by which object it is."""
    space: dict[str, Any] = {"cache_result": cache_result, "client": threading.Lock(), "__name__": "__main__"}
    exec("@cache_result\ndef step(x):\n    with client:\n        return [x]", space)
    assert space["step"](1) == space["step"](1)
    assert space["step"].cache_info().hits == 1
