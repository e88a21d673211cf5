"""The view in words: headline, what happened, what comes next, and the one sentence, for each way a run can stand."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mlguard_nb.notebook.facts import AttemptFacts, CacheFacts, DeviceFacts, RunFacts
from mlguard_nb.notebook.forecast import seconds_to_stop
from mlguard_nb.notebook.words import (
    Span,
    about,
    gained,
    gib,
    moment,
    running_clock,
    shown_devices,
    signed,
    spoken_seconds,
)
from mlguard_nb.policy.describe import badge, spoken_duration

__all__ = ["Story", "tell"]

_QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Story:
    """A view in words. `sign` names the picture before the headline; `sentence` is the text/plain of it all.

    The row of what happened also holds the remarks of the run, which the sentence ends with.
    """

    sign: str
    headline: tuple[Span, ...]
    happened: tuple[Span, ...]
    next: tuple[Span, ...]
    sentence: str


def tell(facts: RunFacts) -> Story:
    """The view of `facts` in words."""
    teller = {
        "before": _before, "defs": _defs, "running": _running, "waiting": _waiting,
        "waiting_memory": _waiting_for_memory, "ok": _finished, "degraded": _degraded, "failed": _failed,
        "refused": _refused, "rejected": _rejected, "interrupted": _interrupted, "cached": _cached,
        "skipped": _skipped,
    }[facts.phase]  # fmt: skip
    story = teller(facts)
    return replace(story, sentence=" · ".join((story.sentence, *facts.remarks))) if facts.remarks else story


def _of(facts: RunFacts, *, before: str = " · ") -> str:
    return f"{before}attempt {facts.attempt} of {facts.attempts_max}" if facts.attempts_max > 1 else ""


def _as_of(facts: RunFacts) -> Span:
    return _QUIET, f" · as of {moment(facts.wall)}"


def _moment(facts: RunFacts) -> Span:
    return _QUIET, f" · {moment(facts.wall)}"


def _pair(one: int, other: int) -> str:
    """ "12.8 of 16.0", "72 of 80": decimals only where one of the two has them."""
    whole = all(abs(size / 2**30 - round(size / 2**30)) < 0.005 for size in (one, other))
    return f"{one / 2**30:.0f} of {other / 2**30:.0f}" if whole else f"{gib(one)} of {gib(other)}"


def _before(facts: RunFacts) -> Story:
    words = [f"{facts.attempts_max} attempt{'s' if facts.attempts_max > 1 else ''}"] if facts.policy.retry else []
    for device in shown_devices(facts):
        if device.stop is not None and device.limit is not None:
            binds = f" ({device.binds})" if device.binds and device.key == "ram" else ""
            words.append(f"{device.label} stop at {_pair(device.stop, device.limit)} GiB{binds}")
    retry = facts.policy.retry
    tries = waits = ""
    if retry is not None and retry.attempts > 1:
        tries = (
            "Tries again after any Exception but SyntaxError, NameError, TypeError, AssertionError, ImportError."
            if retry.on is None
            else "Tries again after the exceptions that on= names."
        )
        waits = f"Waits {retry.wait_initial:g} to {retry.wait_max:g} s between attempts."
    rest = f" · {words[0]}" if facts.policy.retry else ""
    return Story(
        "none", (("strong", "not run yet"), ("", rest)), ((_QUIET, tries),), ((_QUIET, waits),),
        "guard: " + " · ".join(words or ["nothing asked for"]),
    )  # fmt: skip


def _defs(facts: RunFacts) -> Story:
    names = ", ".join(facts.defined) or "nothing"
    asked = " · ".join(badge(facts.policy)) or "no guard asked for"
    chosen = "scope=defs" if facts.cell.scope == "defs" else "the cell only defines; scope=cell guards the cell itself"
    return Story(
        "ok", (("strong", f"{names} guarded"), ("", f" · {asked}")), ((_QUIET, chosen),), (),
        f"guard: {names} guarded: {asked} ({chosen})",
    )  # fmt: skip


def _devices_sentence(facts: RunFacts) -> str:
    told = []
    for device in shown_devices(facts):
        if device.used is None or device.limit is None:
            if device.asked:
                told.append(f" · {device.label} – ({device.reason}; {device.asked} is not applied)")
            continue
        left = seconds_to_stop(device.history, device.stop) if facts.phase == "running" else None
        stop = "" if device.stop is None else f", stop {gib(device.stop)}" + (f" in {about(left)}" if left else "")
        told.append(f" · {device.label} {gib(device.used)} of {gib(device.limit)} GiB{stop}")
    return "".join(told)


def _failure(attempt: AttemptFacts) -> tuple[Span, ...]:
    told = attempt.error or "an error"
    return (
        ("", f"Attempt {attempt.number} failed after {spoken_seconds(attempt.seconds)}: "),
        ("code", f"{told}: {attempt.message}" if attempt.message else told),
    )


def _running(facts: RunFacts) -> Story:
    strong = f"running {running_clock(facts.elapsed)}"
    head: tuple[Span, ...] = (("strong", strong), ("", _of(facts)), _as_of(facts))
    failed = facts.failed
    happened: tuple[Span, ...] = ((_QUIET, "No error so far."),)
    coming: tuple[Span, ...] = ()
    told = ""
    if failed:
        last = failed[-1]
        happened = _failure(last)
        told = f" (attempt {last.number} failed after {spoken_seconds(last.seconds)}: {last.error})"
        back = "; names bound by attempt {} were taken back" if facts.rolled_back else ""
        again = f"Attempt {facts.attempt} runs the cell again from its first line{back.format(last.number)}."
        coming = ((_QUIET, again),)
    elif facts.remarks:
        happened = ()
    sentence = f"guard: {strong}{_of(facts)}{told}{_devices_sentence(facts)} · as of {moment(facts.wall)}"
    return Story("running", head, happened, coming, sentence)


def _waiting(facts: RunFacts) -> Story:
    last = facts.failed[-1]
    soon = f"attempt {facts.attempt} of {facts.attempts_max} in {spoken_seconds(facts.wait_left or 0.0)}"
    return Story(
        "waiting", (("strong", "waiting"), ("", f" · {soon}"), _as_of(facts)), _failure(last),
        ((_QUIET, "Interrupt stops the wait at once."),),
        f"guard: waiting, {soon} · attempt {last.number} failed after {spoken_seconds(last.seconds)}: {last.error}"
        f" · as of {moment(facts.wall)}",
    )  # fmt: skip


def _held(facts: RunFacts) -> tuple[tuple[Span, ...], str]:
    """ "Held by: ..." as spans, and " · held by ..." for the sentence; both empty where nobody is known."""
    holders = [holder for holder in facts.holders if holder.used_bytes is not None]
    if not holders:
        return (), ""
    spans: list[Span] = [("", "Held by: ")]
    words = []
    for index, holder in enumerate(holders):
        unit = " GiB" if index == len(holders) - 1 else ""
        spans += [("", f"{holder.name} "), ("strong", f"{gib(holder.used_bytes)}{unit}")]
        spans += [] if unit else [("", ", ")]
        words.append(f"{holder.name} {gib(holder.used_bytes)}{unit}")
    return tuple(spans), f" · held by {', '.join(words)}"


def _over(facts: RunFacts) -> DeviceFacts | None:
    return next((device for device in facts.devices if device.is_over), None)


def _lack(device: DeviceFacts | None) -> str:
    if device is None or device.used is None or device.stop is None or device.used >= device.stop:
        return "is over its stop"
    return "has no room for what the cell needs"


def _waiting_for_memory(facts: RunFacts) -> Story:
    over = _over(facts)
    patience = facts.policy.memory.wait_timeout if facts.policy.memory is not None else 0.0
    waited, most = running_clock(facts.waited or 0.0), running_clock(patience)
    held, held_words = _held(facts)
    label = over.label if over is not None else "memory"
    below = f" falls below {gib(over.stop)} GiB" if over is not None and over.stop is not None else " is free again"
    return Story(
        "waiting",
        (("strong", f"waiting for memory {waited}"), ("", f" of {most} at most{_of(facts)}"), _as_of(facts)),
        held, ((_QUIET, f"Starts by itself when {label}{below}."),),
        f"guard: waiting for memory {waited} of {most}{_use_of(over)}{held_words} · as of {moment(facts.wall)}",
    )  # fmt: skip


def _use_of(device: DeviceFacts | None) -> str:
    if device is None or device.used is None or device.limit is None:
        return ""
    stop = "" if device.stop is None else f", stop {gib(device.stop)}"
    return f" · {device.label} {gib(device.used)} of {gib(device.limit)} GiB{stop}"


def _peaks(facts: RunFacts) -> tuple[tuple[Span, ...], str]:
    spans: list[Span] = []
    words = []
    for device in shown_devices(facts):
        if device.used is None and device.asked:
            unwatched = f" · {device.label} – ({device.reason}; {device.asked} is not applied)"
            spans.append((_QUIET, unwatched))
            words.append(unwatched)
            continue
        peak = device.peak_own if device.key == "ram" else device.peak_used
        rose = gained(device)
        if peak is None or rose is None:
            continue
        how = f" ({signed(rose)}, {device.peak_kind})"
        spans += [("", f" · peak {device.label} "), ("strong", f"{gib(peak)} GiB"), ("", how)]
        words.append(f" · peak {device.label} {gib(peak)} GiB{how}")
    return tuple(spans), "".join(words)


def _finished(facts: RunFacts) -> Story:
    took = spoken_seconds(facts.elapsed)
    peaks, words = _peaks(facts)
    again = _of(facts) if facts.attempt > 1 else ""
    happened = _failure(facts.failed[-1]) if facts.failed else ()
    return Story("ok", (("strong", took), *peaks, ("", again)), happened, (), f"✓ {took}{words}{again}")


def _degraded(facts: RunFacts) -> Story:
    took = spoken_seconds(facts.elapsed)
    over = _over(facts)
    why = f"{over.label} was short" if over is not None else "memory was short"
    return Story(
        "warning", (("strong", "fallback"), ("", f" ran in {took}: {why}"), _moment(facts)),
        (),
        ((_QUIET, f"Bound {', '.join(facts.bound)}." if facts.bound else ""),),
        f"guard: fallback ran in {took}: {why}{_use_of(over)}",
    )  # fmt: skip


def _failed(facts: RunFacts) -> Story:
    last = facts.attempts[-1]
    over = _over(facts)
    if over is not None:
        return _stopped(facts, over)
    error = last.error or "error"
    took = spoken_seconds(facts.elapsed)
    count = len(facts.failed)
    if count < 2:
        line = f" (line {last.line})" if last.line else ""
        of = f" in attempt 1 of {facts.attempts_max}, not tried again" if facts.attempts_max > 1 else ""
        coming = facts.next_step or ""
        step = f" · next: {coming}" if coming else ""
        return Story(
            "failed", (("strong", error), ("", f" after {took}{of}{line}"), _moment(facts)),
            (("code", last.message or error),), (("", f"Next: {coming}." if coming else ""),),
            f"✕ {error} after {took}{of}{line}{step}",
        )  # fmt: skip
    same = len({(attempt.error, attempt.line) for attempt in facts.failed}) == 1
    told = f"{count} of {facts.attempts_max} attempts failed in {took}"
    at = f" (line {last.line})" if last.line else ""
    place = f"look at line {last.line}" if last.line else "look at the traceback"
    coming = f"{place}; more attempts are unlikely to help" if same else "allow more attempts or longer waits"
    return Story(
        "failed", (("strong", error), ("", f" · {told}"), _moment(facts)),
        (("", f"{'Same error each time' if same else 'Last error'}{at}: "), ("code", last.message or error)),
        (("", f"Next: {coming}."),),
        f"✕ {error} · {told}{', the same error each time' if same else ', with different errors'}{at}"
        f" · next: {place if same else coming}",
    )  # fmt: skip


def _stopped(facts: RunFacts, over: DeviceFacts) -> Story:
    took = spoken_seconds(facts.elapsed)
    held, held_words = _held(facts)
    coming = facts.next_step or "free memory, or raise the stop"
    limit = "" if over.stop is None or over.limit is None else f" at {gib(over.stop)} of {gib(over.limit)} GiB"
    kept = " Kernel intact; not tried again, as oom=fail." if facts.attempts_max > 1 else " Kernel intact."
    return Story(
        "stop",
        (
            ("strong", "MemoryPressure"),
            ("", f" after {took}: {over.label} reached its stop{_of(facts)}"),
            _moment(facts),
        ),
        held, (("", f"Next: {coming}."), (_QUIET, kept)),
        f"✕ MemoryPressure after {took}: {over.label} reached its stop{limit}{held_words} · next: {coming}"
        f"{_of(facts)}{', ' if facts.attempts_max > 1 else ' · '}kernel intact",
    )  # fmt: skip


def _refused(facts: RunFacts) -> Story:
    over = _over(facts)
    label = over.label if over is not None else "memory"
    held, held_words = _held(facts)
    coming = facts.next_step or "free memory, or raise the stop"
    after = f" after waiting {spoken_seconds(facts.waited)}" if facts.waited else ""
    return Story(
        "stop",
        (
            ("strong", "MemoryPressure"),
            ("", f" before the first line{after}: {label} {_lack(over)}"),
            _moment(facts),
        ),
        held, (("", f"Next: {coming}."), (_QUIET, " Nothing ran; kernel intact.")),
        f"✕ MemoryPressure before the first line{after}{_use_of(over)}{held_words} · next: {coming} · nothing ran",
    )  # fmt: skip


def _rejected(facts: RunFacts) -> Story:
    message = facts.attempts[-1].message if facts.attempts else "; ".join(facts.notes)
    lines = [line.strip(" -") for line in message.splitlines() if line.strip()]
    first = lines[1] if len(lines) > 1 else (lines[0] if lines else "input rejected")
    more = f" and {len(lines) - 2} more" if len(lines) > 2 else ""
    count = f", {len(lines) - 1} violations" if len(lines) > 2 else ""
    return Story(
        "failed", (("strong", "InputRejected"), ("", f" · before the first line{count}"), _moment(facts)),
        (("code", first),), ((_QUIET, "Nothing ran. Fix the input, or the schema that it breaks."),),
        f"✕ InputRejected before the first line: {first}{more} · nothing ran",
    )  # fmt: skip


def _interrupted(facts: RunFacts) -> Story:
    told = f" after {spoken_seconds(facts.elapsed)}{_of(facts, before=' in ')}"
    return Story(
        "interrupted", (("strong", "interrupted"), ("", told), _moment(facts)),
        (("", "Interrupts are never tried again."),) if facts.attempts_max > 1 else (), (),
        f"guard: interrupted{told}",
    )  # fmt: skip


def _skipped(facts: RunFacts) -> Story:
    over = _over(facts)
    label = over.label if over is not None else "memory"
    return Story(
        "warning", (("strong", "skipped"), ("", f" · {label} {_lack(over)} (at=skip)"), _moment(facts)),
        (), ((_QUIET, "Nothing ran; no name was bound."),),
        f"guard: skipped{_use_of(over)} · nothing ran",
    )  # fmt: skip


def _cached(facts: RunFacts) -> Story:
    hit = facts.cache
    assert hit is not None
    took, before = spoken_seconds(facts.elapsed), spoken_seconds(hit.computed_seconds)
    count = f"{len(hit.names)} value{'s' if len(hit.names) != 1 else ''}"
    names = ", ".join(hit.names)
    return Story(
        "ok",
        (("strong", "cache hit"), ("", f" · {count} restored in {took} instead of {before}"), _moment(facts)),
        (("", f"{names or 'Nothing bound'} as computed at {moment(hit.computed_wall)}, {_ago(facts, hit)}"),),
        ((_QUIET, f"Same code, same values of {', '.join(hit.inputs)}." if hit.inputs else "Same code, no inputs."),),
        f"✓ cache hit in {took} · {count} restored{f' ({names})' if names else ''}, computed "
        f"{moment(hit.computed_wall, seconds=False)} in {before}{_good_until(hit)}",
    )  # fmt: skip


def _ago(facts: RunFacts, hit: CacheFacts) -> str:
    ago = f"{_whole_minutes(facts.wall - hit.computed_wall)} ago"
    if hit.good_until_wall is None or facts.policy.cache is None or facts.policy.cache.ttl is None:
        return f"{ago}; good for ever."
    ttl = spoken_duration(facts.policy.cache.ttl).replace(" ", "").replace("min", "m")
    return f"{ago}; good for {_whole_minutes(hit.good_until_wall - facts.wall)} more (cache={ttl})."


def _whole_minutes(seconds: float) -> str:
    if seconds < 60:
        return f"{max(0, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"


def _good_until(hit: CacheFacts) -> str:
    return "" if hit.good_until_wall is None else f" · good until {moment(hit.good_until_wall, seconds=False)}"
