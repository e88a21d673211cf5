"""One run as a MIME bundle: our own JSON, the stored HTML, and the sentence as plain text."""

from __future__ import annotations

from typing import Any

from mlguard_nb.notebook.facts import DeviceFacts, RunFacts
from mlguard_nb.notebook.page import to_html
from mlguard_nb.notebook.stories import Story, tell
from mlguard_nb.notebook.words import Span, device_note, unread
from mlguard_nb.policy.as_json import to_json

__all__ = ["MIME", "bundle", "view_json"]

MIME = "application/vnd.mlguard.view+json"
_POINTS = 60
_OUTCOMES = {"waiting_memory": "waiting"}


def bundle(facts: RunFacts) -> dict[str, Any]:
    """The three representations of `facts`; `view=line` leaves the HTML out."""
    story = tell(facts)
    data: dict[str, Any] = {MIME: view_json(facts, story), "text/plain": story.sentence}
    if facts.cell.view == "live":
        data["text/html"] = to_html(facts, story)
    return data


def view_json(facts: RunFacts, story: Story | None = None) -> dict[str, Any]:
    """What the JupyterLab renderer, the panel and the reports read. Bytes and seconds; null is "not known"."""
    story = story or tell(facts)
    devices = [_device(facts, device) for device in facts.devices]
    return {
        "version": 1,
        "name": facts.name,
        "line": f"%%guard {facts.line}".rstrip(),
        "policy": to_json(facts.policy),
        "cell": {"scope": facts.cell.scope, "view": facts.cell.view, "overcommit": facts.cell.overcommit},
        "outcome": _OUTCOMES.get(facts.phase, facts.phase),
        "started_wall": facts.started_wall,
        "as_of_wall": facts.wall,
        "elapsed_seconds": facts.elapsed,
        "attempt": facts.attempt,
        "attempts_max": facts.attempts_max,
        "headline": {"sign": story.sign, "spans": _spans(story.headline)},
        "devices": devices,
        "happened": _spans(story.happened),
        "next": _spans(story.next),
        "sentence": story.sentence,
        "attempts": [
            {
                "number": attempt.number,
                "outcome": attempt.outcome,
                "error": attempt.error,
                "message": attempt.message,
                "line": attempt.line,
                "wait_seconds": attempt.waited,
                "seconds": attempt.seconds,
            }
            for attempt in facts.attempts
        ],
        "peak_ram_bytes": _peak(facts, "ram"),
        "peak_ram_kind": next((d.peak_kind for d in facts.devices if d.key == "ram"), None),
        "peak_gpu_bytes": _peak(facts, None),
        "cache": _cache(facts),
        "holders": [{"name": holder.name, "used_bytes": holder.used_bytes} for holder in facts.holders],
        "bound": list(facts.bound or facts.defined),
        "rolled_back": facts.rolled_back,
        "notes": list(facts.remarks),
        "calls_inside": dict(facts.calls_inside),
    }


def _device(facts: RunFacts, device: DeviceFacts) -> dict[str, Any]:
    style, note = device_note(facts, device)
    known = device.used is not None and device.limit is not None
    delta = None if device.used is None or device.start_used is None else device.used - device.start_used
    return {
        "key": device.key,
        "label": device.label,
        "used_bytes": device.used,
        "limit_bytes": device.limit,
        "stop_bytes": device.stop,
        "own_bytes": device.own,
        "delta_bytes": delta,
        "peak_bytes": device.peak_own,
        "peak_used_bytes": device.peak_used,
        "peak_kind": device.peak_kind,
        "note": note if known else unread(device),
        "strong_note": style == "strong",
        "reason": device.reason,
        "line": [[round(at, 2), used] for at, used in thinned(device.history)],
    }


def thinned(history: tuple[tuple[float, int | None], ...]) -> tuple[tuple[float, int | None], ...]:
    """At most 60 points that keep the first, the last and the highest."""
    if len(history) <= _POINTS:
        return history
    step = len(history) / (_POINTS - 1)
    kept = sorted({0, len(history) - 1, *(int(index * step) for index in range(_POINTS - 2))})
    known = [index for index, (_, used) in enumerate(history) if used is not None]
    if known:
        top = max(known, key=lambda index: history[index][1] or 0)
        kept = sorted({*kept[: _POINTS - 2], top, len(history) - 1})
    return tuple(history[index] for index in kept)


def _peak(facts: RunFacts, key: str | None) -> int | None:
    """Own peak of host memory; everybody's peak on the fullest device, since own use there is often unknown."""
    if key == "ram":
        return next((device.peak_own for device in facts.devices if device.key == key), None)
    peaks = [device.peak_used for device in facts.devices if device.key != "ram" and device.peak_used is not None]
    return max(peaks, default=None)


def _cache(facts: RunFacts) -> dict[str, Any] | None:
    if facts.policy.cache is None:
        return None
    if facts.cache is None:
        return {"hit": False}
    return {
        "hit": True,
        "names": list(facts.cache.names),
        "computed_wall": facts.cache.computed_wall,
        "computed_seconds": facts.cache.computed_seconds,
        "good_until_wall": facts.cache.good_until_wall,
    }


def _spans(spans: tuple[Span, ...]) -> list[list[str]]:
    return [[style, text] for style, text in spans if text]
