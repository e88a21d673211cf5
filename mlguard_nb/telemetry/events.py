"""Everything the guards say about themselves: one frozen event a fact, in the past tense.

`function` is the label of the guarded function or the name of the cell; times are seconds, sizes bytes. `wall` is
seconds since the epoch. Events never hold arguments or results, at most what they look like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlguard_nb import clock

__all__ = [
    "BreakerMoved",
    "CacheEvicted",
    "CacheFailed",
    "CacheHit",
    "CacheMiss",
    "CallFailed",
    "CallFinished",
    "CallsInFlight",
    "CallsLost",
    "DriftMeasured",
    "Event",
    "InputRefused",
    "InputUnusual",
    "MemoryReclaimed",
    "MemoryRefused",
    "MemoryWaited",
    "ResourcesMeasured",
    "RetriesExhausted",
    "RetryScheduled",
    "RunEnded",
    "StepEnded",
]


def _now() -> float:
    return clock.current().wall()


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all events have."""

    function: str
    wall: float = field(default_factory=_now)


@dataclass(frozen=True, kw_only=True)
class CallFinished(Event):
    """A call that the caller sees has ended. `outcome` is "ok", "error", or "cancelled" where what came out is no
    Exception (a cancelled task, Ctrl-C, an exit); `error` is "Class: message", shortened.
    """

    outcome: str
    duration_seconds: float
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class CallFailed(Event):
    """A call ended with an error, told at once and with all that is known; CallFinished counts it. `inputs` describes
    the arguments by name, `resources` the machine, `traceback` is empty where the call was refused on purpose.
    """

    duration_seconds: float
    error: str
    run_id: str
    inputs: Mapping[str, Any]
    resources: Mapping[str, Any]
    labels: Mapping[str, str]
    traceback: str = ""


@dataclass(frozen=True, kw_only=True)
class CallsInFlight(Event):
    """How many calls of a monitored function are running now."""

    calls: int


@dataclass(frozen=True, kw_only=True)
class CallsLost(Event):
    """Calls that ended faster than they could be drained: they are counted here and nowhere else."""

    calls: int


@dataclass(frozen=True, kw_only=True)
class ResourcesMeasured(Event):
    """Memory in use while a monitored function was called; None where nobody can say. `gpus` is (UUID, bytes)."""

    ram_used_bytes: int | None
    gpus: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class RetryScheduled(Event):
    """An attempt failed and another follows after `wait_seconds`. `reason`: exception, result, oom or retry-after."""

    attempt: int
    wait_seconds: float
    reason: str
    error: str


@dataclass(frozen=True, kw_only=True)
class RetriesExhausted(Event):
    """The last attempt failed. `reason`: attempts, deadline, budget or not-retryable."""

    attempts: int
    elapsed_seconds: float
    reason: str
    error: str


@dataclass(frozen=True, kw_only=True)
class BreakerMoved(Event):
    """A circuit breaker is now `state`: closed, half-open or open."""

    state: str


@dataclass(frozen=True, kw_only=True)
class CacheHit(Event):
    """Results came from the cache, `count` of them since the last event; `stale` when past their ttl."""

    stale: bool = False
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class CacheMiss(Event):
    """Results had to be computed, `count` of them since the last event."""

    count: int = 1


@dataclass(frozen=True, kw_only=True)
class CacheEvicted(Event):
    """A kept result was dropped. `reason`: size, ttl or memory."""

    reason: str
    size_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class CacheFailed(Event):
    """The backend did not answer, and the call went on without it."""

    backend: str
    error: str


@dataclass(frozen=True, kw_only=True)
class InputRefused(Event):
    """Arguments broke their schema. `rules` names each broken rule once for each argument."""

    rules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class InputUnusual(Event):
    """Arguments are outside the range that a learned schema has seen."""

    columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DriftMeasured(Event):
    """How far a column has moved from the training data (runtime/reference.py defines the distances)."""

    column: str
    psi: float
    ks: float
    mean_shift: float


@dataclass(frozen=True, kw_only=True)
class MemoryReclaimed(Event):
    """A rung of the ladder was taken. `action`: gc, trim, evict_caches, empty_cuda_cache or alert.

    `freed_bytes`: of caches what they held, of gc and trim by how much the process shrank, of empty_cuda_cache by how
    much the use of all devices fell, by whomever. None where nobody can say, and for alert.
    """

    action: str
    freed_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class MemoryWaited(Event):
    """A call waited for memory."""

    device: str
    wait_seconds: float


@dataclass(frozen=True, kw_only=True)
class MemoryRefused(Event):
    """There was no room. `action` is what came of it: stop, skip, fallback or warn."""

    device: str
    action: str
    used_bytes: int | None = None
    limit_bytes: int | None = None
    needed_bytes: int | None = None


@dataclass(frozen=True, kw_only=True)
class StepEnded(Event):
    """A step of an exported package has ended; `function` is its name. `outcome` is that of CallFinished."""

    outcome: str
    duration_seconds: float


@dataclass(frozen=True, kw_only=True)
class RunEnded(Event):
    """A run of an exported package has ended, with all its steps; `function` is the package."""

    outcome: str
    duration_seconds: float
