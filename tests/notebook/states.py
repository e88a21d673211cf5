"""The states of the mockups as facts: one cell of `churn.ipynb` on one GPU of 80 GiB in a container of 16 GiB."""

from __future__ import annotations

import calendar
import time
from typing import Any

from mlguard_nb.errors import Holder
from mlguard_nb.notebook.facts import AttemptFacts, CacheFacts, DeviceFacts, RunFacts
from mlguard_nb.policy.directive import parse

GIB = 2**30
LINE = "retry=3 wait=1s..30s mem=0.8 gpu=0.9 name=train"


def gib(amount: float) -> int:
    return round(amount * GIB)


def wall(clock: str) -> float:
    """Seconds since the epoch of a time of day, where the tests' time zone is UTC."""
    return calendar.timegm(time.strptime(f"2026-11-24 {clock}", "%Y-%m-%d %H:%M:%S"))


def ram(used: float, own: float, **more: Any) -> DeviceFacts:
    more.setdefault("limit", gib(16))
    more.setdefault("stop", gib(12.8))
    return DeviceFacts(
        key="ram", label="RAM", used=gib(used), own=gib(own), binds="container limit", asked="mem=0.8", **more
    )


def gpu(used: float, own: float, **more: Any) -> DeviceFacts:
    more.setdefault("stop", gib(72))
    return DeviceFacts(key="GPU-1", label="GPU 0", used=gib(used), limit=gib(80), own=gib(own), asked="gpu=0.9", **more)


def rising(start: float, end: float, seconds: float) -> tuple[tuple[float, int | None], ...]:
    """A steady rise, twice a second."""
    steps = int(seconds * 2)
    return tuple((step / 2, gib(start + (end - start) * step / steps)) for step in range(steps + 1))


def facts(phase: str, line: str = LINE, **more: Any) -> RunFacts:
    directive = parse(line)
    return RunFacts(
        phase=phase, policy=directive.policy, cell=directive.cell, line=line, name=directive.policy.name, **more
    )


RESET = AttemptFacts(
    number=1, outcome="failed", seconds=11.2, error="ConnectionResetError",
    message="[Errno 104] shard 12 of 64", line=2, waited=1.6,
)  # fmt: skip


def running(number: int, seconds: float) -> AttemptFacts:
    return AttemptFacts(number=number, outcome="running", seconds=seconds)


def failed(number: int, seconds: float) -> AttemptFacts:
    return AttemptFacts(
        number=number, outcome="failed", seconds=seconds, error="ConnectionResetError",
        message="[Errno 104] Connection reset by peer", line=2, waited=1.0,
    )  # fmt: skip


_STEADY = rising(12.0, 16.3, 20)
_RUN_RAM = {"start_used": gib(4.3), "start_own": gib(2.1)}

STATES: dict[str, tuple[RunFacts, str]] = {
    "before": (
        facts("before", devices=(ram(4.3, 2.1), gpu(6.4, 2.1))),
        "guard: 3 attempts · RAM stop at 12.8 of 16.0 GiB (container limit) · GPU 0 stop at 72 of 80 GiB",
    ),
    "running 1": (
        facts(
            "running",
            elapsed=9,
            wall=wall("14:07:05"),
            attempts=(running(1, 9),),
            devices=(ram(4.8, 2.6, start_used=gib(4.3)), gpu(10.2, 5.9, start_used=gib(6.4))),
        ),
        "guard: running 0:09 · attempt 1 of 3 · RAM 4.8 of 16.0 GiB, stop 12.8 · GPU 0 10.2 of 80.0 GiB, stop 72.0"
        " · as of 14:07:05",
    ),
    "running 2": (
        facts(
            "running",
            elapsed=37,
            wall=wall("14:07:33"),
            attempts=(RESET, running(2, 24)),
            rolled_back=True,
            devices=(
                ram(5.2, 3.0, start_used=gib(4.3)),
                gpu(16.3, 12.0, start_used=gib(6.4), history=rising(6.4, 16.3, 21)),
            ),
        ),
        "guard: running 0:37 · attempt 2 of 3 (attempt 1 failed after 11.2 s: ConnectionResetError) · RAM 5.2 of"
        " 16.0 GiB, stop 12.8 · GPU 0 16.3 of 80.0 GiB, stop 72.0 in about 2 min · as of 14:07:33",
    ),
    "finished": (
        facts(
            "ok",
            elapsed=42.1,
            wall=wall("14:07:38"),
            bound=("batches", "model", "history"),
            attempts=(RESET, AttemptFacts(number=2, outcome="finished", seconds=29.3)),
            devices=(
                ram(
                    5.4,
                    3.2,
                    peak_used=gib(5.4),
                    peak_own=gib(3.2),
                    peak_kind="exact",
                    **_RUN_RAM,
                    history=rising(4.3, 5.4, 42),
                ),
                gpu(
                    18.4,
                    14.1,
                    start_used=gib(6.4),
                    start_own=gib(2.1),
                    peak_used=gib(18.4),
                    peak_own=gib(14.1),
                    peak_kind="sampled",
                    history=rising(6.4, 18.4, 42),
                ),
            ),
        ),
        "✓ 42.1 s · peak RAM 3.2 GiB (+1.1, exact) · peak GPU 0 18.4 GiB (+12.0, sampled) · attempt 2 of 3",
    ),
    "memory pressure": (
        facts(
            "failed",
            elapsed=31.4,
            wall=wall("14:53:31"),
            attempts=(AttemptFacts(number=1, outcome="failed", seconds=31.4, error="MemoryPressure"),),
            devices=(ram(6.5, 3.1), gpu(72.0, 20.0, is_over=True)),
            holders=(
                Holder("rag_eval.ipynb", gib(51.2)),
                Holder("this notebook", gib(20)),
                Holder("other processes", gib(0.8)),
            ),
            next_step="shut down rag_eval.ipynb (idle 38 min)",
        ),
        "✕ MemoryPressure after 31.4 s: GPU 0 reached its stop at 72.0 of 80.0 GiB · held by rag_eval.ipynb 51.2,"
        " this notebook 20.0, other processes 0.8 GiB · next: shut down rag_eval.ipynb (idle 38 min) · attempt 1 of 3,"
        " kernel intact",
    ),
    "cached": (
        facts(
            "cached",
            LINE + " cache=1h",
            elapsed=0.2,
            wall=wall("14:19:40"),
            cache=CacheFacts(
                names=("batches", "model", "history"),
                inputs=("X_train", "y_train", "batch_size", "epochs"),
                computed_wall=wall("14:07:38"),
                computed_seconds=42.1,
                good_until_wall=wall("15:07:38"),
            ),
            devices=(ram(5.4, 3.2), gpu(18.4, 14.1)),
        ),
        "✓ cache hit in 0.2 s · 3 values restored (batches, model, history), computed 14:07 in 42.1 s · good until"
        " 15:07",
    ),
    "waiting": (
        facts(
            "waiting",
            elapsed=11.9,
            wall=wall("14:07:08"),
            attempts=(RESET,),
            wait_left=0.9,
            devices=(ram(4.4, 2.2), gpu(6.4, 2.1)),
        ),
        "guard: waiting, attempt 2 of 3 in 0.9 s · attempt 1 failed after 11.2 s: ConnectionResetError · as of"
        " 14:07:08",
    ),
    "waiting for memory": (
        facts(
            "waiting_memory",
            LINE + " at=wait",
            elapsed=12,
            wall=wall("14:52:20"),
            waited=12,
            devices=(ram(6.5, 3.1), gpu(72.5, 2.1, is_over=True)),
            holders=(
                Holder("rag_eval.ipynb", gib(69.6)),
                Holder("this notebook", gib(2.1)),
                Holder("other processes", gib(0.8)),
            ),
        ),
        "guard: waiting for memory 0:12 of 0:30 · GPU 0 72.5 of 80.0 GiB, stop 72.0 · held by rag_eval.ipynb 69.6,"
        " this notebook 2.1, other processes 0.8 GiB · as of 14:52:20",
    ),
    "gave up": (
        facts(
            "failed",
            elapsed=39.0,
            wall=wall("14:09:12"),
            attempts=(failed(1, 12), failed(2, 12), failed(3, 12)),
            devices=(ram(4.8, 2.6), gpu(11.1, 6.8)),
        ),
        # The mockup's cell says "look at shard 12"; a kernel knows the line.
        "✕ ConnectionResetError · 3 of 3 attempts failed in 39.0 s, the same error each time (line 2) · next: look at"
        " line 2",
    ),
    "interrupted": (
        facts(
            "interrupted",
            elapsed=18.3,
            wall=wall("14:07:14"),
            attempts=(RESET, AttemptFacts(number=2, outcome="interrupted", seconds=5.5)),
            devices=(ram(4.6, 2.4), gpu(11.1, 6.8)),
        ),
        "guard: interrupted after 18.3 s in attempt 2 of 3",
    ),
    "finished at once": (
        facts(
            "ok",
            "mem=0.8 name=features",
            elapsed=18.9,
            wall=wall("14:01:00"),
            attempts=(AttemptFacts(number=1, outcome="finished", seconds=18.9),),
            devices=(
                ram(
                    6.8,
                    4.6,
                    peak_used=gib(6.8),
                    peak_own=gib(4.6),
                    start_own=gib(1.7),
                    peak_kind="exact",
                    history=rising(3.9, 6.8, 18),
                ),
                gpu(6.4, 2.1, stop=None, peak_used=gib(6.4), peak_own=gib(2.1), start_own=0, peak_kind="sampled"),
            ),
        ),
        "✓ 18.9 s · peak RAM 4.6 GiB (+2.9, exact) · peak GPU 0 6.4 GiB (+2.1, sampled)",
    ),
    "no GPU reading": (
        facts(
            "running",
            elapsed=37,
            wall=wall("09:31:10"),
            attempts=(running(1, 37),),
            devices=(
                ram(9.5, 3.0, limit=gib(15.3), stop=gib(12.24), start_used=gib(8.6)),
                DeviceFacts(key="gpu", label="GPU", reason="no NVIDIA driver on this machine", asked="gpu=0.9"),
            ),
        ),
        "guard: running 0:37 · attempt 1 of 3 · RAM 9.5 of 15.3 GiB, stop 12.2 · GPU – (no NVIDIA driver on this"
        " machine; gpu=0.9 is not applied) · as of 09:31:10",
    ),
    "finished without a GPU": (
        facts(
            "ok",
            "mem=0.8 gpu=0.9",
            elapsed=2.0,
            wall=wall("09:31:10"),
            attempts=(AttemptFacts(number=1, outcome="finished", seconds=2.0),),
            devices=(
                ram(5.4, 3.2, peak_used=gib(5.4), peak_own=gib(3.2), peak_kind="exact", **_RUN_RAM),
                DeviceFacts(key="gpu", label="GPU", reason="no NVIDIA driver on this machine", asked="gpu=0.9"),
            ),
        ),
        "✓ 2.0 s · peak RAM 3.2 GiB (+1.1, exact) · GPU – (no NVIDIA driver on this machine; gpu=0.9 is not applied)",
    ),
    "refused": (
        facts(
            "refused",
            elapsed=0.0,
            wall=wall("14:00:00"),
            devices=(ram(13.1, 1.0, is_over=True), gpu(6.4, 2.1)),
            holders=(Holder("this notebook", gib(1)), Holder("other processes", gib(12.1))),
            next_step="free memory here with %guard free",
        ),
        "✕ MemoryPressure before the first line · RAM 13.1 of 16.0 GiB, stop 12.8 · held by this notebook 1.0, other"
        " processes 12.1 GiB · next: free memory here with %guard free · nothing ran",
    ),
    "rejected": (
        facts(
            "rejected",
            wall=wall("14:00:00"),
            devices=(ram(4.0, 1.0),),
            notes=("train rejected its input: 2 violations\n  - X: dtype: expected int64, found float64\n  - y: nan",),
        ),
        "✕ InputRejected before the first line: X: dtype: expected int64, found float64 and 1 more · nothing ran",
    ),
    "skipped": (
        facts("skipped", LINE + " at=skip", wall=wall("14:00:00"), devices=(ram(13.1, 1.0, is_over=True),)),
        "guard: skipped · RAM 13.1 of 16.0 GiB, stop 12.8 · nothing ran",
    ),
    "fallback": (
        facts(
            "degraded",
            LINE + " fallback=fit_cpu",
            elapsed=3.0,
            wall=wall("14:00:00"),
            bound=("model",),
            devices=(ram(13.1, 1.0, is_over=True),),
        ),
        "guard: fallback ran in 3.0 s: RAM was short · RAM 13.1 of 16.0 GiB, stop 12.8",
    ),
}
