"""What other libraries' caches get wrong, measured or reported, each as a claim about `cache_result`.

The list is runtime.md's, as is that of test_wrong_answers.py, which says what the names in brackets mean.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import cachetools
import numpy as np
import pandas as pd
import pytest

from mlguard_nb import cache_result
from mlguard_nb.runtime.caching import cache_of


def users(source: str, **names: Any) -> dict[str, Any]:
    """The namespace of a notebook in which `source` was run."""
    space: dict[str, Any] = {"__name__": "__main__", "cache_result": cache_result, **names}
    exec(source, space)
    return space


# cache_result: what is one call.


def test_two_large_arrays_with_one_repr_are_two_calls() -> None:
    """str() of a large array leaves its middle out. [dogpile, cashews, aiocache key by it]"""
    one = np.zeros(5000)
    other = one.copy()
    other[2500] = 1
    assert str(one) == str(other)
    total = cache_result(lambda rows: float(rows.sum()))
    assert (total(one), total(other)) == (0.0, 1.0)


def test_one_true_and_one_point_zero_are_three_calls() -> None:
    """They are equal, and so they are one key. [functools.lru_cache, cachetools]"""
    shown = cache_result(repr)
    assert [shown(x) for x in (1, True, 1.0, 0.0, -0.0)] == ["1", "True", "1.0", "0.0", "-0.0"]


def test_an_object_without_content_is_no_key() -> None:
    """Its address is another object's tomorrow. [caches that key by repr or id]"""
    from mlguard_nb import PolicyError

    function = cache_result(lambda client: client)
    with pytest.raises(PolicyError, match="the argument 'client' is of type object"):
        function(object())


SCORER = """
class Scorer:
    def __init__(self, weight): self.weight = weight
    def {name}(self, x): return x * self.weight
scorer = Scorer(2)
@cache_result
def predict(x): return scorer{call}(x)
"""


@pytest.mark.parametrize(("name", "call"), [("__call__", ""), ("score", ".score")])
def test_a_model_that_was_trained_in_place_is_asked_again(name: str, call: str) -> None:
    """It is the same object under the same name, and gives other answers. [caches that key by arguments alone]"""
    space = users(SCORER.format(name=name, call=call))
    assert [space["predict"](3), space["predict"](3)] == [6, 6]
    space["scorer"].weight = 5
    assert space["predict"](3) == 15
    assert cache_of(space["predict"]).info().misses == 2


MODEL = """
import dataclasses
@dataclasses.dataclass
class Model:
    weight: int
    def score(self, x): return x * self.weight {change}
"""


@pytest.mark.parametrize("wrapped", [False, True], ids=["as an argument", "inside a list"])
def test_an_object_whose_class_was_edited_is_another_argument(wrapped: bool) -> None:
    """Same fields, same class name, another method. [caches that pickle the argument, as joblib does]"""
    score = cache_result(lambda models: models[0].score(3) if type(models) is list else models.score(3))

    def answer(change: str) -> int:
        model = users(MODEL.format(change=change))["Model"](2)
        return int(score([model] if wrapped else model))

    assert [answer(""), answer(""), answer("+ 100")] == [6, 6, 106]


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("class Config: rate = 1\n@cache_result\ndef f(): return Config.rate", "Config.rate = 2"),
        ("class Config: rates = [1]\n@cache_result\ndef f(): return list(Config.rates)", "Config.rates.append(2)"),
        (
            "class Model:\n    def m(self): return 1\n@cache_result\ndef f(): return Model().m()",
            "Model.m = lambda self: 2",
        ),
        ("class Model: rate = 1\nmodel = Model()\n@cache_result\ndef f(): return model.rate", "Model.rate = 2"),
        ("@cache_result\ndef f(): return later() if 'later' in globals() else 0", "def later(): return 1"),
    ],
    ids=["value of a class", "list of a class", "method", "class of an object", "function written later"],
)
def test_what_a_class_shares_and_what_is_defined_later_counts(source: str, change: str) -> None:
    """Set in place, as cells of a notebook do it: the code is the same, and so is every object. [caches that key by code and arguments]"""
    space = users(source)
    before = space["f"]()
    exec(change, space)
    assert space["f"]() == space["f"].__wrapped__() != before


def test_another_choice_of_key_is_another_cache(tmp_path: Path) -> None:
    """f(1, 2) kept by its `a` is no answer for f(5, 1) kept by its `b`. [caches that outlive the program]"""

    def deployed(key: str) -> Callable[[int, int], tuple[int, int]]:
        source = f"@cache_result(key={key!r}, backend='disk:{tmp_path}')\ndef f(a, b): return a, b"
        return users(source)["f"]  # type: ignore[no-any-return]

    assert deployed("a")(1, 2) == (1, 2)
    assert deployed("b")(5, 1) == (5, 1)


# cache_result: what a hit is.


@pytest.mark.parametrize(
    ("make", "spoil"),
    [
        (lambda: np.zeros(3), lambda found: found.__iadd__(1)),
        (lambda: [np.zeros(3), {"a": [1]}], lambda found: found[1]["a"].append(2)),
        (lambda: np.array([[1], [2, 3]], dtype=object), lambda found: found[0].append(2)),
        (lambda: pd.DataFrame({"a": [1, 2]}), lambda found: found.loc.__setitem__((0, "a"), 9)),
        (lambda: pd.DataFrame({"a": [[1], [2]]}), lambda found: found["a"][0].append(9)),
        (lambda: pd.Series([{"a": 1}]), lambda found: found[0].update(a=9)),
    ],
    ids=["array", "containers", "array of lists", "frame", "frame of lists", "series of dictionaries"],
)
def test_no_caller_can_spoil_a_later_hit(make: Callable[[], Any], spoil: Callable[[Any], Any]) -> None:
    """`result += 1` changes what everybody gets from then on. [six caches of eight]"""
    kept = cache_result(make)
    for _ in range(3):  # the first caller, who had a miss, must not either
        try:
            spoil(kept())
        except ValueError as refused:
            assert "read-only" in str(refused)
    shown = repr(make())
    assert repr(kept()) == shown
    assert kept.cache_info().misses == 1


def test_a_cancelled_leader_does_not_cancel_its_followers() -> None:
    """One impatient client, and every other one who waited for the same is cancelled. [cachebox, cashews]"""

    async def main() -> int:
        began, go_on = asyncio.Event(), asyncio.Event()

        @cache_result
        async def slow(x: int) -> int:
            began.set()
            await go_on.wait()
            return x * 2

        leader = asyncio.create_task(slow(4))
        await began.wait()
        follower = asyncio.create_task(slow(4))
        await asyncio.sleep(0)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        go_on.set()
        return await follower

    assert asyncio.run(main()) == 8


def test_a_coroutine_that_comes_back_to_its_own_key_does_not_wait_for_itself() -> None:
    """Through another function and another task, as through itself. [single-flight by lock]"""
    depth: list[int] = []

    @cache_result
    async def there(x: int) -> int:
        depth.append(x)
        return await asyncio.ensure_future(back(x)) if len(depth) < 3 else 7

    @cache_result
    async def back(x: int) -> int:
        return int(await there(x))

    async def main() -> int:
        return await asyncio.wait_for(there(1), 30)

    assert asyncio.run(main()) == 7


@pytest.mark.parametrize("how", ["invalidate", "cache_clear", "the code is edited"])
def test_what_was_under_way_when_it_was_declared_void_is_not_kept(how: str) -> None:
    """The computation read the old table, and lands after somebody has said that the old table is over."""
    space = users(
        "def read(table): return table['rows']\n"
        "@cache_result(key='x')\n"
        "def count(x, table):\n"
        "    rows = read(table)\n"
        "    began.set()\n"
        "    assert go_on.wait(30)\n"
        "    return rows\n",
        began=threading.Event(),
        go_on=threading.Event(),
    )
    count, table, answers = space["count"], {"rows": 1}, []
    first = threading.Thread(target=lambda: answers.append(count(1, table)))
    first.start()
    assert space["began"].wait(30)
    table["rows"] = 2
    if how == "invalidate":
        assert not count.invalidate(1, table)
    elif how == "cache_clear":
        count.cache_clear()
    else:
        exec("def read(table): return table['rows'] + 0", space)
    second = threading.Thread(target=lambda: answers.append(count(1, table)))  # does not join the old flight either
    space["began"].clear()
    second.start()
    assert space["began"].wait(30)
    space["go_on"].set()
    first.join(30)
    second.join(30)
    assert sorted(answers) == [1, 2]
    assert count(1, table) == 2


def test_a_method_s_cache_keeps_no_object_alive() -> None:
    """The key holds `self`, and so does the cache for ever. [functools.lru_cache]"""

    class Model:
        @cache_result
        def predict(self, x: int) -> int:
            return x

    one = Model()
    one.predict(5)
    gone = weakref.ref(one)
    del one
    assert gone() is None


def test_a_result_that_the_disk_has_spoilt_is_computed_again(tmp_path: Path) -> None:
    """The length is right and the values are not, as after a power cut. [raw buffers without a checksum]"""
    made = []

    def ones() -> Any:
        made.append(1)
        return np.ones(1000)

    cache_result(backend=f"disk:{tmp_path}")(ones)()
    (path,) = tmp_path.glob("*/*.mlguard")
    raw = path.read_bytes()
    path.write_bytes(raw[:-4000] + bytes(4000))
    assert cache_result(backend=f"disk:{tmp_path}")(ones)().sum() == 1000
    assert len(made) == 2


class _Command:
    """What a hostile file holds: reading it runs a command."""

    ran: ClassVar[list[str]] = []

    def __reduce__(self) -> Any:
        return _Command.ran.append, ("ran",)


def test_no_file_in_the_cache_s_folder_runs_code(tmp_path: Path) -> None:
    """Whoever may write there may run anything as you. [diskcache, CVE-2025-69872]"""
    function = cache_result(backend=f"disk:{tmp_path}")(lambda: 1)
    function()
    (path,) = tmp_path.glob("*/*.mlguard")
    path.write_bytes(pickle.dumps(_Command()))
    assert cache_result(backend=f"disk:{tmp_path}")(function.__wrapped__)() == 1
    assert _Command.ran == []


def test_a_store_of_the_user_s_sees_results_and_nothing_of_ours() -> None:
    """Its getsizeof and its ttu are written for what the function returns."""
    sizes = cachetools.LRUCache(maxsize=100, getsizeof=lambda rows: int(rows.size))
    timed: Any = cachetools.TLRUCache(maxsize=9, ttu=lambda _key, rows, now: now + rows.size)
    for store in (sizes, timed):
        zeros = cache_result(store=store)(lambda n: np.zeros(n))
        assert [zeros(60).size, zeros(60).size] == [60, 60]
        assert zeros.cache_info().hits == 1
    zeros = cache_result(store=sizes)(lambda n: np.zeros(n))
    zeros(70)
    assert sizes.currsize == 70
