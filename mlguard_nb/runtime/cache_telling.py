"""What a cache counts, and tells to whoever listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlguard_nb.runtime.hit_counts import HitCounts
from mlguard_nb.telemetry import bus

if TYPE_CHECKING:
    from mlguard_nb.runtime.wrapping import Guard

__all__ = ["CacheTelling"]


class CacheTelling:
    """The counts of one cache since it was made, and its events. `stored_in` is the kind of its backend."""

    def __init__(self, guard: Guard, stored_in: str) -> None:
        self._guard, self._stored_in = guard, stored_in
        self.misses = self.stale_hits = 0
        self.hit_counts, self.miss_counts = HitCounts(self._emit_hits), HitCounts(self._emit_misses)

    def hit(self) -> None:
        """A result was handed out; who holds it counts it."""
        if bus.is_heard():
            self.hit_counts.one()

    def miss(self) -> None:
        """The function is called."""
        self.misses += 1
        if bus.is_heard():
            self.miss_counts.one()

    def stale(self) -> None:
        """A result was handed out after its time."""
        self.stale_hits += 1
        if bus.is_heard():
            from mlguard_nb.telemetry.events import CacheHit

            bus.emit(CacheHit(function=self._guard.label, stale=True))

    def evicted(self, size_bytes: int, reason: str) -> None:
        """A result had to make room."""
        if bus.is_heard():
            from mlguard_nb.telemetry.events import CacheEvicted

            bus.emit(CacheEvicted(function=self._guard.label, reason=reason, size_bytes=size_bytes))

    def failed(self, error: str) -> None:
        """The backend did not answer."""
        if bus.is_heard():
            from mlguard_nb.telemetry.events import CacheFailed

            bus.emit(CacheFailed(function=self._guard.label, backend=self._stored_in, error=error))

    def _emit_hits(self, count: int) -> None:
        from mlguard_nb.telemetry.events import CacheHit

        bus.emit(CacheHit(function=self._guard.label, count=count))

    def _emit_misses(self, count: int) -> None:
        from mlguard_nb.telemetry.events import CacheMiss

        bus.emit(CacheMiss(function=self._guard.label, count=count))
