"""cache_result in one process: keys, hits, eviction, staleness, one computation for many callers."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import cachetools
import numpy as np
import pandas as pd
import pytest

from mlguard_nb import CachePolicy, cache_result, devices, memory_guard
from mlguard_nb.errors import MemoryPressure, PolicyError
from mlguard_nb.runtime import hit_counts
from mlguard_nb.runtime.caching import cache_of
from mlguard_nb.runtime.stores import memory as memory_store
from mlguard_nb.runtime.stores.choosing import GivenStore
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import CacheEvicted, CacheHit, CacheMiss
from mlguard_nb.telemetry.measures import changes
from mlguard_nb.testing import FakeDevices, disabled, no_wait


def counted(**options: Any) -> Any:
    """A cached function of one argument that counts its calls in `calls`."""
    calls: list[Any] = []

    @cache_result(**options)
    def function(x: Any, *rest: Any, **named: Any) -> Any:
        calls.append(x)
        return len(calls)

    function.calls = calls
    return function


# Keys.


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


# What is handed out.


def test_no_caller_can_change_what_the_next_one_gets() -> None:
    """Arrays are read-only views, from the first call on; containers and frames are new each time."""

    @cache_result
    def make(kind: str) -> Any:
        return {
            "array": np.zeros(3),
            "list": [1, [2], np.zeros(2)],
            "dict": {"a": [1]},
            "frame": pd.DataFrame({"a": [1, 2]}),
            "set": {1},
        }[kind]

    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            make("array")[0] = 1
        with pytest.raises(ValueError, match="set WRITEABLE"):
            make("array").flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            make("list")[2][0] = 1
        make("list")[1].append(3)
        make("dict")["a"].append(2)
        frame = make("frame")
        frame.loc[0, "a"] = 100
        make("set").add(2)
    assert make("list")[:2] == [1, [2]]
    assert make("dict") == {"a": [1]}
    assert make("frame")["a"].tolist() == [1, 2]
    assert make("set") == {1}


def test_an_array_somebody_else_holds_stays_theirs() -> None:
    """A function that returns its own argument does not freeze it, and writing to it does not reach the cache."""

    @cache_result
    def identity(x: Any) -> Any:
        return x

    mine = np.ones(3)
    kept = identity(mine)
    mine[0] = 5
    assert kept.tolist() == [1, 1, 1]
    assert identity(np.ones(3)).tolist() == [1, 1, 1]


def test_an_array_nobody_else_holds_is_kept_without_a_copy() -> None:
    """100 MB of result do not become 200 MB."""
    import tracemalloc

    tracemalloc.start()
    make = cache_result(max_bytes="1GB")(lambda n: np.zeros(n))
    make(10_000_000)
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000_000


def test_a_hit_of_a_frame_copies_nothing_until_somebody_writes() -> None:
    """Where pandas copies on write; and what the function still holds is not what is kept."""
    if int(pd.__version__.partition(".")[0]) < 3:
        pytest.skip("pandas copies on write from version 3 on")
    held = np.zeros(1000)
    make = cache_result(lambda: pd.DataFrame({"a": held}, copy=False))
    make()
    held[:] = 7
    first, second = make(), make()
    assert np.shares_memory(first["a"].to_numpy(), second["a"].to_numpy())
    first.loc[0, "a"] = 5.0
    assert second["a"].eq(0).all()
    assert make()["a"].eq(0).all()


def test_copies_may_be_written_to() -> None:
    """hand_out="copy"."""
    make = cache_result(hand_out="copy")(lambda n: np.zeros(n))
    make(3)[0] = 1
    assert make(3).tolist() == [0, 0, 0]


def test_copies_are_for_hits() -> None:
    """hand_out="copy": who made the result gets it itself, others a copy in which one object stays one."""
    made: list[Any] = []

    def pair(n: int) -> tuple[list[int], list[int], np.ndarray, dict[str, np.ndarray]]:
        rows, numbers = [n], np.zeros(n)
        made.append((rows, rows, numbers, {"numbers": numbers}))
        return made[-1]

    for options in ({}, {"watch_files": True}):  # the two ways of a miss
        make = cache_result(hand_out="copy", **options)(pair)
        assert make(3) is made[-1]
        first, same, numbers, holder = make(3)
        assert first is same is not made[-1][0] and numbers is holder["numbers"]
        first.append(4)
        assert make(3)[0] == [3]

    async def later(n: int) -> list[int]:
        made.append([n])
        return made[-1]

    cached = cache_result(hand_out="copy")(later)
    assert asyncio.run(cached(3)) is made[-1]
    assert asyncio.run(cached(3)) is not made[-1]


def test_same_hands_out_the_object_itself() -> None:
    """hand_out="same", for who knows what they do."""
    make = cache_result(hand_out="same")(lambda n: [n])
    assert make(3) is make(3)


def test_what_cannot_be_copied_is_handed_out_itself_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The call never fails for it."""

    class Graph:
        def __deepcopy__(self, memo: Any) -> Any:
            raise RuntimeError("only leaves support deepcopy")

    make = cache_result(lambda n: Graph())
    assert make(1) is make(1)
    assert caplog.text.count("cannot be copied") == 1


# Time.


def test_what_can_be_read_once_only_is_refused() -> None:
    """A hit of a generator would be empty: an error at the first call, not a wrong answer at the second."""
    for make in (lambda: (i for i in range(3)), lambda: [map(str, (i for i in range(3)))]):
        function = cache_result(make)
        with pytest.raises(PolicyError, match="can be used once only"):
            function()
        assert function.cache_info().entries == 0
    numbers = cache_result(lambda: iter([1, 2]))
    assert [list(numbers()), list(numbers())] == [[1, 2], [1, 2]]

    async def inner() -> int:
        return 1

    waiting = inner()
    with pytest.raises(PolicyError, match="a coroutine"):
        cache_result(lambda: waiting)()
    waiting.close()
    same = cache_result(hand_out="same")(lambda: (i for i in range(3)))
    assert same() is same()


def test_a_result_is_computed_anew_after_its_ttl() -> None:
    """Not before."""
    with no_wait() as clock:
        function = counted(ttl=10)
        assert function(1) == 1
        clock.sleep(9.9)
        assert function(1) == 1
        clock.sleep(0.2)
        assert function(1) == 2


def test_without_ttl_it_stays() -> None:
    """None means for ever."""
    with no_wait() as clock:
        function = counted(ttl=None)
        function(1)
        clock.sleep(1e9)
        assert function(1) == 1


def test_a_stale_result_is_served_while_a_new_one_is_computed() -> None:
    """Within stale_while_revalidate nobody waits; afterwards everybody has the new result."""
    with no_wait() as clock:
        function = counted(ttl=10, stale_while_revalidate=60)
        function(1)
        clock.sleep(30)
        assert function(1) == 1
        cache_of(function).behind.join()
        assert function(1) == 2
        assert function.cache_info().stale_hits == 1
        clock.sleep(100)
        assert function(1) == 3


def test_a_stale_key_is_refreshed_by_one_task_however_many_ask_for_it() -> None:
    """A hundred stale hits before the loop comes to the first refresh, and a hundred while it is under way."""

    async def main() -> None:
        go_on = asyncio.Event()
        calls: list[int] = []

        @cache_result(ttl=10, stale_while_revalidate=60)
        async def fetch(x: int) -> int:
            calls.append(x)
            if len(calls) > 1:
                await go_on.wait()
            return len(calls)

        with no_wait() as clock:
            await fetch(1)
            clock.sleep(30)
            idle = len(asyncio.all_tasks())
            for _ in range(100):
                assert await fetch(1) == 1
            await asyncio.sleep(0)
            assert [await fetch(1) for _ in range(100)] == [1] * 100
            await asyncio.sleep(0)
            assert len(asyncio.all_tasks()) == idle + 2  # the refresh, and the computation it waits for
            assert calls == [1, 1]
            go_on.set()
            while cache_of(fetch).behind.is_busy:
                await asyncio.sleep(0)
            assert await fetch(1) == 2

    asyncio.run(main())


def test_what_a_closed_loop_left_unfinished_is_refreshed_by_the_next_one() -> None:
    """Its task never ends, and stands in nobody's way."""
    calls: list[int] = []

    @cache_result(ttl=10, stale_while_revalidate=60)
    async def fetch(x: int) -> int:
        calls.append(x)
        number = len(calls)
        if number == 2:
            await asyncio.Event().wait()
        return number

    async def until(number: int) -> None:
        while len(calls) < number:
            await asyncio.sleep(0)

    with no_wait() as clock:
        first = asyncio.new_event_loop()
        assert first.run_until_complete(fetch(1)) == 1
        clock.sleep(30)
        assert first.run_until_complete(fetch(1)) == 1
        first.run_until_complete(until(2))
        first.close()

        async def main() -> None:
            assert await fetch(1) == 1
            while cache_of(fetch).behind.is_busy:
                await asyncio.sleep(0)
            assert await fetch(1) == 3

        asyncio.run(main())


def test_an_invalidated_refresh_does_not_hold_up_the_next_one() -> None:
    """The one that is under way computes from what was: what is stale since is refreshed anew."""
    started, go_on = threading.Semaphore(0), threading.Event()
    calls: list[int] = []

    @cache_result(ttl=10, stale_while_revalidate=60)
    def fetch(x: int) -> int:
        calls.append(x)
        number = len(calls)
        if number == 2:
            started.release()
            assert go_on.wait(30)
        return number

    with no_wait() as clock:
        fetch(1)
        clock.sleep(30)
        assert fetch(1) == 1
        assert started.acquire(timeout=30)
        fetch.invalidate(1)  # type: ignore[attr-defined]
        assert fetch(1) == 3
        clock.sleep(30)
        assert fetch(1) == 3
        while len(calls) < 4:
            time.sleep(0.001)
        go_on.set()
        cache_of(fetch).behind.join()
        assert fetch(1) == 4


def test_a_busy_key_is_computed_once_a_ttl() -> None:
    """200 requests a second for 100 s with a ttl of 10 s: 11 computations, however many callers there are."""
    with no_wait() as clock:
        function = counted(ttl=10, stale_while_revalidate=60)
        for _ in range(100 * 200):
            function(1)
            clock.time += 1 / 200
            if cache_of(function).behind.is_busy:
                cache_of(function).behind.join()
        assert len(function.calls) <= 11


def test_a_stale_result_is_served_when_the_function_fails() -> None:
    """Within stale_if_error; afterwards the error is raised."""
    failing = False

    @cache_result(ttl=10, stale_if_error=100)
    def fetch(x: int) -> str:
        if failing:
            raise ConnectionError("down")
        return "good"

    with no_wait() as clock:
        assert fetch(1) == "good"
        failing = True
        clock.sleep(50)
        assert fetch(1) == "good"
        clock.sleep(70)
        with pytest.raises(ConnectionError, match="down"):
            fetch(1)


def test_a_call_short_of_memory_is_answered_by_its_last_result() -> None:
    """Although the guard below empties every cache before it refuses."""

    @cache_result(ttl=10, stale_if_error=1000)
    @memory_guard(ram=0.8)
    def train(x: int) -> list[int]:
        return [x]

    with no_wait() as clock, FakeDevices(ram_used="4GB", ram_limit="16GB") as machine:
        assert train(1) == [1]
        clock.sleep(20)
        machine.ram_used = 15 * 10**9
        devices.shared().tick()
        assert [train(1), train(1)] == [[1], [1]]
        with pytest.raises(MemoryPressure):
            train(2)


def test_errors_are_not_kept() -> None:
    """A call that failed is made again."""
    outcomes = iter([ValueError("first"), 5])

    @cache_result
    def unsteady(x: int) -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(ValueError, match="first"):
        unsteady(1)
    assert unsteady(1) == 5


# Room.


def test_the_cache_never_holds_more_bytes_than_it_may() -> None:
    """The least recently used goes first; what was hit stays."""
    make = cache_result(max_bytes=100_000)(lambda n: np.full(5000, float(n)))  # 40 kB each
    make(1)
    make(2)
    make(1)
    make(3)
    assert make.cache_info().used_bytes <= 100_000
    misses = make.cache_info().misses
    make(1)
    assert make.cache_info().misses == misses
    make(2)
    assert make.cache_info().misses == misses + 1


def test_maxsize_bounds_the_number_of_results() -> None:
    """In entries."""
    function = counted(maxsize=3)
    for value in range(10):
        function(value)
    assert function.cache_info().entries == 3
    assert function.cache_info().evictions == 7


def test_what_a_result_holds_is_counted_in_bytes() -> None:
    """Arrays, frames, containers, objects, and models whose memory lies in a C extension."""
    ensemble = pytest.importorskip("sklearn.ensemble", reason="NOT TESTED: scikit-learn is not installed")
    draw = np.random.default_rng(0)
    forest = ensemble.RandomForestClassifier(20, random_state=0).fit(draw.random((500, 4)), draw.integers(0, 2, 500))
    values: list[tuple[Any, int]] = [
        (np.zeros(1000), 8000), ([np.zeros(1000), np.zeros(500)], 12_000), (pd.DataFrame({"a": ["x" * 1000] * 100}), 5000),
        ({"a": bytes(5000)}, 5000), (dataclasses.replace(Settings(1.0)), 16), (forest, len(pickle.dumps(forest)) // 2),
    ]  # fmt: skip
    for value, least in values:
        assert least <= memory_store.size_of(value) < 30 * least + 5000
    shared = np.zeros(1000)
    assert memory_store.size_of([shared, shared]) < 9000


def test_a_result_larger_than_the_cache_is_handed_out_and_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    """With a warning."""
    make = cache_result(max_bytes=1000)(lambda n: np.zeros(n))
    assert make(10_000).size == 10_000
    assert make.cache_info().entries == 0
    assert "max_bytes" in caplog.text


def test_a_guard_short_of_memory_empties_every_cache() -> None:
    """evict_caches of the memory ladder."""
    make = cache_result(lambda n: np.zeros(n))
    make(1000)
    assert memory_store.evict_all() >= 8000
    assert make.cache_info().entries == 0
    assert make(1000).size == 1000


def test_any_cachetools_cache_can_be_the_store() -> None:
    """Its own bounds hold."""
    store: Any = cachetools.LRUCache(maxsize=2)
    function = counted(store=store)
    assert [function(1), function(2), function(1), function(3), function(2)] == [1, 2, 1, 3, 4]
    assert len(store) == 2
    assert function.cache_info().hits == 1


def test_what_stands_beside_results_of_a_given_cache_goes_with_them() -> None:
    """Ten thousand calls of a cache with room for two leave two results, and not much more than that of ours."""
    function = counted(store=cachetools.LRUCache(maxsize=2))
    for x in range(10_000):
        function(x)
    shelf = cache_of(function).shelf
    assert len(shelf) == 2
    assert isinstance(shelf, GivenStore)
    assert len(shelf._beside) <= 65


# Many callers at once.


def test_sixteen_threads_on_a_cold_key_run_the_body_once() -> None:
    """All get the result."""
    calls: list[int] = []
    inside, go_on = threading.Event(), threading.Event()

    @cache_result
    def slow(x: int) -> int:
        calls.append(x)
        inside.set()
        assert go_on.wait(30)
        return x * 2

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(slow(4))) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert inside.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert results == [8] * 16
    assert calls == [4]


def test_sixteen_tasks_on_a_cold_key_run_the_body_once() -> None:
    """All get the result, and the function still is a coroutine function."""
    calls: list[int] = []

    @cache_result
    async def slow(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0.01)
        return x * 2

    async def main() -> list[int]:
        return await asyncio.gather(*(slow(4) for _ in range(16)))

    assert asyncio.run(main()) == [8] * 16
    assert calls == [4]
    assert asyncio.iscoroutinefunction(slow)


def test_when_the_last_caller_leaves_the_computation_is_cancelled() -> None:
    """Nobody pays for a result that nobody wants."""

    async def main() -> bool:
        began, cancelled = asyncio.Event(), asyncio.Event()

        @cache_result
        async def slow(x: int) -> int:
            began.set()
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cancelled.set()
                raise
            return x

        caller = asyncio.create_task(slow(4))
        await began.wait()
        caller.cancel()
        await asyncio.wait_for(cancelled.wait(), 30)
        return True

    assert asyncio.run(main())


def test_a_loop_that_was_closed_in_the_middle_leaves_nothing_to_wait_for() -> None:
    """Its task never ends; a loop that lives where it lived must not wait for that task."""

    @cache_result
    async def slow(x: int) -> int:
        await asyncio.sleep(0)
        return x

    flights = cache_of(slow)._task_flights

    async def abandoned() -> asyncio.Future[int]:
        call = asyncio.ensure_future(slow(1))
        await asyncio.sleep(0)
        return call

    async def whole() -> int:
        ((_loop, key), left), *_ = flights._flights.items()
        flights._flights[id(asyncio.get_running_loop()), key] = left  # as if it lived at the same address
        return await asyncio.wait_for(slow(1), 30)

    loop = asyncio.new_event_loop()
    call = loop.run_until_complete(abandoned())
    ((task, _waiting, _number),) = flights._flights.values()
    try:
        assert asyncio.run(whole()) == 1
    finally:
        for pending in (call, task):
            pending.cancel()
        loop.run_until_complete(asyncio.gather(call, task, return_exceptions=True))
        loop.close()


def test_followers_get_the_leader_s_error() -> None:
    """And a follower takes over when the leader was interrupted."""
    inside, go_on = threading.Event(), threading.Event()
    interrupts = iter([KeyboardInterrupt(), None])

    @cache_result
    def slow(x: int) -> int:
        inside.set()
        assert go_on.wait(30)
        interrupt = next(interrupts)
        if interrupt is not None:
            raise interrupt
        return x

    seen: list[Any] = []

    def call() -> None:
        try:
            seen.append(slow(1))
        except BaseException as error:
            seen.append(type(error))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert inside.wait(30)
    deadline = time.monotonic() + 0.2  # lets the followers arrive; the claim holds whether they do or not
    while time.monotonic() < deadline and threading.active_count() < 4:
        pass
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert sorted(map(str, seen)) == sorted(map(str, [KeyboardInterrupt, 1, 1]))


def test_a_recursive_function_does_not_wait_for_itself() -> None:
    """Neither on other keys nor on its own."""

    @cache_result
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(60) == 1548008755920

    depth: list[int] = []

    @cache_result
    def same(x: int) -> int:
        depth.append(x)
        return 0 if len(depth) > 1 else same(x) + 1

    assert same(1) == 1


def test_hammering_one_cache_from_many_threads_loses_nothing() -> None:
    """Eviction under load: every result is right, and the bound holds."""
    function = cache_result(max_bytes=20_000)(lambda n: np.full(100, n))
    wrong: list[int] = []

    def work(seed: int) -> None:
        draw = np.random.default_rng(seed)
        drawn = draw.integers(0, 60, 1500).tolist()
        wrong.extend(value for value in drawn if function(value)[50] != value)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert function.cache_info().used_bytes <= 20_000
    guard = cache_of(function)
    assert len(guard.front) == len(guard.shelf)


# Functions of every kind.


class Model:
    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.calls = 0

    @cache_result
    def predict(self, x: int) -> int:
        self.calls += 1
        return x * self.factor

    @cache_result
    @classmethod
    def kind(cls, x: int) -> tuple[str, int]:
        return cls.__name__, x

    @staticmethod
    @cache_result
    def plain(x: int) -> int:
        return x


class Other(Model):
    pass


def test_two_objects_never_share_a_method_s_results() -> None:
    """Each object has its own, without its content being read."""
    one, other = Model(2), Model(3)
    assert [one.predict(5), other.predict(5), one.predict(5)] == [10, 15, 10]
    assert (one.calls, other.calls) == (1, 1)


def test_class_methods_and_static_methods() -> None:
    """In either order of decorators; a subclass has its own results."""
    assert Model.kind(1) == ("Model", 1)
    assert Other.kind(1) == ("Other", 1)
    assert Model(1).plain(3) == Model.plain(3) == 3


def test_generators_are_refused_at_decoration() -> None:
    """A hit could not honour send and throw."""
    with pytest.raises(PolicyError, match="generator"):

        @cache_result
        def numbers() -> Any:
            yield 1

    with pytest.raises(PolicyError, match="generator"):

        @cache_result
        async def more() -> Any:
            yield 1


# What the function offers.


def test_info_clear_invalidate_and_refresh() -> None:
    """Counts, and three ways to forget."""
    function = counted()
    assert [function(1), function(1), function(2)] == [1, 1, 2]
    assert function.invalidate(1) is True
    assert function.invalidate(1) is False
    assert function(1) == 3
    assert function.refresh(2) == 4
    assert function(2) == 4
    info = function.cache_info()
    assert (info.hits, info.misses, info.entries) == (2, 4, 2)
    function.cache_clear()
    assert function.cache_info().entries == 0
    assert function.cache_info().hits == 2
    assert function(1) == 5


def test_refresh_of_a_coroutine_function_is_awaited() -> None:
    """As the function itself."""
    calls: list[int] = []

    @cache_result
    async def function(x: int) -> int:
        calls.append(x)
        return len(calls)

    async def main() -> list[int]:
        return [await function(1), await function(1), await function.refresh(1), await function(1)]

    assert asyncio.run(main()) == [1, 1, 2, 2]


def test_every_hit_and_miss_is_told() -> None:
    """To whoever listens."""
    bus.flush()  # what other functions of this process have not told yet
    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    try:
        function = cache_result(maxsize=1, name="lookup")(lambda x: x)
        function(1)
        function(1)
        function(2)
        bus.flush()
    finally:
        end()
    assert [type(event) for event in heard] == [CacheMiss, CacheHit, CacheEvicted, CacheMiss]
    assert {event.function for event in heard} == {"lookup"}


def test_one_thread_tells_of_the_hits_of_all_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and also of one that is gone by then; with no hit for a second the thread ends."""
    heard: dict[str, int] = {}

    def hear(event: Any) -> None:
        if isinstance(event, CacheHit) and event.function.startswith("told "):
            heard[event.function] = heard.get(event.function, 0) + event.count

    def tellers() -> int:
        return sum(thread.name == "mlguard-hits" for thread in threading.enumerate())

    monkeypatch.setattr(hit_counts, "_PAUSE_SECONDS", 0.02)
    end = bus.subscribe(hear)
    try:
        for number in range(50):
            cached = cache_result(name=f"told {number}")(lambda: 1)
            for _ in range(4):
                cached()
            assert tellers() <= 1
        del cached
        while tellers():
            time.sleep(0.001)
    finally:
        end()
    assert heard == {f"told {number}": 3 for number in range(50)}


def test_hits_that_follow_at_once_are_told_as_one_event() -> None:
    """An event a hit would cost ten times the hit; none is lost, and flush tells what is left."""
    function = cache_result(lambda x: x)
    function(1)
    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    try:
        for _ in range(500):
            function(1)
        bus.flush()
    finally:
        end()
    assert sum(event.count for event in heard) == 500
    assert len(heard) < 20


def test_misses_that_follow_at_once_are_told_as_one_event() -> None:
    """As hits are, and exporters add them up."""
    function = cache_result(name="told as one")(lambda x: x)
    heard: list[Any] = []
    end = bus.subscribe(lambda event: heard.append(event) if event.function == "told as one" else None)
    try:
        for number in range(500):
            function(number)
        bus.flush()
    finally:
        end()
    assert {type(event) for event in heard} == {CacheMiss}
    assert sum(event.count for event in heard) == 500
    assert sum(change.value for event in heard for change in changes(event)) == 500
    assert len(heard) < 20


def test_switched_off_it_keeps_nothing() -> None:
    """MLGUARD_DISABLE and testing.disabled."""
    function = counted()
    with disabled("cache_result"):
        assert [function(1), function(1)] == [1, 2]


def test_a_policy_and_keywords_mean_the_same() -> None:
    """And the policy is what tools read."""
    policy = CachePolicy(ttl=60, version="2")
    by_policy, by_words = cache_result(policy)(len), cache_result(ttl="1m", version="2")(len)
    assert by_policy.__mlguard__.cache == by_words.__mlguard__.cache == policy  # type: ignore[attr-defined]
    with pytest.raises(PolicyError, match="did you mean ttl"):
        cache_result(tll=3)


def test_it_stacks_with_a_memory_guard_below() -> None:
    """A hit asks for no memory."""

    @cache_result
    @memory_guard(ram=0.999)
    def function(x: int) -> int:
        return x

    assert function(1) == function(1) == 1


@dataclasses.dataclass
class Settings:
    rate: float


def test_a_function_pickles_by_name_and_its_closure_by_cloudpickle() -> None:
    """In a fresh process it is cached again, and brings no results along."""
    import cloudpickle

    assert pickle.loads(pickle.dumps(Model.predict)) is Model.predict

    def make(offset: int) -> Any:
        @cache_result(ttl=60)
        def shifted(x: Any) -> Any:
            return x + offset

        return shifted

    function = make(5)
    function(1)
    program = textwrap.dedent(
        f"""
        import cloudpickle
        f = cloudpickle.loads({cloudpickle.dumps(function)!r})
        print(f(1), f(1), f([1][0]), f.cache_info().hits, f.cache_info().misses, f.invalidate(1), f(1))
        import numpy as np
        print(f(np.ones(2)).sum())
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["6", "6", "6", "2", "1", "True", "6", "12.0"]


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no fork")
def test_a_forked_child_waits_for_no_computation_of_its_parent() -> None:
    """A key that was under way in the parent at the time of fork is computed in the child."""
    program = textwrap.dedent(
        """
        import os, threading
        from mlguard_nb import cache_result
        inside, go_on, parent = threading.Event(), threading.Event(), os.getpid()
        @cache_result
        def slow(x):
            if os.getpid() == parent:
                inside.set(); go_on.wait(30)
            return x * 2
        thread = threading.Thread(target=slow, args=(4,)); thread.start(); inside.wait(30)
        child = os.fork()
        if child == 0:
            os._exit(slow(4))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])); go_on.set(); thread.join()
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "8", done.stderr
