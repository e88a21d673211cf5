"""A backend that may be down: the call goes on without it, and it is tried again after a while."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar, cast

from mlguard_nb import clock
from mlguard_nb.runtime.stores.entry import Entry, NotStorable, Store
from mlguard_nb.runtime.stores.leases import Lease, Leasing

__all__ = ["TolerantStore"]

_log = logging.getLogger("mlguard.cache")
T = TypeVar("T")
_PAUSE_SECONDS = 5.0


class TolerantStore:
    """Asks `store`; where that fails, counts, tells `failed`, warns once a spell, and leaves it alone for five seconds.

    A value that the store cannot keep is warned about once a type, and stays in memory only.
    """

    def __init__(self, store: Store, name: str, failed: Callable[[str], None]) -> None:
        self._store, self._name, self._failed = store, name, failed
        self._again_at = float("-inf")
        self._is_down = False
        self._unstorable: set[str] = set()
        self.failures = 0

    def get(self, key: bytes) -> Entry | None:
        """The entry; None also where the store is down."""
        return self._ask(lambda: self._store.get(key), None)

    def put(self, key: bytes, entry: Entry) -> bool:
        """Keep the entry, where the store is up and can; False where it never can."""
        try:
            self._ask(lambda: self._store.put(key, entry), None)
        except NotStorable as error:
            if str(error) not in self._unstorable:
                self._unstorable.add(str(error))
                _log.warning("cache %s: %s. It is kept in memory only.", self._name, error)
            return False
        return True

    def drop(self, key: bytes) -> bool:
        """Forget the key; False also where the store is down."""
        return self._ask(lambda: self._store.drop(key), False)

    def clear(self, prefix: bytes) -> None:
        """Forget everything under the prefix, where the store is up."""
        self._ask(lambda: self._store.clear(prefix), None)

    # Leases: where the store is down, or keeps none, everybody may compute.

    def lease(self, key: bytes) -> Lease | None:
        """The lease of `key`; None where the store keeps none."""
        return Lease(self, key) if hasattr(self._store, "take") else None

    def take(self, key: bytes, token: bytes, seconds: float, seen: bytes) -> tuple[bool, bytes, Entry | None]:
        """(whether to compute now, who holds the lease, the entry)."""
        nobody: tuple[bool, bytes, Entry | None] = (True, b"", None)
        return self._ask(lambda: self._leasing.take(key, token, seconds, seen), nobody)

    def renew(self, key: bytes, token: bytes, seconds: float) -> None:
        """Hold the lease for `seconds` more, where the store is up."""
        self._ask(lambda: self._leasing.renew(key, token, seconds), None)

    def release(self, key: bytes, token: bytes, failed: bool) -> None:
        """Let it go, where the store is up; else it runs out by itself."""
        self._ask(lambda: self._leasing.release(key, token, failed), None)

    @property
    def _leasing(self) -> Leasing:
        return cast("Leasing", self._store)

    def _ask(self, question: Callable[[], T], otherwise: T) -> T:
        if clock.current().now() < self._again_at:
            return otherwise
        try:
            answer = question()
        except OSError as error:
            self.failures += 1
            self._again_at = clock.current().now() + _PAUSE_SECONDS
            self._failed(f"{type(error).__name__}: {error}")
            if not self._is_down:
                self._is_down = True
                _log.warning("cache %s does not answer, results are computed instead: %s", self._name, error)
            return otherwise
        if self._is_down:
            self._is_down = False
            _log.warning("cache %s answers again", self._name)
        return answer
