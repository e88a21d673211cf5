"""`mlguard-nb report`: what a JSON log says of each function, its errors in groups, and what became worse.

A log has one JSON object a line with "time" (seconds since the epoch), "event" ("call_finished", "retry_scheduled",
...) and the event's own fields. Lines that are no such object are counted and left out.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from mlguard_nb.errors import GuardError

__all__ = [
    "Change",
    "ErrorGroup",
    "FunctionReport",
    "Report",
    "make_report",
    "pettitt",
    "print_report",
    "read_log",
    "text",
]

_CONFIDENT = 0.99
_NOTABLE = 1.1  # a change of less than a tenth is not worth anybody's time
_FEWEST = 10


class UnreadableLog(GuardError):
    """A log without a single event."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} holds no event; write a log with `PKG run --json-logs 2> LOG.jsonl`"


@dataclass(frozen=True, slots=True)
class FunctionReport:
    """One function: calls that the caller saw, seconds at three percentiles (None: no calls), what guards did."""

    name: str
    calls: int = 0
    errors: int = 0
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    retries: int = 0
    rejections: int = 0
    memory_stops: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    seconds: tuple[float, ...] = ()
    times: tuple[float, ...] = ()

    @property
    def hit_rate(self) -> float | None:
        """Share of cache lookups that hit; None without any."""
        looked = self.cache_hits + self.cache_misses
        return self.cache_hits / looked if looked else None


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors that are one: the same function, class, and message but for numbers and addresses."""

    function: str
    error: str
    message: str
    count: int


@dataclass(frozen=True, slots=True)
class Change:
    """Something became worse or better. `at` is when, in seconds since the epoch (None: between the two logs);
    `confidence` is in [0, 1].
    """

    function: str
    what: str
    before: float
    after: float
    confidence: float
    at: float | None = None

    @property
    def is_worse(self) -> bool:
        """Whether the value grew."""
        return self.after > self.before


@dataclass(frozen=True, slots=True)
class Report:
    """All of it."""

    functions: tuple[FunctionReport, ...]
    errors: tuple[ErrorGroup, ...]
    changes: tuple[Change, ...]
    lines: int
    unreadable: int = 0
    notes: tuple[str, ...] = field(default=())


def print_report(
    log: Path,
    baseline: Path | None = None,
    *,
    html: Path | None = None,
    as_json: bool = False,
    out: TextIO | None = None,
) -> int:
    """Print the report of `log`; 1 when something became worse, else 0. UnreadableLog, or OSError from the files."""
    stream = out or sys.stdout
    report = make_report(log, baseline)
    if as_json:
        stream.write(json.dumps(_plain(report), ensure_ascii=False) + "\n")
    else:
        stream.write(text(report))
    if html is not None:
        from mlguard_convert.report_page import page

        html.write_text(page(report, log.name), encoding="utf-8")
    return 1 if any(change.is_worse for change in report.changes) else 0


def make_report(log: Path, baseline: Path | None = None) -> Report:
    """Read the logs and count. Without a baseline, changes are looked for inside the log."""
    events, unreadable = read_log(log)
    functions = _functions(events)
    if baseline is None:
        changes = [change for one in functions if (change := _change_inside(one)) is not None]
    else:
        old = {one.name: one for one in _functions(read_log(baseline)[0])}
        changes = [change for one in functions if one.name in old for change in _against(old[one.name], one)]
    return Report(tuple(functions), tuple(_error_groups(events)), tuple(changes), len(events), unreadable)


def read_log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The events of a log in their order, and how many lines were something else. UnreadableLog without an event."""
    events: list[dict[str, Any]] = []
    unreadable = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            event = _event(line)
            if event is not None:
                events.append(event)
            elif line.strip():
                unreadable += 1
    if not events:
        raise UnreadableLog(str(path))
    return events, unreadable


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _functions(events: Iterable[dict[str, Any]]) -> list[FunctionReport]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    times: defaultdict[str, list[float]] = defaultdict(list)
    steps: set[str] = set()
    for event in events:
        kind = event["event"]
        name = event.get("function") or event.get("step")
        if not isinstance(name, str):
            continue
        if kind in ("call_finished", "step_finished"):
            if kind == "step_finished":
                steps.add(name)
            failed = event.get("outcome", "ok") != "ok" or event.get("error") is not None
            counts[name]["errors" if failed else "fine"] += 1
            duration = event.get("duration_seconds", event.get("seconds"))
            if isinstance(duration, (int, float)) and math.isfinite(duration):
                seconds[name].append(float(duration))
                times[name].append(float(event.get("time", 0.0)))
        else:
            several = event.get("count", 1)  # hits and misses of one second are told together
            counts[name][kind] += several if isinstance(several, int) else 1
    return [_function(name, counts[name], seconds[name], times[name]) for name in sorted(counts)]


def _function(name: str, counts: Counter[str], seconds: list[float], times: list[float]) -> FunctionReport:
    ordered = sorted(seconds)
    return FunctionReport(
        name,
        calls=counts["fine"] + counts["errors"],
        errors=counts["errors"],
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p99=percentile(ordered, 0.99),
        retries=counts["retry_scheduled"],
        rejections=counts["input_refused"],
        memory_stops=counts["memory_refused"],
        cache_hits=counts["cache_hit"],
        cache_misses=counts["cache_miss"],
        seconds=tuple(seconds),
        times=tuple(times),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the sorted values do not exceed; None of none."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _error_groups(events: Iterable[dict[str, Any]]) -> list[ErrorGroup]:
    groups: Counter[tuple[str, str, str]] = Counter()
    for event in events:
        name = event.get("function") or event.get("step")
        if event["event"] in ("call_finished", "step_finished", "run_failed") and event.get("error"):
            message = re.sub(r"0x[0-9a-f]+|\d+", "#", str(event.get("message", "")).partition("\n")[0])
            groups[str(name or "run"), str(event["error"]), message] += 1
    return [ErrorGroup(*key, count) for key, count in groups.most_common()]


def _change_inside(one: FunctionReport) -> Change | None:
    """A change of a function's duration within its log."""
    if len(one.seconds) < _FEWEST:
        return None
    at, confidence = pettitt(one.seconds)
    before, after = _median(one.seconds[:at]), _median(one.seconds[at:])
    if confidence < _CONFIDENT or max(before, after) < _NOTABLE * min(before, after):
        return None
    return Change(one.name, "seconds", before, after, confidence, one.times[at])


def _against(old: FunctionReport, new: FunctionReport) -> Iterable[Change]:
    """What differs between the baseline and the log: durations and the share of errors."""
    if len(old.seconds) >= _FEWEST and len(new.seconds) >= _FEWEST:
        before, after = _median(old.seconds), _median(new.seconds)
        confidence = rank_sum(old.seconds, new.seconds)
        if confidence >= _CONFIDENT and max(before, after) >= _NOTABLE * min(before, after):
            yield Change(new.name, "seconds", before, after, confidence)
    if old.calls >= _FEWEST and new.calls >= _FEWEST:
        confidence = proportions(old.errors, old.calls, new.errors, new.calls)
        if confidence >= _CONFIDENT:
            yield Change(new.name, "errors", old.errors / old.calls, new.errors / new.calls, confidence)


def pettitt(values: Sequence[float]) -> tuple[int, float]:
    """Where a series changes its level, as the index of the first value after it, and the confidence that it does.

    Pettitt's rank test (Applied Statistics 28, 1979): no distribution is assumed, outliers weigh little.
    """
    ranks = _ranks(values)
    count = len(values)
    total, at, largest = 0.0, 1, 0.0
    for position, rank in enumerate(ranks[:-1], 1):
        total += 2 * rank - (count + 1)
        if abs(total) > largest:
            largest, at = abs(total), position
    return at, max(0.0, 1 - 2 * math.exp(-6 * largest**2 / (count**3 + count**2)))


def rank_sum(one: Sequence[float], other: Sequence[float]) -> float:
    """The confidence that two samples have different levels: the rank-sum test with the normal approximation."""
    ranks = _ranks([*one, *other])
    n, m = len(one), len(other)
    mean, spread = n * (n + m + 1) / 2, math.sqrt(n * m * (n + m + 1) / 12)
    return _confidence((sum(ranks[:n]) - mean) / spread)


def proportions(hits: int, of: int, other_hits: int, other_of: int) -> float:
    """The confidence that two shares differ: the pooled z test."""
    pooled = (hits + other_hits) / (of + other_of)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / of + 1 / other_of))
    return 0.0 if spread == 0 else _confidence((hits / of - other_hits / other_of) / spread)


def _confidence(z: float) -> float:
    return math.erf(abs(z) / math.sqrt(2))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks from 1, ties sharing their mean."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for position in order[start : end + 1]:
            ranks[position] = (start + end) / 2 + 1
        start = end + 1
    return ranks


def _median(values: Sequence[float]) -> float:
    found = percentile(sorted(values), 0.5)
    return 0.0 if found is None else found


def text(report: Report) -> str:
    """The report for a terminal."""
    heads = ("function", "calls", "errors", "p50 s", "p90 s", "p99 s", "retries", "rejected", "memory", "cache hits")
    rows: list[tuple[str, ...]] = [heads]
    for one in report.functions:
        rate = one.hit_rate
        numbers = (one.calls, one.errors, *map(_seconds, (one.p50, one.p90, one.p99)), one.retries, one.rejections)
        hits = "–" if rate is None else f"{rate:.0%}"
        rows.append((one.name, *map(str, numbers), str(one.memory_stops), hits))
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    if report.errors:
        lines += ["", "errors"]
        lines += [
            f"{group.count:6d}  {group.function}: {group.error} {group.message}".rstrip() for group in report.errors
        ]
    if report.changes:
        lines += ["", "changes", *(f"  {_sentence(change)}" for change in report.changes)]
    if report.unreadable:
        lines += ["", f"{report.unreadable} lines were no events and are left out"]
    return "\n".join(lines) + "\n"


def _sentence(change: Change) -> str:
    from time import localtime, strftime

    when = "" if change.at is None else f" at {strftime('%H:%M:%S', localtime(change.at))}"
    values = (
        f"median {_seconds(change.before)} -> {_seconds(change.after)} s"
        if change.what == "seconds"
        else f"errors {change.before:.1%} -> {change.after:.1%}"
    )
    word = "WORSE " if change.is_worse else "better"
    return f"{word} {change.function}{when}: {values} (confidence {min(change.confidence, 0.9999):.2%})"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _plain(report: Report) -> dict[str, Any]:
    functions = [{**asdict(one), "hit_rate": one.hit_rate} for one in report.functions]
    for one in functions:
        del one["seconds"], one["times"]
    return {
        "functions": functions,
        "errors": [asdict(one) for one in report.errors],
        "changes": [{**asdict(one), "is_worse": one.is_worse} for one in report.changes],
        "events": report.lines,
        "unreadable": report.unreadable,
    }
