"""The view as HTML: five rows of 18 px, 100 px in every state, without script, class, stylesheet or theme variable."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from html import escape

from mlguard_nb.notebook import drawing
from mlguard_nb.notebook.facts import DeviceFacts, RunFacts
from mlguard_nb.notebook.stories import Story
from mlguard_nb.notebook.words import Span, device_note, gib, row_used, shown_devices, spoken_seconds, unread

__all__ = ["to_html"]

_ROW = "height:18px;white-space:nowrap;overflow:hidden"
_BOX = "box-sizing:border-box;margin:0;font-size:13px;line-height:18px;overflow:hidden"
_ENDED = ("ok", "failed", "degraded", "interrupted")


def to_html(facts: RunFacts, story: Story) -> str:
    """The stored picture of `facts`; `story` holds its words."""
    rows = [_row(_image(drawing.sign(story.sign), 12, 12, "guard:") + _spans(story.headline))]
    devices = shown_devices(facts)
    rows += [_device_row(facts, device) for device in devices]
    if len(devices) < 2:
        quiet = "no GPU on this machine" if facts.devices and len(devices) == 1 else ""
        rows += [_row(_cell(48, "GPU") + " " + _spans((("quiet", quiet),)) if quiet else "")]
    rows += [_row("")] * (3 - len(rows))
    if facts.phase in _ENDED and facts.attempts:
        return _with_details(facts, story, rows)
    rows += [_happened(facts, story), _row(_spans(story.next))]
    return f'<div style="{_BOX};height:100px;padding:5px 0 5px 0">{"".join(rows)}</div>'


def _with_details(facts: RunFacts, story: Story, rows: list[str]) -> str:
    """Closed it is 100 px high like every other state; only a reader's click makes it taller."""
    below = 5
    if any(text for _, text in story.happened) or facts.remarks:
        rows = [*rows, _happened(facts, story)]
    else:
        below += 18
    top = 100 - 18 - below
    coming = "".join(text for _, text in story.next)
    title = f' title="{escape(coming)}"' if coming else ""
    named = (*story.next, ("quiet", " · Attempts and curve")) if coming else (("", "Attempts and curve"),)
    return (
        f'<div style="{_BOX};height:{top}px;padding:5px 0 0 0">{"".join(rows)}</div>'
        f'<details style="margin:0;padding:0 0 {below}px 0;font-size:13px;line-height:18px">'
        f'<summary style="{_ROW};text-overflow:ellipsis;cursor:pointer"{title}>{_spans(named)}</summary>'
        f"{_opened(facts)}</details>"
    )


def _happened(facts: RunFacts, story: Story) -> str:
    """What happened, and every remark; a row may have to cut it, so that it is whole on hover."""
    told = [text for _, text in story.happened if text]
    remarks = " · ".join(facts.remarks)
    spans = (*story.happened, ("quiet", f" · {remarks}" if told and remarks else remarks))
    whole = "".join(text for _, text in spans)
    title = f' title="{escape(whole)}"' if remarks or any(style == "code" for style, _ in spans) else ""
    return _row(_spans(spans), title)


def _opened(facts: RunFacts) -> str:
    rows = []
    for attempt in facts.attempts:
        error = ": ".join(piece for piece in (attempt.error, attempt.message) if piece)
        told = error if attempt.error else _gave(facts.bound) if attempt.outcome == "finished" else ""
        where = f", line {attempt.line}" if attempt.line else ""
        rows.append(
            _row(
                f"{_cell(24, str(attempt.number))}{_cell(64, spoken_seconds(attempt.seconds), 'right')}"
                f"{_cell(16)}{_cell(76, attempt.outcome)}{escape(told)}{where}"
            )
        )
        if attempt.waited is not None and facts.policy.retry is not None:
            low, high = facts.policy.retry.wait_initial, facts.policy.retry.wait_max
            told = f"waited (between {low:g} and {high:g} s)"
            rows.append(
                _row(f"{_cell(24)}{_cell(64, spoken_seconds(attempt.waited), 'right')}{_cell(16)}{_quiet(told)}")
            )
    rows += [f'<div style="padding:2px 0 0 0">{_quiet(remark)}</div>' for remark in facts.remarks]
    return f'<div style="padding:4px 0 0 20px">{"".join(rows)}{_curve(facts)}</div>'


def _gave(bound: tuple[str, ...]) -> str:
    return f"gave {', '.join(bound)}" if bound else ""


def _curve(facts: RunFacts) -> str:
    read = [device for device in shown_devices(facts) if sum(used is not None for _, used in device.history) > 1]
    if not read:
        return ""
    device = read[-1]
    known = [used for _, used in device.history if used is not None]
    marks: list[float] = []
    at = 0.0
    for attempt in facts.attempts:
        at += attempt.seconds
        if attempt.outcome == "failed":
            marks.append(at)
        at += attempt.waited or 0.0
    picture = drawing.curve(device.history, device.limit, until=facts.elapsed, marks=marks)
    alt = f"{device.label} memory over the run: {gib(min(known))} to {gib(max(known))} GiB"
    ends = f"{spoken_seconds(facts.elapsed)}, {device.label} {gib(max(known))} GiB"
    return (
        f'<div style="padding:4px 0 0 0">{_image(picture, 600, 52, alt)}</div>'
        f'<div style="{_ROW};opacity:.75">{_cell(120, "0 s")}{_cell(420, ends, "right")}</div>'
    )


def _device_row(facts: RunFacts, device: DeviceFacts) -> str:
    used, own = row_used(facts, device)
    label = _cell(48, device.label)
    if used is None or device.limit is None:
        empty = _image(drawing.empty_bar(), 128, 18, f"no {device.label} reading")
        return _row(f"{label} {empty} {_cell(112, '–', 'right')} {_cell(8)}{_quiet(unread(device))}", ellipsis=False)
    peak = " at the peak" if facts.phase in _ENDED and not device.is_over else ""
    bar = _image(drawing.bar(used, own, device.limit, device.stop), 128, 18, f"{device.label} bar{peak}")
    here = "" if own is None else f"{gib(own)} here"
    note = device_note(facts, device)
    return _read_row(label, bar, gib(used), gib(device.limit), note, here, _line(facts, device))


@lru_cache(maxsize=64)
def _read_row(label: str, bar: str, used: str, limit: str, note: Span, here: str, line: str) -> str:
    number = f"{_strong(used)} of {limit} GiB"
    style, words = note
    told = _strong(words) if style == "strong" else escape(words)
    noted = "text-align:left" if style == "strong" else "text-align:left;opacity:.75"
    return _row(
        f'{label} {bar} <span style="width:112px;display:inline-block;text-align:right">{number}</span> {_cell(4)}'
        f'<span style="width:192px;display:inline-block;{noted}">{told}</span> '
        f'<span style="width:60px;display:inline-block;text-align:right;opacity:.75">{here}</span> {_cell(8)}{line}',
        ellipsis=False,
    )


def _line(facts: RunFacts, device: DeviceFacts) -> str:
    if sum(used is not None for _, used in device.history) < 2:
        return ""
    running = facts.phase in ("running", "waiting", "waiting_memory")
    span = "last 60 s" if running else "during the run"
    alt = f"{device.label}{' memory' if device.key != 'ram' else ''}{',' if running else ''} {span}"
    return _image(drawing.line(device.history, device.limit, until=facts.elapsed, running=running), 120, 16, alt)


def _row(inside: str, title: str = "", *, ellipsis: bool = True) -> str:
    cut = ";text-overflow:ellipsis" if ellipsis else ""
    return f'<div style="{_ROW}{cut}"{title}>{inside}</div>'


@lru_cache(maxsize=256)  # most cells say what those before them said
def _cell(width: int, text: str = "", align: str = "") -> str:
    aligned = f";text-align:{align}" if align else ""
    return f'<span style="width:{width}px;display:inline-block{aligned}">{escape(text)}</span>'


@lru_cache(maxsize=64)
def _quiet(text: str) -> str:
    return f'<span style="opacity:.75">{escape(text)}</span>' if text else ""


@lru_cache(maxsize=64)
def _strong(text: str) -> str:
    return f'<b style="font-weight:600">{escape(text)}</b>'


def _spans(spans: Iterable[Span]) -> str:
    told = []
    for style, text in spans:
        if not text:
            continue
        if style == "strong":
            told.append(_strong(text))
        elif style == "code":
            told.append(f'<code style="font-size:12px">{escape(" ".join(text.split()))}</code>')
        else:
            told.append(_quiet(text) if style == "quiet" else escape(text))
    return "".join(told)


@lru_cache(maxsize=64)
def _image(source: str, width: int, height: int, alt: str) -> str:
    return (
        f'<img width="{width}" height="{height}" alt="{escape(alt)}" '
        f'style="vertical-align:middle;margin:0 4px 0 0" src="{source}">'
    )
