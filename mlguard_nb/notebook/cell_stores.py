"""Where cells' results are kept: this process's memory, a folder of the user, or Redis."""

from __future__ import annotations

from pathlib import Path

from mlguard_nb.policy.values import CachePolicy
from mlguard_nb.runtime.stores.entry import Entry, NotStorable, Store
from mlguard_nb.runtime.stores.memory import MemoryStore, size_of

__all__ = ["open_store"]


class _InMemory:
    """The process's memory store behind the interface of the others; what is too large for it is not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._store = MemoryStore(max_bytes)

    def get(self, key: bytes) -> Entry | None:
        held = self._store.front.get(key)
        return None if held is None else held[0]

    def put(self, key: bytes, entry: Entry) -> None:
        size = size_of(entry.value)
        if not self._store.put(key, [entry, entry.fresh_until, 0, None, entry.kept_until, size, 0]):
            raise NotStorable(f"{size / 2**20:.0f} MiB are more than the cache may hold")

    def drop(self, key: bytes) -> bool:
        return self._store.drop(key)

    def clear(self, prefix: bytes) -> None:
        for key in [key for key in self._store.front if isinstance(key, bytes) and key.startswith(prefix)]:
            self._store.drop(key)


def open_store(policy: CachePolicy) -> Store:
    """The store that the policy's `backend` names."""
    backend = policy.backend
    if backend == "memory":
        return _InMemory(policy.max_bytes)
    if backend.partition(":")[0] == "disk":
        from mlguard_nb.runtime.stores.disk import DiskStore, default_folder, user_key

        folder = backend.partition(":")[2]
        return DiskStore(Path(folder) if folder else default_folder() / "cells", user_key())
    from mlguard_nb.runtime.stores.remote import RedisStore

    return RedisStore(backend)
