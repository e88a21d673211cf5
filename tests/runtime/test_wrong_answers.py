"""What other libraries get wrong, measured or reported, each as a claim about these guards.

The list is runtime.md's. A name in brackets says who fails it: not to point at them, but because a failure that is met
in practice is the one worth a test. What is proved of a guard's own behaviour stands in the file of that guard.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import cachetools
import numpy as np
import pandas as pd
import pytest

from mlguard_nb import (
    Array,
    CircuitBreaker,
    CircuitOpen,
    InputRejected,
    MemoryPressure,
    RetryBudget,
    cache_result,
    devices,
    memory_guard,
    monitor,
    retry,
    validate_input,
)
from mlguard_nb.devices import LocalMachine, Unknown
from mlguard_nb.runtime import budget
from mlguard_nb.runtime.backoff import waits
from mlguard_nb.runtime.caching import cache_of
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import CallFinished
from mlguard_nb.testing import FakeClock, FakeDevices, no_wait

GIB = 2**30


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    budget._default.clear()
    with no_wait() as clock:
        yield clock


def users(source: str, **names: Any) -> dict[str, Any]:
    """The namespace of a notebook in which `source` was run."""
    space: dict[str, Any] = {"__name__": "__main__", "cache_result": cache_result, **names}
    exec(source, space)
    return space


# retry.


def test_cancellation_is_not_retried(clock: FakeClock) -> None:
    """A negative predicate, "all but these", takes a CancelledError for one to retry. [tenacity]"""
    begun: list[int] = []

    @retry(on=lambda error: not isinstance(error, KeyError), attempts=5)
    async def endless() -> None:
        begun.append(1)
        await asyncio.Event().wait()

    async def impatient() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(endless(), 0.01)

    asyncio.run(impatient())
    assert (begun, clock.slept) == ([1], [])


def test_bad_input_is_not_retried_although_it_is_a_value_error(clock: FakeClock) -> None:
    """Four attempts at input that is wrong for ever. [tenacity around pydantic, whose ValidationError is one too]"""
    calls: list[Any] = []

    @validate_input(rows=Array(ge=0))
    def inner(rows: Any) -> None: ...

    @retry(on=ValueError, attempts=4)
    def outer(rows: Any) -> None:
        calls.append(rows)
        inner(rows)

    with pytest.raises(InputRejected):
        outer(np.array([-1.0]))
    assert len(calls) == 1
    assert issubclass(InputRejected, ValueError)


def test_waits_at_the_cap_still_differ() -> None:
    """Jitter added before the clamp: capped waits are all equal, and everybody comes back together. [stamina]"""
    series = waits("full", 1.0, 5.0)
    late = [next(series) for _ in range(50)][10:]
    assert len({round(wait, 6) for wait in late}) > 30


def test_in_a_total_outage_the_load_falls_to_one_attempt_a_call(clock: FakeClock) -> None:
    """Four attempts a call make four times the load, just when the service is down. [every retry without a budget]"""
    calls: list[int] = []

    @retry(attempts=4, budget=RetryBudget(capacity=50, cost=5))
    def call() -> None:
        calls.append(1)
        raise ConnectionError

    for _ in range(200):
        with pytest.raises(ConnectionError):
            call()
    assert len(calls) == 200 + 10


def test_nested_retries_do_not_multiply(clock: FakeClock) -> None:
    """Three times three attempts at each of three layers is a storm. [every retry without a budget]

    Both layers pay for each retry, so in an outage both are left with one attempt; and the inner one never waits
    past the deadline of the outer one.
    """
    calls: list[int] = []

    def down() -> None:
        calls.append(1)
        raise ConnectionError

    inner = retry(attempts=3, name="inner layer")(down)

    @retry(attempts=3, name="outer layer", deadline=60)
    def outer() -> None:
        inner()

    for _ in range(300):
        with pytest.raises(ConnectionError):
            outer()
    assert len(calls) == 300 + 100 + 100  # a budget pays for a hundred retries

    begun = clock.now()
    patient = retry(attempts=50, jitter=None, wait_initial=4, budget=None, name="patient")(down)
    with pytest.raises(ConnectionError):
        retry(attempts=9, deadline=10, budget=None, name="hasty")(lambda: patient())()
    assert clock.now() - begun <= 10


def test_a_breaker_counts_attempts_and_ends_the_retries(clock: FakeClock) -> None:
    """breaker(retry(f)) made twelve calls to a dead service where retry(breaker(f)) makes three. [by hand]"""
    calls: list[int] = []

    @retry(attempts=4, breaker=CircuitBreaker(minimum_calls=3))
    def call() -> None:
        calls.append(1)
        raise ConnectionError

    for _ in range(3):
        with pytest.raises((ConnectionError, CircuitOpen)):
            call()
    assert len(calls) == 3


@pytest.mark.parametrize("kind", ["sync", "async", "timeout", "hedged", "generator", "async generator"])
def test_a_failed_attempt_holds_no_memory_during_the_next(kind: str, clock: FakeClock) -> None:
    """The last exception keeps the frames of its traceback, and those keep a dead 200 MB array. [`last = error`]"""
    held: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    def attempt() -> str:
        alive.append(any(ref() is not None for ref in held))
        big = np.zeros(100_000)
        held.append(weakref.ref(big))
        if len(held) < 3:
            try:
                raise KeyError("first")
            except KeyError as error:
                raise ConnectionError("second") from error
        return "done"

    async def attempt_async() -> str:
        return attempt()

    def items() -> Iterator[str]:
        yield attempt()

    async def items_async() -> AsyncIterator[str]:
        yield attempt()

    async def collect(items: Any) -> str:
        (item,) = [item async for item in items]
        return str(item)

    gc.disable()  # what only a collection frees is not free when the next attempt asks for the same again
    try:
        if kind == "sync":
            result = retry(attempts=3)(attempt)()
        elif kind == "generator":
            (result,) = list(retry(attempts=3)(items)())
        elif kind == "async generator":
            result = asyncio.run(collect(retry(attempts=3)(items_async)()))
        else:
            option: dict[str, Any] = {"timeout": {"timeout": 60}, "hedged": {"hedge_after": 60}}.get(kind, {})
            result = asyncio.run(retry(attempts=3, **option)(attempt_async)())
    finally:
        gc.enable()
    assert result == "done"
    assert alive == [False, False, False]


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


# validate_input.


def test_nan_does_not_pass_a_range_check() -> None:
    """`value < low or value > high` is false for NaN, and so it is let through. [naive range checks]"""
    checked = validate_input(rows=Array(ge=0, le=1))(lambda rows: "checked")
    with pytest.raises(InputRejected):
        checked(np.array([0.5, np.nan]))
    lenient = validate_input(rows=Array(ge=0, le=1, nan="allow"))(lambda rows: "checked")
    with pytest.raises(InputRejected):
        lenient(np.array([np.nan, 2.0]))  # where NaN is allowed, it does not hide its neighbour
    assert lenient(np.array([np.nan, 0.5])) == "checked"


# memory_guard.


def test_a_machine_with_24_gb_is_no_room_inside_a_container_of_512_mib(tmp_path: Path) -> None:
    """The host's memory is not the container's: it was killed with "24 GB free". [psutil, dask]"""
    group = tmp_path / "cgroup" / "pod"
    (tmp_path / "proc" / "self").mkdir(parents=True)
    group.mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text(f"MemTotal: {24 * 2**20} kB\nMemAvailable: {23 * 2**20} kB\n")
    (tmp_path / "proc" / "self" / "cgroup").write_text("0::/pod\n")
    (tmp_path / "proc" / "self" / "statm").write_text("1 1 1")
    (tmp_path / "cgroup" / "cgroup.controllers").write_text("memory\n")
    for name, text in {"max": 512 * 2**20, "high": "max", "current": 100 * 2**20, "stat": "inactive_file 0"}.items():
        (group / f"memory.{name}").write_text(f"{text}\n")

    class NoDriver:
        def gpus(self) -> Any:
            return Unknown("no driver in this test")

        processes = gpus

    before = devices.install(LocalMachine(proc=tmp_path / "proc", cgroups=tmp_path / "cgroup", driver=NoDriver()))
    try:
        devices.shared().tick()
        guarded = memory_guard(ram=0.9, need="1GiB", actions=())(lambda: "ran")
        with pytest.raises(MemoryPressure) as refused:
            guarded()
        assert refused.value.limit is not None
        assert refused.value.limit <= 512 * 2**20
    finally:
        devices.install(before)
        devices.shared().tick()


def test_waiting_for_memory_ends(clock: FakeClock) -> None:
    """A worker that is paused for memory may be paused for ever. [dask]"""
    with FakeDevices(ram_used="15.9GB", ram_limit="16GB"):
        guarded = memory_guard(ram=0.5, on_pressure="wait", wait_timeout=7, actions=())(lambda: "ran")
        with pytest.raises(MemoryPressure):
            guarded()
    assert 7 <= clock.now() < 8


def test_a_reading_that_nobody_has_is_not_zero_bytes(clock: FakeClock) -> None:
    """`except: return 0` lets every call through as if the machine were empty, or stops every one as if it were full.
    [jupyter-resource-usage, nvitop]
    """
    with FakeDevices(gpus=Unknown("the driver does not say")) as machine:
        assert memory_guard(gpu=0.9)(lambda: "ran")() == "ran"
        assert isinstance(machine.read().gpus, Unknown)
        assert isinstance(devices.current().gpus(), Unknown)


# monitor.


@pytest.mark.parametrize("kind", ["coroutine", "generator", "async generator"])
def test_a_body_of_fifty_milliseconds_is_not_recorded_as_zero(kind: str, clock: FakeClock) -> None:
    """A clock around the call alone times the making of the coroutine. [prometheus_client's time(), and others]"""

    async def coroutine() -> None:
        await clock.sleep_async(0.05)

    def generator() -> Iterator[int]:
        clock.sleep(0.05)
        yield 1

    async def async_generator() -> AsyncIterator[int]:
        clock.sleep(0.05)
        yield 1

    async def drain(items: Any) -> None:
        async for _item in items:
            pass

    heard: list[Any] = []
    timed: Any
    end = bus.subscribe(heard.append)
    try:
        if kind == "coroutine":
            timed = monitor(name="fifty")(coroutine)
            asyncio.run(timed())
        elif kind == "generator":
            timed = monitor(name="fifty")(generator)
            list(timed())
        else:
            timed = monitor(name="fifty")(async_generator)
            asyncio.run(drain(timed()))
        bus.flush()
    finally:
        end()
    (told,) = [event for event in heard if isinstance(event, CallFinished) and event.function == "fifty"]
    assert told.duration_seconds == pytest.approx(0.05)


def test_one_call_is_counted_once_however_often_it_was_tried(clock: FakeClock) -> None:
    """Inside a retry a counter counts attempts: three calls where the caller made one. [prometheus inside tenacity]"""
    answers = iter([ConnectionError(), ConnectionError(), 7])

    @monitor(name="once")
    @retry(attempts=3)
    def call() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    heard: list[Any] = []
    end = bus.subscribe(heard.append)
    try:
        assert call() == 7
        bus.flush()
    finally:
        end()
    told = [event.outcome for event in heard if isinstance(event, CallFinished) and event.function == "once"]
    assert told == ["ok"]
