"""A backend that may be down: the call goes on without it, and it is tried again after a while."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

from mlguard_nb.runtime.stores.entry import Entry, NotStorable, Store
from mlguard_nb.runtime.stores.leases import Lease, Leasing
from mlguard_nb.runtime.tolerance import Tolerance

__all__ = ["TolerantStore"]

_log = logging.getLogger("mlguard.cache")


class TolerantStore:
    """Asks `store`; where that fails, counts, tells `failed`, warns once a spell, and leaves it alone for five seconds.

    A value that the store cannot keep is warned about once a type, and stays in memory only.
    """

    def __init__(self, store: Store, name: str, failed: Callable[[str], None]) -> None:
        self._store, self._name = store, name
        self._tolerance = Tolerance(f"cache {name}", "results are computed instead", _log, failed)
        self._unstorable: set[str] = set()

    @property
    def failures(self) -> int:
        """How often the store did not answer."""
        return self._tolerance.failures

    def get(self, key: bytes) -> Entry | None:
        """The entry; None also where the store is down."""
        return self._tolerance.ask(lambda: self._store.get(key), None)

    def put(self, key: bytes, entry: Entry) -> bool:
        """Keep the entry, where the store is up and can; False where it never can."""
        try:
            self._tolerance.ask(lambda: self._store.put(key, entry), None)
        except NotStorable as error:
            if str(error) not in self._unstorable:
                self._unstorable.add(str(error))
                _log.warning("cache %s: %s. It is kept in memory only.", self._name, error)
            return False
        return True

    def drop(self, key: bytes) -> bool:
        """Forget the key; False also where the store is down."""
        return self._tolerance.ask(lambda: self._store.drop(key), False)

    def clear(self, prefix: bytes) -> None:
        """Forget everything under the prefix, where the store is up."""
        self._tolerance.ask(lambda: self._store.clear(prefix), None)

    # Leases: where the store is down, or keeps none, everybody may compute.

    def lease(self, key: bytes) -> Lease | None:
        """The lease of `key`; None where the store keeps none."""
        return Lease(self, key) if hasattr(self._store, "take") else None

    def take(self, key: bytes, token: bytes, seconds: float, seen: bytes) -> tuple[bool, bytes, Entry | None]:
        """(whether to compute now, who holds the lease, the entry)."""
        nobody: tuple[bool, bytes, Entry | None] = (True, b"", None)
        return self._tolerance.ask(lambda: self._leasing.take(key, token, seconds, seen), nobody)

    def renew(self, key: bytes, token: bytes, seconds: float) -> None:
        """Hold the lease for `seconds` more, where the store is up."""
        self._tolerance.ask(lambda: self._leasing.renew(key, token, seconds), None)

    def release(self, key: bytes, token: bytes, failed: bool) -> None:
        """Let it go, where the store is up; else it runs out by itself."""
        self._tolerance.ask(lambda: self._leasing.release(key, token, failed), None)

    @property
    def _leasing(self) -> Leasing:
        return cast("Leasing", self._store)
