"""cache_result on functions of every kind, and what it gives them."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest

from mlguard_nb import CachePolicy, cache_result, memory_guard
from mlguard_nb.errors import PolicyError
from mlguard_nb.runtime import hit_counts
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import CacheEvicted, CacheHit, CacheMiss
from mlguard_nb.telemetry.measures import changes
from mlguard_nb.testing import disabled
from tests.runtime.counting import counted

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
