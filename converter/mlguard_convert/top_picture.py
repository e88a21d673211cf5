"""What `mlguard-nb top` shows: devices as bars, who holds them, the cells of one notebook by their peak."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import localtime, strftime
from typing import TYPE_CHECKING

from mlguard_nb.devices import Gpu, Reading, Unknown
from mlguard_nb.notebook.forecast import seconds_to_stop
from mlguard_nb.telemetry.wire import Held, Holders, KernelNow, Measured, OtherNow

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

    from mlguard_convert.top_cells import CellPeak

__all__ = ["HELP", "Choice", "History", "chosen_kernel", "picture"]

_BAR = 39
_BLOCKS = "▁▂▃▄▅▆▇█"
_SPAN, _FORECAST_SPAN = 24, 120
_WARNING, _CRITICAL = 0.8, 0.95
_MOST_KERNELS, _MOST_CELLS = 8, 6
_SHOWN_FROM = 0.05 * 2**30
_NAMES = {
    "server": "server           and this command",
    "other_users": "other users",
    "rest": "other processes  of this machine",
    "not_attributed": "not attributed   drivers, hidden processes",
}
HELP = (
    "q quit   tab next notebook   s sort by RAM or GPU   ? help\n"
    "# this notebook   . everybody else   | 80 and 95 %   ~ sampled   – not known"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the reader chose: a notebook (None: the one that holds most), the column to sort by, the line of help."""

    kernel: str | None = None
    by_gpu: bool = False
    help: bool = False


class History:
    """What was in use lately: RAM, and each device by UUID."""

    def __init__(self) -> None:
        self.points: dict[str, deque[tuple[float, int | None, int | None]]] = {}

    def add(self, name: str, at: float, used: int | Unknown, total: int | Unknown) -> None:
        """One more point at `at` seconds; None where nobody could say."""
        known = [None if isinstance(value, Unknown) else value for value in (used, total)]
        self.points.setdefault(name, deque(maxlen=_FORECAST_SPAN)).append((at, known[0], known[1]))

    def line(self, name: str) -> str:
        """The last points as a line of blocks; a gap where there was no reading."""
        recent = list(self.points.get(name, ()))[-_SPAN:]
        return "".join(
            " " if not used or not total else _BLOCKS[min(7, int(used / total * 8))] for _, used, total in recent
        )

    def seconds_to_full(self, name: str) -> float | None:
        """When a steady rise reaches the limit; None where there is none."""
        points = self.points.get(name, ())
        total = points[-1][2] if points else None
        return seconds_to_stop([(at, used) for at, used, _ in points], total)


def picture(
    reading: Reading,
    history: History,
    ledger: Holders | None,
    cells: Sequence[CellPeak],
    choice: Choice,
    every: float,
) -> Group:
    """Everything, for a rich console of any width."""
    from rich.console import Group
    from rich.text import Text

    gpus = () if isinstance(reading.gpus, Unknown) else reading.gpus
    kernel = chosen_kernel(ledger, choice)
    parts: list[RenderableType] = [_head(reading, every), Text()]
    for gpu in gpus:
        label = f"{'MIG' if gpu.mig else 'GPU'} {gpu.index}"
        parts.append(_device(label, gpu.used_bytes, gpu.total_bytes, _own(kernel, gpu), gpu.name))
        parts.append(_facts(gpu, history))
    if isinstance(reading.gpus, Unknown):
        parts.append(_reason(reading.gpus.reason))
    ram = reading.ram
    source = "container" if ram.source == "container" else "machine"
    parts.append(_device("RAM", ram.used_bytes, ram.limit_bytes, None if kernel is None else kernel.ram.value, source))
    parts.append(Text(f"{'':44}60 s {history.line('RAM')}", no_wrap=True))
    if ledger is not None:
        parts += [Text(), _ledger(reading, ledger, gpus, kernel, choice)]
    if cells:
        parts += [Text(), _cells(cells, gpus)]
    parts += [Text(), *(Text(line, style="bold", overflow="ellipsis", no_wrap=True) for line in _coming(gpus, history))]
    if choice.help:
        parts.append(Text(HELP))
    return Group(*parts)


def chosen_kernel(ledger: Holders | None, choice: Choice) -> KernelNow | None:
    """The notebook that the reader chose, else the one that holds most."""
    kernels = () if ledger is None else _sorted(ledger.kernels, choice)
    return next((one for one in kernels if one.kernel_id == choice.kernel), kernels[0] if kernels else None)


def _own(kernel: KernelNow | None, gpu: Gpu) -> float | None:
    held = () if kernel is None else kernel.gpus
    return next((one.used.value for one in held if one.uuid == gpu.uuid), None)


def _sorted(kernels: Iterable[KernelNow], choice: Choice) -> tuple[KernelNow, ...]:
    def held(kernel: KernelNow) -> float:
        return sum(one.used.value or 0 for one in kernel.gpus) if choice.by_gpu else kernel.ram.value or 0.0

    return tuple(sorted(kernels, key=held, reverse=True))


def _head(reading: Reading, every: float) -> Text:
    from rich.text import Text

    place = "container" if reading.ram.source == "container" else "no container"
    host = os.uname().nodename if hasattr(os, "uname") else ""
    title = f"mlguard-nb top   {host}, {place}"
    return Text(f"{title[:46]:<47} every {every:g} s   {strftime('%H:%M:%S', localtime(reading.wall))}", no_wrap=True)


def _device(label: str, used: int | Unknown, total: int | Unknown, own: float | None, name: str) -> Text:
    from rich.text import Text

    line = Text(f"{label:<6}", no_wrap=True, overflow="ellipsis")
    line.append_text(_bar(used, total, own))
    line.append(f"  {_gib(used):>6} of {_gib(total):>5} GiB  {name}")
    return line


def _bar(used: int | Unknown, total: int | Unknown, own: float | None) -> Text:
    from rich.text import Text

    if isinstance(used, Unknown) or isinstance(total, Unknown) or total <= 0:
        return Text(f"[{'not known':^{_BAR}}]")
    share = used / total
    filled = min(_BAR, round(share * _BAR))
    solid = min(filled, round((own or 0) / total * _BAR))
    ticks = {round(_WARNING * _BAR) - 1, round(_CRITICAL * _BAR) - 1}
    empty = "".join("|" if place in ticks else " " for place in range(filled, _BAR))
    style = "bold red" if share >= _CRITICAL else "yellow" if share >= _WARNING else ""
    return Text("[").append("#" * solid + "." * (filled - solid), style).append(empty + "]")


def _facts(gpu: Gpu, history: History) -> Text:
    from rich.text import Text

    facts = [
        f"util {_number(gpu.utilisation, 100):>4} %",
        f"{_number(gpu.temperature_celsius):>3} °C",
        f"{_number(gpu.power_watts):>4} of {_number(gpu.power_limit_watts)} W",
    ]
    return Text(f"      {'   '.join(facts):<38}60 s {history.line(gpu.uuid)}", no_wrap=True)


def _reason(reason: str) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_row("GPU", reason)
    return table


def _ledger(reading: Reading, ledger: Holders, gpus: Sequence[Gpu], kernel: KernelNow | None, choice: Choice) -> Table:
    table = _table("HELD BY", gpus, "")
    kernels = _sorted(ledger.kernels, choice)
    for one in kernels[:_MOST_KERNELS]:
        mark = "#" if one is kernel else "."
        table.add_row(f"{mark} {one.name:<16} {one.state}".rstrip(), _gib(one.ram), *_held(one.gpus, gpus), "")
    if len(kernels) > _MOST_KERNELS:
        table.add_row(f"  and {len(kernels) - _MOST_KERNELS} smaller kernels")
    for other in ledger.others:
        if other.who != "not_attributed" or _is_worth_a_row(other):
            name = _NAMES[other.who] + (f"  {other.count} processes" if other.count else "")
            table.add_row(f". {name}", _gib(other.ram), *_held(other.gpus, gpus), "")
    table.add_row("  in use", _gib(reading.ram.used_bytes), *(_gib(gpu.used_bytes) for gpu in gpus), "")
    return table


def _is_worth_a_row(other: OtherNow) -> bool:
    return any((held.used.value or 0) >= _SHOWN_FROM for held in other.gpus)


def _cells(cells: Sequence[CellPeak], gpus: Sequence[Gpu]) -> Table:
    table = _table("CELLS BY PEAK, as last saved", gpus, "TIME")
    for cell in cells[:_MOST_CELLS]:
        peaks = [cell.peaks.get(name, "–") for name in ("ram", *(gpu.uuid for gpu in gpus))]
        table.add_row(f"{cell.number:>3} {cell.name}", *peaks, cell.time)
    return table


def _table(title: str, gpus: Sequence[Gpu], last: str) -> Table:
    from rich.table import Table

    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 0, 0, 1), header_style="")
    table.add_column(title, ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("RAM GiB", justify="right", no_wrap=True)
    for gpu in gpus:
        table.add_column(f"GPU {gpu.index}", justify="right", no_wrap=True, min_width=7)
    table.add_column(last, justify="right", no_wrap=True, min_width=len(last))
    return table


def _coming(gpus: Sequence[Gpu], history: History) -> Iterator[str]:
    names = [("RAM", "RAM"), *((gpu.uuid, f"GPU {gpu.index}") for gpu in gpus)]
    for name, label in names:
        seconds = history.seconds_to_full(name)
        if seconds is not None:
            yield f"{label} rises steadily: full in about {_rounded(seconds)}"


def _rounded(seconds: float) -> str:
    return f"{max(5, round(seconds / 5) * 5)} s" if seconds < 57.5 else f"{round(seconds / 60)} min"


def _held(held: Sequence[Held], gpus: Sequence[Gpu]) -> list[str]:
    on = {one.uuid: one.used for one in held}
    return [_gib(on.get(gpu.uuid)) for gpu in gpus]


def _gib(value: int | Unknown | Measured | None) -> str:
    if isinstance(value, Measured):
        return "–" if value.value is None else f"{value.value / 2**30:.1f}"
    return "–" if value is None or isinstance(value, Unknown) else f"{value / 2**30:.1f}"


def _number(value: float | Unknown, factor: float = 1) -> str:
    return "–" if isinstance(value, Unknown) else f"{value * factor:.0f}"
