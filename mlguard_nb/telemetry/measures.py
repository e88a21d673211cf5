"""The metrics, by name: what each counts, its labels, and how an event changes it. All sinks read this one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from mlguard_nb.telemetry import events as e

__all__ = ["BUCKETS", "METRICS", "Change", "Metric", "MetricSink", "Series", "Wishes", "changes", "wish", "wishes_of"]

# Seconds: 5 ms doubling to 82 s.
BUCKETS = tuple(0.005 * 2**power for power in range(15))


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its full name, kind, labels and what it says."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mlguard_calls_total", "counter", ("function", "outcome"), "Calls that the caller saw."),
        Metric("mlguard_duration_seconds", "histogram", ("function",), "Duration of a call, retries included."),
        Metric("mlguard_in_flight", "gauge", ("function",), "Calls running now."),
        Metric("mlguard_calls_lost_total", "counter", ("function",), "Calls too fast to be measured one by one."),
        Metric("mlguard_retries_total", "counter", ("function", "reason"), "Attempts after the first."),
        Metric("mlguard_cache_hits_total", "counter", ("function",), "Results taken from the cache."),
        Metric("mlguard_cache_misses_total", "counter", ("function",), "Results that had to be computed."),
        Metric("mlguard_cache_evictions_total", "counter", ("function",), "Kept results that were dropped."),
        Metric("mlguard_validation_failures_total", "counter", ("function", "rule"), "Broken rules of refused input."),
        Metric("mlguard_drift_score", "gauge", ("function", "column"), "Population stability index against training."),
        Metric("mlguard_memory_actions_total", "counter", ("function", "action"), "What was done about short memory."),
        Metric(
            "mlguard_ram_used_bytes",
            "gauge",
            ("function",),
            "Working set of the container within a second of the last call.",
        ),
        Metric(
            "mlguard_gpu_used_bytes",
            "gauge",
            ("function", "device"),
            "Memory in use on a device within a second of the last call.",
        ),
        Metric("mlguard_breaker_state", "gauge", ("function",), "0 closed, 1 half-open, 2 open."),
        Metric("mlguard_steps_total", "counter", ("function", "outcome"), "Steps of a package that ended."),
        Metric("mlguard_step_seconds", "gauge", ("function",), "Duration of the step when it ran last."),
        Metric("mlguard_runs_total", "counter", ("function", "outcome"), "Runs of a package that ended."),
        Metric("mlguard_run_seconds", "gauge", ("function",), "Duration of the package's last run."),
    )
}

_BREAKER = {"closed": 0.0, "half-open": 1.0, "open": 2.0}


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one series: add to a counter, set a gauge, observe into a histogram."""

    metric: str
    labels: tuple[str, ...]
    value: float


def changes(event: e.Event) -> Iterator[Change]:
    """What `event` changes; nothing for events that no metric counts."""
    f = event.function
    if isinstance(event, e.CallFinished):
        yield Change("mlguard_calls_total", (f, event.outcome), 1)
        yield Change("mlguard_duration_seconds", (f,), event.duration_seconds)
    elif isinstance(event, (e.StepEnded, e.RunEnded)):
        what = "step" if isinstance(event, e.StepEnded) else "run"
        yield Change(f"mlguard_{what}s_total", (f, event.outcome), 1)
        yield Change(f"mlguard_{what}_seconds", (f,), event.duration_seconds)
    elif isinstance(event, e.CallsInFlight):
        yield Change("mlguard_in_flight", (f,), event.calls)
    elif isinstance(event, e.CallsLost):
        yield Change("mlguard_calls_lost_total", (f,), event.calls)
    elif isinstance(event, e.RetryScheduled):
        yield Change("mlguard_retries_total", (f, event.reason), 1)
    elif isinstance(event, e.InputRefused):
        for rule in event.rules:
            yield Change("mlguard_validation_failures_total", (f, rule), 1)
    elif isinstance(event, e.DriftMeasured):
        yield Change("mlguard_drift_score", (f, event.column), event.psi)
    elif isinstance(event, (e.MemoryReclaimed, e.MemoryRefused)):
        yield Change("mlguard_memory_actions_total", (f, event.action), 1)
    elif isinstance(event, e.MemoryWaited):
        yield Change("mlguard_memory_actions_total", (f, "wait"), 1)
    elif isinstance(event, e.ResourcesMeasured):
        if event.ram_used_bytes is not None:
            yield Change("mlguard_ram_used_bytes", (f,), event.ram_used_bytes)
        for device, used in event.gpus:
            yield Change("mlguard_gpu_used_bytes", (f, device), used)
    elif isinstance(event, e.BreakerMoved):
        yield Change("mlguard_breaker_state", (f,), _BREAKER[event.state])
    elif (name := _CACHE.get(type(event))) is not None:
        yield Change(name, (f,), event.count if isinstance(event, (e.CacheHit, e.CacheMiss)) else 1)


_CACHE: dict[type[e.Event], str] = {
    e.CacheHit: "mlguard_cache_hits_total",
    e.CacheMiss: "mlguard_cache_misses_total",
    e.CacheEvicted: "mlguard_cache_evictions_total",
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What monitor asks of the metrics of one function: edges of the histogram in seconds (None: the sink's own), and
    how many series of a metric the function may have.
    """

    buckets: tuple[float, ...] | None = None
    most_series: int = 100


_wishes: dict[str, Wishes] = {}
_NONE = Wishes()


def wish(function: str, wishes: Wishes) -> None:
    """Have the sinks keep to `wishes` for the function of this name."""
    _wishes[function] = wishes


def wishes_of(function: str) -> Wishes:
    """What was asked for the function of this name, the defaults where nothing was."""
    return _wishes.get(function, _NONE)


OVERFLOW = "__overflow__"


class Series:
    """Keeps the number of series of each metric below `most`, and of each function below what was wished.

    What comes later is counted under __overflow__: the other labels of a function that has too many, all labels where
    the metric has.
    """

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self._known: dict[str, set[tuple[str, ...]]] = {}
        self._of_function: Counter[tuple[str, str]] = Counter()

    def labels(self, change: Change) -> tuple[str, ...]:
        """The labels to use for `change`."""
        known = self._known.setdefault(change.metric, set())
        labels = change.labels
        if labels in known:
            return labels
        function = (change.metric, labels[0])
        if self._of_function[function] >= wishes_of(labels[0]).most_series:
            labels = (labels[0], *(OVERFLOW for _ in labels[1:]))
            if labels in known:
                return labels
        if len(known) >= self.most:
            return tuple(OVERFLOW for _ in labels)
        known.add(labels)
        self._of_function[function] += 1
        return labels


Apply = Callable[[Metric, tuple[str, ...], float], None]


class MetricSink:
    """A subscriber that hands every change to `apply`, with the series kept below the cap."""

    def __init__(self, apply: Apply, most: int = 1000) -> None:
        self._apply, self._series = apply, Series(most)

    def __call__(self, event: e.Event) -> None:
        """Take one event."""
        for change in changes(event):
            self._apply(METRICS[change.metric], self._series.labels(change), change.value)
