"""The small pictures of the view as SVG in data URIs: signs, bars and lines, in colours that show on any page.

Every colour reaches 3 : 1 on white and on near-black; no text stands inside a picture.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import lru_cache

__all__ = ["BLUE", "COLOURS", "bar", "curve", "empty_bar", "line", "sign"]

BLUE, GREY, TICK, GREEN, RED, ORANGE = "#2f80c5", "#808080", "#7a7a7a", "#3f9143", "#e53935", "#b8730a"
COLOURS = (BLUE, GREY, TICK, GREEN, RED, ORANGE)

_BAR = 126.0  # pixels of a full bar
_SIGNS = {
    "none": f'<circle cx="6" cy="6" r="5" fill="none" stroke="{GREY}" stroke-width="1.4"/>',
    "running": f'<circle cx="6" cy="6" r="5" fill="none" stroke="{BLUE}" stroke-width="1.4"/>'
    f'<path d="M6 1a5 5 0 0 1 0 10Z" fill="{BLUE}"/>',
    "waiting": f'<path d="M3.6 2v8M8.4 2v8" stroke="{GREY}" stroke-width="2"/>',
    "ok": f'<path d="M1.5 6.4 4.6 9.5 10.5 2.8" fill="none" stroke="{GREEN}" stroke-width="1.8"/>',
    "failed": f'<path d="M2 2l8 8M10 2l-8 8" fill="none" stroke="{RED}" stroke-width="1.8"/>',
    "stop": f'<path d="M3.6 .4h4.8l3.2 3.2v4.8l-3.2 3.2H3.6L.4 8.4V3.6Z" fill="{RED}"/>'
    '<path d="M6 2.6v4.2M6 8v1.4" stroke="#fff" stroke-width="1.6"/>',
    "warning": f'<path d="M6 1 11.4 10.8H.6Z" fill="none" stroke="{ORANGE}" stroke-width="1.4"/>'
    f'<path d="M6 4.4v3M6 8.4v1.2" stroke="{ORANGE}" stroke-width="1.4"/>',
    "interrupted": f'<rect x="2" y="2" width="8" height="8" fill="none" stroke="{GREY}" stroke-width="1.6"/>',
}


def _uri(width: int, height: int, inside: str) -> str:
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{inside}</svg>'
    )
    return "data:image/svg+xml;base64," + b64encode(text.encode()).decode()


def _drawn_sign(name: str) -> str:
    return _uri(12, 12, _SIGNS[name])


_DRAWN = {name: _drawn_sign(name) for name in _SIGNS}


def sign(name: str) -> str:
    """The 12 px sign before a headline."""
    return _DRAWN[name]


def bar(used: int, own: int | None, limit: int, stop: int | None) -> str:
    """A bar of 128 by 18: solid is this notebook, hollow everybody else, a tick at the stop."""
    own = min(used, own or 0)
    solid = own / limit * _BAR
    start = solid + 1.5 if solid else 0.5
    hollow = min(used, limit) / limit * _BAR - start
    return _bar(round(solid, 1), round(start, 1), round(hollow, 1), stop and round(min(stop, limit) / limit * _BAR, 1))


@lru_cache(maxsize=64)  # use moves by less than a tenth of a pixel from one cell to the next
def _bar(solid: float, start: float, hollow: float, stop: float | None) -> str:
    pieces = [f'<path d="M0 13.5H127M127.5 4V14" stroke="{GREY}" fill="none"/>']
    if solid:
        pieces.append(f'<path d="M0 5h{solid:.1f}v8h-{solid:.1f}z" fill="{BLUE}"/>')
    if hollow > 0.5:
        pieces.append(f'<path d="M{start:.1f} 5.5h{hollow:.1f}v7h-{hollow:.1f}z" fill="none" stroke="{GREY}"/>')
    if stop is not None:
        pieces.append(f'<path d="M{stop:.1f} 2V17" stroke="{TICK}" stroke-width="2"/>')
        pieces.append(f'<path d="M{stop - 3.5:.1f} 0h7l-3.5 4z" fill="{TICK}"/>')
    return _uri(128, 18, "".join(pieces))


def empty_bar() -> str:
    """A bar without a reading: dotted, so that it is not taken for an empty one."""
    return _uri(128, 18, f'<path d="M0 13.5H127M127.5 4V14" stroke="{GREY}" stroke-dasharray="2 3" fill="none"/>')


def line(history: Sequence[tuple[float, int | None]], limit: int | None, *, until: float, running: bool) -> str:
    """A line of 120 by 16: the last 60 s up to `until` while running, else the whole run. A gap stays a gap."""
    if running:
        points = [(115 - (until - at) / 60 * 114, used) for at, used in history if until - at <= 60]
    else:
        points = [(1 + at / max(until, 1e-9) * 117, used) for at, used in history]
    path, last = _path(points, limit, top=2.5, bottom=13.5)
    dot = f'<circle cx="{last[0]:.1f}" cy="{last[1]:.1f}" r="2.2" fill="{BLUE}"/>' if running and last else ""
    stroke = f'fill="none" stroke="{BLUE}" stroke-width="1.4" stroke-linejoin="round"'
    return _uri(120, 16, f'<path d="{path}" {stroke}/>{dot}')


def curve(
    history: Sequence[tuple[float, int | None]], limit: int | None, *, until: float, marks: Iterable[float]
) -> str:
    """The curve of 600 by 52 that the reader opens; a dashed mark where an attempt failed."""
    points = [(at / max(until, 1e-9) * 540, used) for at, used in history]
    path, _ = _path(points, limit, top=6.0, bottom=46.0)
    failed = "".join(
        f'<path d="M{at / max(until, 1e-9) * 540:.1f} 6V50" stroke="{RED}" stroke-dasharray="2 2"/>' for at in marks
    )
    inside = f'<path d="M0 50.5H540" stroke="{GREY}"/>'
    return _uri(600, 52, f'{inside}<path d="{path}" fill="none" stroke="{BLUE}" stroke-width="1.4"/>{failed}')


def _path(
    points: Sequence[tuple[float, int | None]], limit: int | None, *, top: float, bottom: float
) -> tuple[str, tuple[float, float] | None]:
    """The `d` of a line through the known points, and its last one. It spans at least 5 % of the limit."""
    known = [used for _, used in points if used is not None]
    if not known:
        return "", None
    low = min(known)
    span = max(max(known) - low, 0.05 * (limit or 0), 1)
    steps: list[str] = []
    last: tuple[float, float] | None = None
    pen = "M"
    for x, used in points:
        if used is None:
            pen = "M"
            continue
        y = bottom - (used - low) / span * (bottom - top)
        steps.append(f"{pen}{x:.1f} {y:.1f}")
        pen, last = "L", (x, y)
    return "".join(steps), last
