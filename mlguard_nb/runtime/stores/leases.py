"""One computation for many processes: a lease on the server says who computes a key, and ends when its holder dies."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from mlguard_nb.runtime.forking import renew_in_child
from mlguard_nb.runtime.stores.entry import Entry

__all__ = ["LEASE_SECONDS", "Lease", "Leasing", "is_held_here"]

# How long a key waits for a holder that was killed. A holder that is alive renews its lease three times in that span.
LEASE_SECONDS = 10.0


class Leasing(Protocol):
    """A store that also keeps leases. What fails raises as a Store's methods do."""

    def take(self, key: bytes, token: bytes, seconds: float, seen: bytes) -> tuple[bool, bytes, Entry | None]:
        """Hold `key` for `seconds` unless somebody does: (whether to compute now, who holds it, the entry under it).

        There is no entry while the holder is the one that was `seen` the time before.
        """
        ...

    def renew(self, key: bytes, token: bytes, seconds: float) -> None:
        """Hold it for `seconds` from now, where `token` holds it."""
        ...

    def release(self, key: bytes, token: bytes, failed: bool) -> None:
        """Let it go, where `token` holds it; `failed`: all who wait compute at once, not one after the other."""
        ...


class Lease:
    """The right to compute what stands under `key`, which one process has at a time.

    `ask` until it says that the right is here, or what another process has stored; `held` renews it during the block.
    Release it in the end, also where it was never given.
    """

    def __init__(self, store: Leasing, key: bytes) -> None:
        self._store, self._key, self._token = store, key, os.urandom(16)
        self._seen = b""
        self.has_failed = False  # there is nothing that others could share

    def ask(self) -> tuple[bool, Entry | None]:
        """(whether to compute now, what is stored). Where the server is away everybody computes."""
        is_mine, self._seen, stored = self._store.take(self._key, self._token, LEASE_SECONDS, self._seen)
        return is_mine, stored

    @staticmethod
    def waits() -> Iterator[float]:
        """Seconds between two questions: 5 ms, doubling to a quarter of a second."""
        seconds = 0.005
        while True:
            yield seconds
            seconds = min(0.25, 2 * seconds)

    def renew(self) -> None:
        """Hold it for its whole time from now. Where it is lost another computes too, and nothing is wrong."""
        self._store.renew(self._key, self._token, LEASE_SECONDS)

    def release(self) -> None:
        """Let the next one compute."""
        self._store.release(self._key, self._token, self.has_failed)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Renew it until the block ends; what runs inside knows that it is held here."""
        before = _held_here.set(_held_here.get() | {self._key})
        _renewals.add(self)
        try:
            yield
        except Exception:
            self.has_failed = True
            raise
        finally:
            _renewals.discard(self)
            _held_here.reset(before)


# The keys that the running code is computing: who comes back to one of them must not wait for itself.
_held_here: ContextVar[frozenset[bytes]] = ContextVar("mlguard_leases", default=frozenset())


def is_held_here(key: bytes) -> bool:
    """Whether the running code is part of the computation of `key`."""
    return key in _held_here.get()


class _Renewals:
    """The thread of this process that renews its leases; it ends when there are none."""

    def __init__(self) -> None:
        self.after_fork()
        renew_in_child(self)

    def after_fork(self) -> None:
        """The parent's leases are the parent's."""
        self._lock = threading.Lock()
        self._leases: set[Lease] = set()
        self._is_running = False

    def add(self, lease: Lease) -> None:
        """Renew `lease` from now on."""
        with self._lock:
            self._leases.add(lease)
            if not self._is_running:
                threading.Thread(target=self._renew, name="mlguard-leases", daemon=True).start()
                self._is_running = True

    def discard(self, lease: Lease) -> None:
        """Renew it no more."""
        with self._lock:
            self._leases.discard(lease)

    def _renew(self) -> None:
        while True:
            time.sleep(LEASE_SECONDS / 3)  # the machine's clock: the server's runs on whatever a test does to ours
            with self._lock:
                leases = list(self._leases)
                self._is_running = bool(leases)
            if not leases:
                return
            for lease in leases:
                lease.renew()


_renewals = _Renewals()
