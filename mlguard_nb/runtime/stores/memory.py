"""Results in this process's memory, bounded in bytes, and the list of all such caches for a guard that needs room."""

from __future__ import annotations

import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from mlguard_nb import clock

if TYPE_CHECKING:
    import pickle

    from mlguard_nb.runtime.stores.shelf import Shelf

__all__ = ["Held", "MemoryStore", "evict_all", "size_of"]

# A held result is a list, since that is what generated code reads fastest:
# [value, fresh until, hits, how a hit is handed out (None: as it is), kept until, bytes, hits when last passed over]
Held = list[Any]
FRESH, HITS, HAND, KEPT, SIZE, PASSED = 1, 2, 3, 4, 5, 6
_SWEEP_SECONDS = 1.0


class MemoryStore:
    """At most `max_bytes` and `max_entries` results; those not used for longest go first.

    `front` is what callers look into without a lock. A hit only counts in its entry; the eviction reads that as "used
    since". While there is room for all, nothing but the bytes is counted. When there is no more, all entries go to a
    shelf behind the front, which knows whom to evict: a place there costs more than many a call.
    What is over is dropped by a `put`, at most once a second.
    """

    def __init__(
        self, max_bytes: int, max_entries: int | None = None, evicted: Callable[[int, str], None] | None = None
    ) -> None:
        self.max_bytes = max_bytes
        self.max_entries = sys.maxsize if max_entries is None else max_entries
        self.front: dict[Hashable, Held] = {}
        self.past_hits = self.evictions = 0
        self._lock = threading.RLock()
        self._told = evicted
        self._shelf: Shelf | None = None
        self._bytes = 0  # where there is a shelf, it counts
        self._sweep_at = -math.inf
        _ALL.add(self)

    def find(self, key: Hashable) -> Held | None:
        """What is kept under `key`."""
        return self.front.get(key)

    def after_fork(self) -> None:
        """A lock held in the parent is not held here."""
        self._lock = threading.RLock()

    def put(self, key: Hashable, held: Held, now: float | None = None) -> bool:
        """Keep `held`; False where it alone is larger than the whole store. `now` spares a look at the clock."""
        size = held[SIZE]
        if size > self.max_bytes:
            self.drop(key)
            return False
        if now is None:
            now = _now()
        self._lock.acquire()  # `with` takes twice as long, and every miss comes by
        try:
            if self.front.setdefault(key, held) is not held:
                self.drop(key)
                self.front[key] = held
            if self._shelf is not None:
                self._shelve(self._shelf, key, held)
            else:
                self._bytes += size
                if self._bytes > self.max_bytes or len(self.front) > self.max_entries:
                    self._make_room()
            if now >= self._sweep_at:
                self._sweep(now)
        finally:
            self._lock.release()
        return True

    def drop(self, key: Hashable) -> bool:
        """Forget `key`; whether it was there and not over."""
        with self._lock:
            held = self.front.get(key)
            if held is None:
                return False
            now = _now()
            if self._shelf is not None:
                self._shelf.expire(now)  # or what is over would stay there, beside a new result of this key
                self._shelf.pop(key, None)
            self.forgotten(key, held)
            return bool(held[KEPT] > now)

    def _shelve(self, shelf: Shelf, key: Hashable, held: Held) -> None:
        shelf[key] = held
        if key not in shelf:
            self.gave_way(key, held, "ttl")
        while len(shelf) > self.max_entries:
            shelf.popitem()

    def _make_room(self) -> None:
        """From now on with a shelf, which lets go of those not used for longest."""
        from mlguard_nb.runtime.stores.shelf import Shelf

        self._shelf = shelf = Shelf(self)
        for key, held in list(self.front.items()):
            self._shelve(shelf, key, held)

    def _sweep(self, now: float) -> None:
        """Drop what is over. Without a shelf entries stand nearly in the order in which they end; the rest waits."""
        self._sweep_at = now + _SWEEP_SECONDS
        if self._shelf is not None:
            self._shelf.expire(now)
            if not self.front:
                self._shelf, self._bytes = None, 0
            return
        over = []
        for key, held in self.front.items():
            if held[KEPT] > now:
                break
            over.append((key, held))
        for key, held in over:
            self.gave_way(key, held, "ttl")

    def clear(self) -> int:
        """Forget everything; the bytes given back."""
        with self._lock:
            freed = self.used_bytes
            self.past_hits += sum(held[HITS] for held in self.front.values())
            self.front.clear()
            self._shelf, self._bytes = None, 0
            return freed

    def evict(self, reason: str = "memory") -> int:
        """Give every byte back because memory is short; how many they were."""
        self.evictions += len(self.front)
        freed = self.clear()
        if freed and self._told is not None:
            self._told(freed, reason)
        return freed

    @property
    def hits(self) -> int:
        """Hits so far; under threads without a lock, so at least nearly all."""
        return self.past_hits + sum(int(held[HITS]) for held in list(self.front.values()))

    @property
    def used_bytes(self) -> int:
        """What all results hold."""
        return self._bytes if self._shelf is None else int(self._shelf.currsize)

    def __len__(self) -> int:
        return len(self.front)

    # What the shelf reports.

    def forgotten(self, key: Hashable, held: Held) -> bool:
        """An entry is no longer kept; False where that was known."""
        if self.front.get(key) is not held:
            return False
        del self.front[key]
        self._bytes -= held[SIZE]
        self.past_hits += held[HITS]
        return True

    def gave_way(self, key: Hashable, held: Held, reason: str) -> None:
        """An entry left to make room, or because its time was over."""
        if self.forgotten(key, held):
            self.evictions += 1
            if self._told is not None:
                self._told(held[SIZE], reason)


def _now() -> float:
    return clock.current().now()


_ALL: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def evict_all() -> int:
    """Empty every cache of this process; the bytes given back."""
    return sum(store.evict() for store in list(_ALL))


def _after_fork() -> None:
    for store in list(_ALL):
        store.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def size_of(value: Any) -> int:
    """About how many bytes `value` holds: arrays and frames by their buffers, containers with what is in them."""
    try:
        return _size_of(value, set())
    except RecursionError:  # nested deeper than Python recurses
        return sys.getsizeof(value)


def _size_of(value: Any, seen: set[int]) -> int:
    if id(value) in seen:
        return 0
    seen.add(id(value))
    kind = type(value)
    if kind in (list, tuple, set, frozenset):
        return sys.getsizeof(value) + sum(_size_of(item, seen) for item in value)
    if kind is dict:
        return sys.getsizeof(value) + sum(_size_of(part, seen) for pair in value.items() for part in pair)
    if hasattr(value, "memory_usage") and kind.__module__.startswith("pandas"):
        used = value.memory_usage(deep=True)
        return int(used if isinstance(used, int) else used.sum()) + 1000
    for name in ("nbytes", "estimated_size"):
        size = getattr(value, name, None)
        size = size() if callable(size) else size
        if isinstance(size, int):
            return size + 120
    held = getattr(value, "__dict__", None)
    if type(held) is dict and not isinstance(value, type):
        return sys.getsizeof(value) + _size_of(held, seen)
    return sys.getsizeof(value) if kind.__module__ == "builtins" else _pickled_size(value)


class _Counter:
    """A file that keeps nothing but its length."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, raw: Any) -> int:
        self.size += len(raw)
        return len(raw)

    def lay_aside(self, buffer: pickle.PickleBuffer) -> None:
        self.size += buffer.raw().nbytes


def _pickled_size(value: Any) -> int:
    """For objects of C extensions, such as a fitted tree: what they would pickle is about what they hold."""
    import pickle

    counter = _Counter()
    try:
        pickle.Pickler(counter, 5, buffer_callback=counter.lay_aside).dump(value)
    except (pickle.PicklingError, TypeError, AttributeError):
        return sys.getsizeof(value)
    return max(counter.size, sys.getsizeof(value))
