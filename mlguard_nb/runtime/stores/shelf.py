"""Whom a full store lets go: cachetools' cache by last use and own time to live. Imported when a store is full."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import cachetools

from mlguard_nb import clock
from mlguard_nb.runtime.stores.memory import HITS, KEPT, PASSED, SIZE, Held

if TYPE_CHECKING:
    from mlguard_nb.runtime.stores.memory import MemoryStore

__all__ = ["Shelf"]


class Shelf(cachetools.TLRUCache):  # type: ignore[type-arg]
    """cachetools' cache by last use and own time to live, with a second chance for what was hit without a lock."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store.max_bytes, _kept_until, timer=_now, getsizeof=_size)
        self._store = weakref.ref(store)

    def popitem(self) -> Any:
        """Remove what was not used for longest."""
        for _ in range(len(self) + 1):  # bounded, though hits may be counted all the while
            key, held = super().popitem()
            if held[HITS] == held[PASSED]:
                break
            held[PASSED] = held[HITS]
            self[key] = held
        else:
            key, held = super().popitem()
        if (store := self._store()) is not None:
            store.gave_way(key, held, "size")
        return key, held

    def expire(self, time: Any = None) -> Any:
        """Remove what is over."""
        gone = super().expire(time)
        if (store := self._store()) is not None:
            for key, held in gone:
                store.gave_way(key, held, "ttl")
        return gone


def _kept_until(_key: Any, held: Held, _now: float) -> float:
    return float(held[KEPT])


def _size(held: Held) -> int:
    return int(held[SIZE])


def _now() -> float:
    return clock.current().now()
