"""The store in memory: its bounds hold after every step, with room for all and without; and flights without a lock."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlguard_nb import cache_result
from mlguard_nb.runtime.single_flight import Flights
from mlguard_nb.runtime.stores.memory import HITS, SIZE, Held, MemoryStore
from mlguard_nb.testing import FakeClock, no_wait

_PUTS = st.tuples(st.just("put"), st.integers(0, 9), st.integers(1, 40), st.integers(1, 30))
_STEPS = st.lists(
    _PUTS
    | st.tuples(st.just("drop"), st.integers(0, 9))
    | st.tuples(st.just("hit"), st.integers(0, 9))
    | st.tuples(st.just("wait"), st.floats(0.1, 20))
    | st.tuples(st.just("clear")),
    max_size=60,
)


def held(value: Any, size: int = 1, until: float = 1e9) -> Held:
    """A result as the cache makes it."""
    return [value, until, 0, None, until, size, 0]


@given(steps=_STEPS, entries=st.none() | st.integers(1, 6))
def test_bounds_hold_after_every_step(steps: list[tuple[Any, ...]], entries: int | None) -> None:
    """Bytes, entries, and a key is what was last put there, or it is gone; every loss is told once."""
    told: list[tuple[int, str]] = []
    with no_wait() as clock:
        store = MemoryStore(100, entries, lambda size, reason: told.append((size, reason)))
        last: dict[int, Held] = {}
        for step in steps:
            if step[0] == "put":
                last[step[1]] = held(object(), step[2], clock.now() + step[3])
                assert store.put(step[1], last[step[1]])
            elif step[0] == "drop":
                found = store.find(step[1])
                assert store.drop(step[1]) == (found is not None and found[4] > clock.now())
            elif step[0] == "hit" and (found := store.find(step[1])):
                found[HITS] += 1
            elif step[0] == "wait":
                clock.sleep(step[1])
            elif step[0] == "clear":
                store.clear()
            assert store.used_bytes == sum(entry[SIZE] for entry in store.front.values()) <= 100
            assert entries is None or len(store) <= entries
            assert set(store.front) <= set(last)
            assert all(store.front.get(key) in (None, entry) for key, entry in last.items())
    assert store.evictions == len(told)


def test_the_newest_result_is_always_kept() -> None:
    """However full the store is."""
    store = MemoryStore(100)
    for number in range(50):
        store.put(number, held(number, 30))
        assert store.find(number) is not None
    assert len(store) == 3


def test_what_is_used_stays_when_room_runs_out() -> None:
    """Also what was used before there was any question of room."""
    store = MemoryStore(100)
    for number in range(10):
        store.put(number, held(number, 10))
    store.find(0)[HITS] += 1  # type: ignore[index]
    for number in range(10, 15):
        store.put(number, held(number, 10))
        store.find(0)[HITS] += 1  # type: ignore[index]
    assert set(store.front) == {0, *range(6, 15)}


def test_results_that_are_over_go_by_themselves() -> None:
    """At the next result that is kept, a second later or more; with a shelf as without one."""
    for size in (1, 60):
        with no_wait() as clock:
            store = MemoryStore(100)
            store.put("a", held("a", size, clock.now() + 5))
            store.put("b", held("b", size, clock.now() + 5))
            clock.sleep(6)
            store.put("c", held("c", 1, clock.now() + 5))
            assert list(store.front) == ["c"]
            assert store.used_bytes == 1


def test_a_key_kept_again_after_its_time_is_kept() -> None:
    """What was over under the same key, on the shelf, does not take the new result with it."""
    with no_wait() as clock:
        store = MemoryStore(100)
        for key in ("a", "b"):
            store.put(key, held(key, 60, clock.now() + 5))  # the second makes the shelf
        clock.sleep(5.5)
        store.put("b", new := held("new", 60, clock.now() + 5))
        clock.sleep(1)
        store.put("c", held("c", 10, clock.now() + 5))
        assert store.find("b") is new


def test_an_empty_store_is_roomy_again() -> None:
    """Once everything on the shelf is over, results are only counted, as at the beginning."""
    with no_wait() as clock:
        store = MemoryStore(100)
        for number in range(5):
            store.put(number, held(number, 60, clock.now() + 5))
        clock.sleep(10)
        assert store.put("late", held("late", 60, clock.now()))
        clock.sleep(10)
        store.put("later", held("later", 70, clock.now() + 5))
        assert (store.used_bytes, list(store.front)) == (70, ["later"])


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads change places a hundred times as often as they do otherwise."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.00005)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_no_follower_of_a_flight_is_left_behind() -> None:
    """Eight threads, three thousand short flights of few keys: all come down, with the value of their key."""
    flights, wrong = Flights(), []

    def fly(first: int) -> None:
        for number in range(first, first + 3000):
            key = number % 3
            value, _mine = flights.run(key, lambda key=key: key * 10)  # type: ignore[misc]
            if value != key * 10:
                wrong.append((key, value))

    threads = [threading.Thread(target=fly, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert (wrong, flights.under_way) == ([], {})


@pytest.mark.usefixtures("hasty_threads")
def test_a_key_is_computed_once_however_threads_fall_between() -> None:
    """Two hundred cold keys, eight threads on each at once: the body runs two hundred times."""
    calls: list[int] = []
    gates = [threading.Barrier(8) for _ in range(200)]

    @cache_result
    def compute(key: int) -> int:
        calls.append(key)
        return key * 2

    def ask(answers: list[int]) -> None:
        for key, gate in enumerate(gates):
            gate.wait()
            answers.append(compute(key))

    answers: list[list[int]] = [[] for _ in range(8)]
    threads = [threading.Thread(target=ask, args=(own,)) for own in answers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(calls) == list(range(200))
    assert all(own == [2 * key for key in range(200)] for own in answers)


def test_a_clock_that_is_changed_keeps_the_bounds() -> None:
    """A test that installs its own clock, and takes it away again."""
    store = MemoryStore(10)
    store.put(1, held(1, 6))
    with no_wait(FakeClock()):
        store.put(2, held(2, 6))
        assert list(store.front) == [2]
    store.put(3, held(3, 6))
    assert list(store.front) == [3]
