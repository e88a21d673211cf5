"""Which store a policy asks for: the shelf in memory, and the backend behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from mlguard_nb.policy.values import CachePolicy
from mlguard_nb.runtime.stores.entry import Store
from mlguard_nb.runtime.stores.memory import HITS, Held, MemoryStore
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
        from mlguard_nb.runtime.stores.disk import DiskStore, default_folder, user_key

        folder = backend.partition(":")[2]
        return DiskStore(Path(folder).expanduser() if folder else default_folder(), user_key())
    from mlguard_nb.runtime.stores.remote import RedisStore

    return RedisStore(backend)


def backend_of(policy: CachePolicy, failed: Callable[[str], None]) -> TolerantStore | None:
    """The store behind memory, which may fail without failing a call; None where memory is all."""
    store = store_of(policy.backend)
    return None if store is None else TolerantStore(store, policy.backend.rpartition("@")[2], failed)


class GivenStore:
    """Any cachetools cache, behind a lock. Its own bounds and evictions hold; `max_bytes` and `maxsize` do not."""

    def __init__(self, cache: Any) -> None:
        self._cache, self._lock, self._tag = cache, threading.RLock(), object()
        self.front: dict[Hashable, Held] = {}  # stays empty: the cache may evict at any time
        self.hits = self.evictions = self.used_bytes = 0

    def find(self, key: Hashable) -> Held | None:
        """What is kept under `key`."""
        with self._lock:
            held: Held | None = self._cache.get((self._tag, key))
            if held is not None:
                self.hits += 1
            return held

    def put(self, key: Hashable, held: Held, now: float | None = None) -> bool:
        """Keep it; False where the cache says that it is too large. What time it is, the cache knows itself."""
        held[HITS] = 0
        with self._lock:
            try:
                self._cache[self._tag, key] = held
            except ValueError:
                return False
        return True

    def drop(self, key: Hashable) -> bool:
        """Forget `key`; whether it was there."""
        with self._lock:
            return self._cache.pop((self._tag, key), None) is not None

    def clear(self) -> int:
        """Forget this function's results; other functions may share the cache."""
        with self._lock:
            for place in [place for place in self._cache if place[0] is self._tag]:
                del self._cache[place]
        return 0

    def after_fork(self) -> None:
        """A lock held in the parent is not held here."""
        self._lock = threading.RLock()

    def __len__(self) -> int:
        with self._lock:
            return sum(1 for place in self._cache if place[0] is self._tag)
