"""How much a cache may hold, counted in bytes and in results."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import cachetools
import numpy as np
import pandas as pd
import pytest

from mlguard_nb import cache_result
from mlguard_nb.runtime.caching import cache_of
from mlguard_nb.runtime.stores import memory as memory_store
from mlguard_nb.runtime.stores.choosing import GivenStore
from tests.runtime.counting import counted


@dataclasses.dataclass
class Settings:
    rate: float


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
        ({"a": bytes(5000)}, 5000), (Settings(1.0), 16), (forest, len(pickle.dumps(forest)) // 2),
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
