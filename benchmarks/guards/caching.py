"""cache_result, hits and misses, beside cachetools, cachebox, cashews, aiocache, joblib and lru_cache."""

from __future__ import annotations

import functools
import itertools
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.guards.bare import add, async_row, has, row, wait_for
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
    return row("cache hit, scalar key", lambda: ours(1, 2), peers, budget_ratio=8.3)


def _async_hit() -> Row:
    from mlguard_nb import cache_result

    ours = cache_result(ttl=3600)(wait_for)
    calls: dict[str, Callable[[], Any]] = {}
    if has("cashews"):
        from cashews import Cache

        kept = Cache()
        kept.setup("mem://")
        of_cashews = kept(ttl="1h", key="peer:{x}")(wait_for)
        calls["cashews"] = partial(of_cashews, 1)
    if has("aiocache"):
        import aiocache

        of_aiocache = aiocache.cached(ttl=3600)(wait_for)
        calls["aiocache"] = partial(of_aiocache, 1)
    return async_row("cache hit, scalar key, async", partial(ours, 1), calls)


def _array_hits() -> list[Row]:
    import numpy as np

    from mlguard_nb import cache_result

    ours = cache_result(ttl=3600)(_one)
    found = []
    for count, label in ((1024, "8 kB"), (131_072, "1 MB"), (13_107_200, "100 MB")):
        array = np.random.default_rng(0).random(count)
        hit, path = partial(ours, array), f"cache hit, array {label}"
        with tempfile.TemporaryDirectory() as folder:
            peers: dict[str, Callable[[], Any]] = {}
            if has("joblib"):
                import joblib

                peers["joblib.Memory"] = partial(joblib.Memory(folder, verbose=0).cache(_one), array)
            if count == 1024:  # so small that the call counts, not the bytes
                peers["np.sum"] = array.sum
                found.append(row(path, hit, peers, base=partial(add, 1, 2), budget_ratio=33.3))
            else:
                found.append(row(path, hit, peers, base=array.sum, base_name="np.sum", budget_ratio=1.3, repeat=20))
    return found


def _large_hit() -> Row:
    import numpy as np

    from mlguard_nb import cache_result

    ours = cache_result(ttl=3600, max_bytes="1GB")(lambda n: np.zeros(n))
    live = np.zeros(13_107_200)
    return row("returning a 100 MB hit", lambda: ours(13_107_200), {"copy": live.copy}, budget_ratio=66.7)


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
    return row("cache miss, stored", lambda: ours(next(numbers), 2), peers, base=lambda: add(next(numbers), 2))
