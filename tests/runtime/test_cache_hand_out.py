"""What a hit hands out: no caller can change what the next one gets."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlguard_nb import cache_result
from mlguard_nb.errors import PolicyError


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
