"""When a device will reach its stop: only where its use has risen steadily for long enough to say so."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["seconds_to_stop"]

_STEADY_SECONDS = 20.0
_LONGEST_SECONDS = 3600.0
_STRAIGHT = 0.95  # share of the variance that a straight line must explain


def seconds_to_stop(history: Sequence[tuple[float, int | None]], stop: int | None) -> float | None:
    """Seconds until `stop` is reached at the slope of the last 20 s; None without a steady rise, or beyond an hour.

    `history` holds (seconds, bytes), oldest first; a gap in those 20 s means that nobody can say.
    """
    if stop is None or not history:
        return None
    latest = history[-1][0]
    if latest - history[0][0] < _STEADY_SECONDS * 0.95:
        return None
    recent = [point for point in history if latest - point[0] <= _STEADY_SECONDS]
    known = [(at, used) for at, used in recent if used is not None]
    if len(known) < 5 or len(known) < len(recent) or latest - known[0][0] < _STEADY_SECONDS * 0.95:
        return None
    count = len(known)
    mean_at = sum(at for at, _ in known) / count
    mean_used = sum(used for _, used in known) / count
    spread = sum((at - mean_at) ** 2 for at, _ in known)
    variance = sum((used - mean_used) ** 2 for _, used in known)
    together = sum((at - mean_at) * (used - mean_used) for at, used in known)
    if spread == 0 or variance == 0 or together <= 0 or together**2 / (spread * variance) < _STRAIGHT:
        return None
    left = stop - known[-1][1]
    seconds = left / (together / spread)
    return seconds if 0 < seconds <= _LONGEST_SECONDS else None
