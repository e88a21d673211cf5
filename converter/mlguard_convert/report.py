"""`mlguard-nb report`: what a JSON log says of each function, its errors in groups, and what became worse.

A log has one JSON object a line with "time" (seconds since the epoch), "event" ("call_finished", "retry_scheduled",
...) and the event's own fields. Lines that are no such object are counted and left out.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from mlguard_convert.change_points import adjusted, median, percentile, pettitt, proportions, rank_sum
from mlguard_nb.errors import GuardError

__all__ = [
    "Change",
    "ErrorGroup",
    "FunctionReport",
    "Report",
    "make_report",
    "print_report",
    "read_log",
    "sentence",
    "text",
]

_CONFIDENT = 0.99
_NOTABLE = 1.1  # a change of less than a tenth is not worth anybody's time
_FEWEST = 10
_FEWEST_ERRORS = 5


class UnreadableLog(GuardError):
    """A log without a single event."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"{self.path} holds no event; write a log with `PKG run --json-logs 2> LOG.jsonl`"


@dataclass(frozen=True, slots=True)
class FunctionReport:
    """One function: calls that the caller saw, seconds at three percentiles (None: no calls), what guards did.

    `seconds`, `times` and `failed` tell of each call that ended by itself, in the order of time.
    """

    name: str
    calls: int = 0
    errors: int = 0
    cancelled: int = 0
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
    failed: tuple[bool, ...] = ()

    @property
    def hit_rate(self) -> float | None:
        """Share of cache lookups that hit; None without any."""
        looked = self.cache_hits + self.cache_misses
        return self.cache_hits / looked if looked else None


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """Errors that are one: the same function, class, and message but for numbers, addresses and what is in quotes.
    `first` and `last` are when they were seen, in seconds since the epoch.
    """

    function: str
    error: str
    message: str
    count: int
    first: float = 0.0
    last: float = 0.0

    @property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits, the same in every log."""
        text = "\0".join((self.function, self.error, self.message))
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Change:
    """Something became worse or better: the median "seconds" or the "p90" of good calls, or the share of "errors".
    `at` is when, in seconds since the epoch (None: between the two logs); `confidence` is in [0, 1].
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
    notes: tuple[str, ...] = ()


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
    """Read the logs and count. Without a baseline, changes are looked for inside the log.

    The confidence of a change takes into account how many functions were looked at.
    """
    events, unreadable = read_log(log)
    functions = _functions(events)
    if baseline is None:
        changes = _changes_inside(functions)
    else:
        changes = _against(_functions(read_log(baseline)[0]), functions)
    errors = tuple(_error_groups(events))
    return Report(tuple(functions), errors, tuple(changes), len(events), unreadable, _lost(events))


def _lost(events: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """A note on each function that was called faster than its calls could be told one by one."""
    lost: Counter[str] = Counter()
    for event in events:
        if event["event"] == "calls_lost" and isinstance(event.get("calls"), int):
            lost[str(event.get("function"))] += event["calls"]
    return tuple(f"{name}: {calls} more calls, too fast to be told, are in no figure" for name, calls in lost.items())


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
    ended: defaultdict[str, list[tuple[float, float, bool]]] = defaultdict(list)
    for event in events:
        kind = event["event"]
        name = event.get("function") or event.get("step")
        if not isinstance(name, str):
            continue
        if kind in ("call_finished", "step_finished"):
            outcome = event.get("outcome") or ("ok" if event.get("error") is None else "error")
            counts[name][f"call {outcome}"] += 1
            duration = event.get("duration_seconds", event.get("seconds"))
            if outcome != "cancelled" and isinstance(duration, (int, float)) and math.isfinite(duration):
                ended[name].append((_time(event), float(duration), outcome != "ok"))
        else:
            several = event.get("count", 1)  # hits and misses of one second are told together
            counts[name][kind] += several if isinstance(several, int) else 1
    return [_function(name, counts[name], ended[name]) for name in sorted(counts)]


def _time(event: dict[str, Any]) -> float:
    at = event.get("time")
    return float(at) if isinstance(at, (int, float)) else 0.0


def _function(name: str, counts: Counter[str], ended: list[tuple[float, float, bool]]) -> FunctionReport:
    ended.sort(key=lambda call: call[0])  # several processes may have written one log
    ordered = sorted(seconds for _at, seconds, _failed in ended)
    return FunctionReport(
        name,
        calls=sum(count for kind, count in counts.items() if kind.startswith("call ")),
        errors=counts["call error"],
        cancelled=counts["call cancelled"],
        p50=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p99=percentile(ordered, 0.99),
        retries=counts["retry_scheduled"],
        rejections=counts["input_refused"],
        memory_stops=counts["memory_refused"],
        cache_hits=counts["cache_hit"],
        cache_misses=counts["cache_miss"],
        seconds=tuple(seconds for _at, seconds, _failed in ended),
        times=tuple(at for at, _seconds, _failed in ended),
        failed=tuple(failed for _at, _seconds, failed in ended),
    )


# What makes two messages of the same error differ: addresses and hashes, numbers, and what is in quotes.
_VARYING = re.compile(
    r"""0x[0-9a-f]+|\b(?=[0-9a-f-]*\d)[0-9a-f]{8}[0-9a-f-]*\b|\d+(?:\.\d+)?|'[^']*'|"[^"]*\"""", re.IGNORECASE
)


def _error_groups(events: Iterable[dict[str, Any]]) -> list[ErrorGroup]:
    groups: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in events:
        name = event.get("function") or event.get("step")
        is_end = event["event"] in ("call_finished", "step_finished", "run_failed")
        if is_end and event.get("error") and event.get("outcome") != "cancelled":
            kind, _, rest = str(event["error"]).partition(": ")
            message = str(event.get("message") or rest).partition("\n")[0]
            groups[str(name or "run"), kind, _VARYING.sub("#", message)].append(_time(event))
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [ErrorGroup(*key, len(times), min(times), max(times)) for key, times in ordered]


def _changes_inside(functions: Sequence[FunctionReport]) -> list[Change]:
    """What changed within the log: the level and the tail of the durations of good calls, and the share of errors."""
    tested = [change for one in functions for change in (*_slower(one), *_failing(one))]
    sure = [replace(change, confidence=adjusted(change.confidence, len(tested))) for change in tested]
    found = [change for change in sure if change.confidence >= _CONFIDENT and _is_notable(change)]
    # The tail of a function whose level moved has moved with it: said once.
    moved = {change.function for change in found if change.what == "seconds"}
    return [change for change in found if change.what != "p90" or change.function not in moved]


def _is_notable(change: Change) -> bool:
    low, high = sorted((change.before, change.after))
    return high >= _NOTABLE * low


def _slower(one: FunctionReport) -> Iterator[Change]:
    good = [(seconds, at) for seconds, at, failed in zip(one.seconds, one.times, one.failed, strict=True) if not failed]
    if len(good) < _FEWEST:
        return
    seconds = [value for value, _at in good]
    at, confidence = pettitt(seconds)
    yield Change(one.name, "seconds", median(seconds[:at]), median(seconds[at:]), confidence, good[at][1])
    edge = percentile(sorted(seconds), 0.9) or 0.0
    at, confidence = pettitt([float(value > edge) for value in seconds])
    before, after = (percentile(sorted(part), 0.9) or 0.0 for part in (seconds[:at], seconds[at:]))
    yield Change(one.name, "p90", before, after, confidence, good[at][1])


def _failing(one: FunctionReport) -> Iterator[Change]:
    if len(one.failed) < _FEWEST or sum(one.failed) < _FEWEST_ERRORS:
        return
    at, confidence = pettitt([float(failed) for failed in one.failed])
    before, after = (sum(part) / len(part) for part in (one.failed[:at], one.failed[at:]))
    yield Change(one.name, "errors", before, after, confidence, one.times[at])


def _against(old: Sequence[FunctionReport], new: Sequence[FunctionReport]) -> list[Change]:
    """What differs between the baseline and the log: durations of good calls and the share of errors."""
    known = {one.name: one for one in old}
    tested: list[Change] = []
    for one in new:
        if one.name not in known:
            continue
        before, after = known[one.name], one
        was, now = (
            [seconds for seconds, failed in zip(each.seconds, each.failed, strict=True) if not failed]
            for each in (before, after)
        )
        if len(was) >= _FEWEST and len(now) >= _FEWEST:
            tested.append(Change(one.name, "seconds", median(was), median(now), rank_sum(was, now)))
        if before.calls >= _FEWEST and after.calls >= _FEWEST:
            confidence = proportions(before.errors, before.calls, after.errors, after.calls)
            shares = before.errors / before.calls, after.errors / after.calls
            tested.append(Change(one.name, "errors", *shares, confidence))
    sure = [replace(change, confidence=adjusted(change.confidence, len(tested))) for change in tested]
    return [change for change in sure if change.confidence >= _CONFIDENT and _is_notable(change)]


def text(report: Report) -> str:
    """The report for a terminal."""
    heads = (
        "function",
        "calls",
        "errors",
        "cancelled",
        "p50 s",
        "p90 s",
        "p99 s",
        "retries",
        "rejected",
        "memory",
        "cache hits",
    )
    rows: list[tuple[str, ...]] = [heads]
    for one in report.functions:
        rate = one.hit_rate
        numbers = (
            one.calls,
            one.errors,
            one.cancelled,
            *map(_seconds, (one.p50, one.p90, one.p99)),
            one.retries,
            one.rejections,
        )
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
            f"{group.count:6d}  {group.fingerprint}  {group.function}: {group.error} {group.message}".rstrip()
            for group in report.errors
        ]
    if report.changes:
        lines += ["", "changes", *(f"  {sentence(change)}" for change in report.changes)]
    if report.notes:
        lines += ["", *report.notes]
    if report.unreadable:
        lines += ["", f"{report.unreadable} lines were no events and are left out"]
    return "\n".join(lines) + "\n"


def sentence(change: Change) -> str:
    """One change in words."""
    from time import localtime, strftime

    when = "" if change.at is None else f" at {strftime('%Y-%m-%d %H:%M:%S', localtime(change.at))}"
    values = (
        f"errors {change.before:.1%} -> {change.after:.1%}"
        if change.what == "errors"
        else f"{_WORDS[change.what]} {_seconds(change.before)} -> {_seconds(change.after)} s"
    )
    word = "WORSE " if change.is_worse else "better"
    return f"{word} {change.function}{when}: {values} (confidence {min(change.confidence, 0.9999):.2%})"


_WORDS = {"seconds": "median", "p90": "p90"}


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _plain(report: Report) -> dict[str, Any]:
    functions = [{**asdict(one), "hit_rate": one.hit_rate} for one in report.functions]
    for one in functions:
        del one["seconds"], one["times"], one["failed"]
    return {
        "functions": functions,
        "errors": [{**asdict(one), "fingerprint": one.fingerprint} for one in report.errors],
        "changes": [{**asdict(one), "is_worse": one.is_worse} for one in report.changes],
        "notes": list(report.notes),
        "events": report.lines,
        "unreadable": report.unreadable,
    }
