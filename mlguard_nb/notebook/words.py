"""How the view says numbers: sizes, times, moments, and the note beside each device."""

from __future__ import annotations

import time
from functools import lru_cache

from mlguard_nb.notebook.facts import DeviceFacts, RunFacts
from mlguard_nb.notebook.forecast import seconds_to_stop

__all__ = [
    "Span",
    "about",
    "device_note",
    "gained",
    "gib",
    "moment",
    "row_used",
    "running_clock",
    "shown_devices",
    "signed",
    "spoken_seconds",
    "unread",
]

Span = tuple[str, str]  # (style, text); the style is "", "strong", "quiet" or "code"
_QUIET = "quiet"


def gib(count: int | None) -> str:
    """Bytes in GiB without the unit: "12.8"; a dash where nobody could say."""
    return "–" if count is None else f"{count / 2**30:.1f}"


def signed(count: int) -> str:
    """A change in GiB with its sign: "+1.1", never "-0.0"."""
    shown = f"{abs(count) / 2**30:.1f}"
    return f"-{shown}" if count < 0 and shown != "0.0" else f"+{shown}"


def spoken_seconds(seconds: float) -> str:
    """ "42.1 s", "12 ms", "3 min 20 s"."""
    if seconds < 0.1:
        return f"{max(1, round(seconds * 1000))} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def running_clock(seconds: float) -> str:
    """How long something has been running: "0:37", "1:02:03"."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def moment(wall: float, *, seconds: bool = True) -> str:
    """A wall time as the reader's clock shows it: "14:07:33", without seconds "14:07"."""
    return _clock(int(wall), "%H:%M:%S" if seconds else "%H:%M")


@lru_cache(maxsize=16)  # the system's library looks at the file of the time zone each time
def _clock(wall: int, form: str) -> str:
    return time.strftime(form, time.localtime(wall))


def about(seconds: float) -> str:
    """A forecast, rounded so that it does not flicker: "about 35 s", "about 2 min"."""
    if seconds < 57:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    minutes = seconds / 60
    return f"about {round(minutes)} min" if minutes < 90 else f"about {round(minutes / 60)} h"


def shown_devices(facts: RunFacts) -> tuple[DeviceFacts, ...]:
    """The two rows of the view: RAM, and the device with the least room below its stop (or its memory)."""
    ram = [device for device in facts.devices if device.key == "ram"]
    others = [device for device in facts.devices if device.key != "ram"]

    def urgency(device: DeviceFacts) -> tuple[bool, bool, float]:
        top, used = device.stop or device.limit, device.used
        return device.is_over, device.stop is not None, (used / top) if used is not None and top else 0.0

    return (*ram, *([max(others, key=urgency)] if others else []))


def row_used(facts: RunFacts, device: DeviceFacts) -> tuple[int | None, int | None]:
    """(everybody's use, own use) as a row shows them: at the peak once the cell has ended, else now."""
    if facts.phase in ("ok", "interrupted", "degraded") or (facts.phase == "failed" and not device.is_over):
        used = device.peak_used if device.peak_used is not None else device.used
        return used, device.peak_own if device.peak_own is not None else device.own
    return device.used, device.own


def device_note(facts: RunFacts, device: DeviceFacts) -> Span:
    """The words beside a bar: the stop, and how use moves towards it."""
    stop = "no stop" if device.stop is None else f"stop {gib(device.stop)}"
    used, start = device.used, device.start_used
    if facts.phase in ("waiting_memory", "refused") and device.is_over and device.stop is not None and used is not None:
        return "strong", f"{stop} exceeded by {gib(used - device.stop)}" if used >= device.stop else f"{stop}, no room"
    if device.is_over and facts.phase in ("failed", "degraded"):
        return "strong", f"{stop} reached"
    if facts.phase in ("ok", "failed", "interrupted", "degraded"):
        rose = gained(device)
        return _QUIET, stop if rose is None else f"{stop} · {signed(rose)} at peak"
    if facts.phase == "running":
        left = seconds_to_stop(device.history, device.stop)
        if left is not None:
            return "strong", f"{stop} in {about(left)}"
        if used is not None and start is not None and facts.elapsed >= 1:
            return _QUIET, f"{stop} · {signed(used - start)} in {whole_seconds(facts.elapsed)}"
    return _QUIET, stop


def unread(device: DeviceFacts) -> str:
    """Why a device has no reading, and what was asked for that cannot be held."""
    why = device.reason or "no reading"
    return f"{why}; {device.asked} is not applied" if device.asked else why


def whole_seconds(seconds: float) -> str:
    return f"{round(seconds)} s" if seconds < 120 else f"{round(seconds / 60)} min"


def gained(device: DeviceFacts) -> int | None:
    """How far the peak rose above where the cell began: own use where it is known, else everybody's."""
    if device.peak_own is not None and device.start_own is not None:
        return device.peak_own - device.start_own
    if device.peak_used is not None and device.start_used is not None:
        return device.peak_used - device.start_used
    return None
