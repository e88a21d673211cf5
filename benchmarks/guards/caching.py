"""cache_result, hits and misses, beside cachetools, cachebox, cashews, aiocache, joblib and lru_cache."""

from __future__ import annotations

import functools
import itertools
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.guards.bare import add, call_bare, has, timed, wait_for
from benchmarks.measure import nanoseconds, nanoseconds_async
from benchmarks.table import Row

__all__ = ["rows"]


def rows() -> list[Row]:
    """Hits on a scalar, sync and async, on arrays, what a large hit costs to hand out, and a miss."""
    return [_scalar_hit(), _async_hit(), *_array_hits(), _large_hit(), _miss()]


def _one(x: Any) -> Any:
    return 1


def _scalar_hit() -> Row:
    from mlguard_nb import cache_result

    ours = cache_result(ttl=3600)(add)
    limit = functools.lru_cache(add)
    peers: dict[str, Callable[[], Any]] = {"lru_cache (no ttl)": lambda: limit(1, 2)}
    if has("cachetools"):
        import cachetools

        locked = cachetools.cached(cachetools.TTLCache(128, 600), lock=threading.RLock())(add)
        peers["cachetools + RLock"] = lambda: locked(1, 2)
    if has("cachebox"):
        import cachebox

        boxed = cachebox.cached(cachebox.TTLCache(128, 600))(add)
        peers["cachebox"] = lambda: boxed(1, 2)
    return Row("cache hit, scalar key", nanoseconds(lambda: ours(1, 2)), call_bare(), timed(peers), budget_ratio=8.3)


def _async_hit() -> Row:
    from mlguard_nb import cache_result

    ours = cache_result(ttl=3600)(wait_for)
    calls: dict[str, Callable[[], Any]] = {}
    if has("cashews"):
        from cashews import Cache

        kept = Cache()
        kept.setup("mem://")
        of_cashews = kept(ttl="1h", key="peer:{x}")(wait_for)
        calls["cashews"] = lambda: of_cashews(1)
    if has("aiocache"):
        import aiocache

        of_aiocache = aiocache.cached(ttl=3600)(wait_for)
        calls["aiocache"] = lambda: of_aiocache(1)
    peers = {name: nanoseconds_async(call) for name, call in calls.items()}
    base = nanoseconds_async(lambda: wait_for(1))
    return Row(
        "cache hit, scalar key, async", nanoseconds_async(lambda: ours(1)), base, peers, base_name="a bare await"
    )


def _array_hits() -> list[Row]:
    import numpy as np

    from mlguard_nb import cache_result

    ours = cache_result(ttl=3600)(_one)
    base = call_bare()
    found = []
    for count, label in ((1024, "8 kB"), (131_072, "1 MB"), (13_107_200, "100 MB")):
        array = np.random.default_rng(0).random(count)
        ours(array)
        total = nanoseconds(lambda array=array: array.sum(), repeat=5)
        peers: dict[str, float] = {"np.sum": total}
        if has("joblib"):
            import joblib

            with tempfile.TemporaryDirectory() as folder:
                remembered = joblib.Memory(folder, verbose=0).cache(_one)
                remembered(array)
                peers["joblib.Memory"] = nanoseconds(
                    lambda array=array, remembered=remembered: remembered(array), repeat=3, seconds=0.01
                )
        hit = nanoseconds(lambda array=array: ours(array), repeat=5)
        if count == 1024:  # so small that the call counts, not the bytes
            found.append(Row(f"cache hit, array {label}", hit, base, peers, budget_ratio=33.3))
        else:
            del peers["np.sum"]
            row = Row(f"cache hit, array {label}", hit, total, peers, budget_ratio=1.3, base_name="np.sum")
            found.append(row)
    return found


def _large_hit() -> Row:
    import numpy as np

    from mlguard_nb import cache_result

    ours = cache_result(ttl=3600, max_bytes="1GB")(lambda n: np.zeros(n))
    ours(13_107_200)
    live = np.zeros(13_107_200)
    peers = {"copy": nanoseconds(live.copy, repeat=3)}
    return Row("returning a 100 MB hit", nanoseconds(lambda: ours(13_107_200)), call_bare(), peers, budget_ratio=66.7)


def _miss() -> Row:
    """A miss that computes nothing and stores an int, in a cache with room: what a cache costs where it does not help."""
    from mlguard_nb import cache_result

    numbers = itertools.count()
    ours = cache_result(ttl=3600)(add)
    peers: dict[str, Callable[[], Any]] = {}
    if has("cachetools"):
        import cachetools

        locked = cachetools.cached(cachetools.TTLCache(10**9, 600), lock=threading.RLock())(add)
        peers["cachetools + RLock"] = lambda: locked(next(numbers), 2)
    if has("cachebox"):
        import cachebox

        boxed = cachebox.cached(cachebox.TTLCache(10**7, 600))(add)
        peers["cachebox"] = lambda: boxed(next(numbers), 2)
    base = nanoseconds(lambda: add(next(numbers), 2))
    return Row("cache miss, stored", nanoseconds(lambda: ours(next(numbers), 2)), base, timed(peers))
