"""What is known about one guarded run at one instant: frozen values, without words and without pictures.

Sizes are bytes, times seconds; None is "nobody could say", never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mlguard_nb.errors import Holder
from mlguard_nb.policy.values import CellOptions, GuardPolicy

__all__ = ["AttemptFacts", "CacheFacts", "DeviceFacts", "RunFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """One device beside one run. `used` is everybody's use, `own` this kernel's; `stop` the ceiling asked for.

    `peak_*` are known once the cell has ended; `peak_kind` says whether a spike can have been missed. `history` holds
    (seconds since the run began, bytes or None). `reason` says why there is no reading. `binds` says which limit it
    is ("container limit", "machine"). `is_over` marks the device that stopped the cell or keeps it waiting.
    """

    key: str
    label: str
    used: int | None = None
    limit: int | None = None
    stop: int | None = None
    own: int | None = None
    start_used: int | None = None
    start_own: int | None = None
    peak_used: int | None = None
    peak_own: int | None = None
    peak_kind: str | None = None
    history: tuple[tuple[float, int | None], ...] = ()
    reason: str | None = None
    binds: str | None = None
    asked: str | None = None  # the word that asks for a ceiling here, such as "gpu=0.9"
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """One attempt. `outcome` is running, finished, failed or interrupted; `waited` the seconds slept after it."""

    number: int
    outcome: str
    seconds: float
    error: str | None = None
    message: str = ""
    line: int | None = None
    waited: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFacts:
    """A cell's result in the cache: when it was computed, how long that took, and until when it is good (wall)."""

    names: tuple[str, ...]
    inputs: tuple[str, ...]
    computed_wall: float
    computed_seconds: float
    good_until_wall: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """One run of one guarded cell. `phase` is before, running, waiting, waiting_memory, ok, failed, refused,
    rejected, interrupted, cached, skipped, degraded or defs; `elapsed` the seconds since the run began.
    """

    phase: str
    policy: GuardPolicy
    cell: CellOptions = field(default_factory=CellOptions)
    line: str = ""
    name: str | None = None
    started_wall: float = 0.0
    wall: float = 0.0
    elapsed: float = 0.0
    attempts: tuple[AttemptFacts, ...] = ()
    devices: tuple[DeviceFacts, ...] = ()
    holders: tuple[Holder, ...] = ()
    wait_left: float | None = None
    waited: float | None = None
    cache: CacheFacts | None = None
    cache_missed: bool = False
    next_step: str | None = None
    bound: tuple[str, ...] = ()
    defined: tuple[str, ...] = ()
    rolled_back: bool = False
    notes: tuple[str, ...] = ()
    calls_inside: tuple[tuple[str, int], ...] = ()

    @property
    def attempt(self) -> int:
        """The number of the attempt that runs, or ran last; while waiting, of the one that comes next."""
        last = self.attempts[-1].number if self.attempts else 1
        return last + 1 if self.phase == "waiting" else last

    @property
    def attempts_max(self) -> int:
        """How many attempts the policy allows in all."""
        return self.policy.retry.attempts if self.policy.retry is not None else 1

    @property
    def remarks(self) -> tuple[str, ...]:
        """What there is to say beside how the run went, each in one line. (A rejection is how it went.)"""
        if not self.notes or self.phase == "rejected":
            return ()
        return tuple(" ".join(note.split()) for note in self.notes)

    @property
    def failed(self) -> tuple[AttemptFacts, ...]:
        """The attempts that ended with an error."""
        return tuple(attempt for attempt in self.attempts if attempt.outcome == "failed")
