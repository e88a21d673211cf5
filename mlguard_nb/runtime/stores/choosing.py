"""Which store a policy asks for: the shelf in memory, and the backend behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from mlguard_nb.policy.values import CachePolicy
from mlguard_nb.runtime.stores.memory import Held, MemoryStore

if TYPE_CHECKING:
    from mlguard_nb.runtime.stores.entry import Store
    from mlguard_nb.runtime.stores.tolerant import TolerantStore

__all__ = ["GivenStore", "backend_of", "shelf_of", "store_of"]


def shelf_of(policy: CachePolicy, evicted: Callable[[int, str], None]) -> MemoryStore | GivenStore:
    """Where results are kept in this process: our own store, or the user's cachetools cache."""
    if policy.store is not None:
        return GivenStore(policy.store)
    return MemoryStore(policy.max_bytes, policy.maxsize, evicted)


def store_of(backend: str) -> Store | None:
    """The store behind `backend`; None for "memory"."""
    if backend == "memory":
        return None
    if backend == "disk" or backend.startswith("disk:"):
        from pathlib import Path

        from mlguard_nb.runtime.stores.disk import DiskStore, default_folder, user_key

        folder = backend.partition(":")[2]
        return DiskStore(Path(folder).expanduser() if folder else default_folder(), user_key())
    from mlguard_nb.runtime.stores.remote import RedisStore

    return RedisStore(backend)


def backend_of(policy: CachePolicy, failed: Callable[[str], None]) -> TolerantStore | None:
    """The store behind memory, which may fail without failing a call; None where memory is all."""
    store = store_of(policy.backend)
    if store is None:
        return None
    from mlguard_nb.runtime.stores.tolerant import TolerantStore

    return TolerantStore(store, policy.backend.rpartition("@")[2], failed)


class GivenStore:
    """Any cachetools cache, behind a lock. Its own bounds and evictions hold; `max_bytes` and `maxsize` do not.

    The cache keeps the results themselves, so that its own `getsizeof` and `ttu` see what the function returned. What
    else is known of a result stands beside it, and goes when the cache has let go of the result.
    """

    def __init__(self, cache: Any) -> None:
        self._cache, self._lock, self._tag = cache, threading.RLock(), object()
        self.front: dict[Hashable, Held] = {}  # stays empty: the cache may evict at any time
        self._beside: dict[Hashable, Held] = {}  # held, without the value
        self._next_tidying = 64
        self.hits = self.evictions = self.used_bytes = 0

    def find(self, key: Hashable) -> Held | None:
        """What is kept under `key`."""
        with self._lock:
            value = self._cache.get((self._tag, key), _GONE)
            held = self._beside.get(key)
            if value is _GONE or held is None:
                return None
            self.hits += 1
            return [value, *held[1:]]

    def put(self, key: Hashable, held: Held, now: float | None = None) -> bool:
        """Keep it; False where the cache says that it is too large. What time it is, the cache knows itself."""
        with self._lock:
            try:
                self._cache[self._tag, key] = held[0]
            except ValueError:
                return False
            self._beside[key] = [None, *held[1:]]
            if len(self._beside) > self._next_tidying:
                self._tidy()
        return True

    def _tidy(self) -> None:
        """Forget what stands beside results that the cache has let go of."""
        kept = {place[1] for place in self._cache if place[0] is self._tag}
        self._beside = {key: held for key, held in self._beside.items() if key in kept}
        self._next_tidying = max(64, 2 * len(self._beside))

    def drop(self, key: Hashable) -> bool:
        """Forget `key`; whether it was there."""
        with self._lock:
            self._beside.pop(key, None)
            return self._cache.pop((self._tag, key), _GONE) is not _GONE

    def clear(self) -> int:
        """Forget this function's results; other functions may share the cache."""
        with self._lock:
            for place in [place for place in self._cache if place[0] is self._tag]:
                self._cache.pop(place, None)
            self._beside.clear()
        return 0

    def after_fork(self) -> None:
        """A lock held in the parent is not held here."""
        self._lock = threading.RLock()

    def __len__(self) -> int:
        with self._lock:
            return sum(1 for place in self._cache if place[0] is self._tag)


_GONE = object()
