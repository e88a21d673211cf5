"""The report of a log as one HTML page without scripts: the table, the changes, and a plot of durations a function."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from html import escape

from mlguard_convert.report import Change, FunctionReport, Report, sentence, text

__all__ = ["page"]

_WIDTH, _HEIGHT = 640, 120
_MOST_POINTS = 2_000
_FAILED = ' fill="#c5392f"'


def page(report: Report, title: str) -> str:
    """The whole page; it loads nothing."""
    plots = "\n".join(_plot(one, report.changes) for one in report.functions if len(one.seconds) > 1)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }}
pre {{ overflow-x: auto; font-variant-numeric: tabular-nums; }}
svg {{ width: 100%; height: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #111; color: #ddd; }} }}
</style></head>
<body><h1>{escape(title)}</h1>
<pre>{escape(text(report))}</pre>
<h2>Seconds a call, in the order of the calls; failed ones are red</h2>
{plots or "<p>No function was called more than once.</p>"}
</body></html>
"""


def _plot(one: FunctionReport, changes: Sequence[Change]) -> str:
    """Every call as a dot (the slowest of each slice when there are very many), from 0 to the slowest, in red where it
    failed, and a line where something changed.
    """
    stride = max(1, len(one.seconds) // _MOST_POINTS)
    starts = range(0, len(one.seconds), stride)
    values = [max(one.seconds[start : start + stride]) for start in starts]
    top = max(values) or 1.0
    step = _WIDTH / max(1, len(values) - 1)
    dots = "".join(
        f'<circle cx="{place * step:.1f}" cy="{_HEIGHT - value / top * _HEIGHT:.1f}" r="1.6"'
        f"{_FAILED if any(one.failed[start : start + stride]) else ''}/>"
        for place, (start, value) in enumerate(zip(starts, values, strict=True))
    )
    marks = "".join(
        f'<path d="M{bisect_left(one.times, change.at) / stride * step:.1f} 0V{_HEIGHT}" stroke="#808080" '
        f'stroke-dasharray="4 3"><title>{escape(sentence(change))}</title></path>'
        for change in changes
        if change.at is not None and change.function == one.name
    )
    label = f"{one.name}: {one.calls} calls, {one.errors} errors, the slowest {top:.3g} s"
    return (
        f"<figure><figcaption>{escape(label)}</figcaption>"
        f'<svg role="img" aria-label="{escape(label)}" viewBox="-4 -4 {_WIDTH + 8} {_HEIGHT + 8}" fill="#2f80c5">'
        f'<path d="M0 {_HEIGHT}H{_WIDTH}" stroke="#808080"/>{marks}{dots}</svg></figure>'
    )
