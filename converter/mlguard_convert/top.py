"""`mlguard-nb top`: each device and RAM as a bar with the last minute, and who holds it, in a terminal."""

from __future__ import annotations

import os
import select
import shutil
import sys
import textwrap
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import localtime, strftime
from typing import TextIO

from mlguard_nb import clock
from mlguard_nb.devices import Gpu, Machine, Reading, Unknown, current
from mlguard_nb.server.kernels import KernelFacts
from mlguard_nb.server.ledger import holders
from mlguard_nb.server.processes import ProcessTable
from mlguard_nb.telemetry.wire import Holders, Measured

__all__ = ["History", "local_kernels", "picture", "watch"]

_BAR = 39
_LINE = "▁▂▃▄▅▆▇█"
_SPAN = 24
_MOST_KERNELS = 8
_SLOWEST_LEDGER_SECONDS = 2.0
_NAMES = {
    "server": "server           and this command",
    "other_users": "other users",
    "rest": "other processes  of this machine",
    "not_attributed": "not attributed   drivers, hidden processes",
}


class History:
    """The shares in use of the last minute: RAM, and each device by UUID."""

    def __init__(self) -> None:
        self.points: dict[str, deque[float | None]] = {}

    def add(self, name: str, used: int | Unknown, total: int | Unknown) -> None:
        """One more point; None where nobody could say."""
        known = not isinstance(used, Unknown) and not isinstance(total, Unknown) and total > 0
        share = used / total if known else None  # type: ignore[operator]
        self.points.setdefault(name, deque(maxlen=_SPAN)).append(share)

    def line(self, name: str) -> str:
        """The points as a line of blocks; a gap where there was no reading."""
        shares = self.points.get(name, ())
        return "".join(" " if one is None else _LINE[min(7, int(one * 8))] for one in shares)


def watch(
    *, every: float = 1.0, once: bool = False, machine: Machine | None = None, stream: TextIO | None = None
) -> int:
    """Draw a picture each `every` seconds until q or an interrupt; `once` draws one. Returns the exit status."""
    out, source = stream or sys.stdout, machine or current()
    table, history = ProcessTable(), History()
    ledger: Holders | None = None
    looked = float("-inf")
    with _keys(once=once) as pressed:
        while True:
            reading = source.read()
            _remember(history, reading)
            now = clock.current().now()
            if now - looked >= _SLOWEST_LEDGER_SECONDS:
                kernels, server = local_kernels()
                ledger, looked = holders(reading, kernels, source.gpu_processes(), table, server), now
            text = picture(reading, history, ledger, every, shutil.get_terminal_size().columns)
            if once:
                out.write(text)
                return 0
            out.write("\033[H\033[2J" + text + "\n q quit\n")
            out.flush()
            if pressed(max(0.2, every)) == "q":
                return 0


def _remember(history: History, reading: Reading) -> None:
    history.add("RAM", reading.ram.used_bytes, reading.ram.limit_bytes)
    for gpu in () if isinstance(reading.gpus, Unknown) else reading.gpus:
        history.add(gpu.uuid, gpu.used_bytes, gpu.total_bytes)


def picture(reading: Reading, history: History, ledger: Holders | None, every: float, width: int = 80) -> str:
    """Everything as text, no line longer than `width`."""
    place = "container" if reading.ram.source == "container" else "no container"
    clock_text = strftime("%H:%M:%S", localtime(reading.wall))
    lines = [f"mlguard-nb top   {os.uname().nodename if hasattr(os, 'uname') else ''}, {place}"]
    lines[0] = f"{lines[0][:46]:<47} every {every:g} s   {clock_text}"
    lines.append("")
    gpus = () if isinstance(reading.gpus, Unknown) else reading.gpus
    for gpu in gpus:
        lines.extend(_gpu_lines(gpu, history))
    if isinstance(reading.gpus, Unknown):
        reason = f"GPU   {reading.gpus.reason}"
        lines += textwrap.wrap(reason, max(20, width), subsequent_indent=" " * 6, break_on_hyphens=False)
    ram = reading.ram
    source = "container" if ram.source == "container" else "machine"
    lines.append(f"RAM   {_bar(ram.used_bytes, ram.limit_bytes)}  {_of(ram.used_bytes, ram.limit_bytes)}  {source}")
    lines.append(f"{'':44}60 s {history.line('RAM')}")
    if ledger is not None:
        lines += ["", *_ledger_lines(ledger, gpus)]
    return "\n".join(line[:width].rstrip() for line in lines) + "\n"


def _gpu_lines(gpu: Gpu, history: History) -> Iterator[str]:
    name = f"MIG {gpu.index}" if gpu.mig else f"GPU {gpu.index}"
    yield f"{name:<6}{_bar(gpu.used_bytes, gpu.total_bytes)}  {_of(gpu.used_bytes, gpu.total_bytes)}  {gpu.name}"
    facts = [
        f"util {_number(gpu.utilisation, 100):>4} %",
        f"{_number(gpu.temperature_celsius):>3} °C",
        f"{_number(gpu.power_watts):>4} of {_number(gpu.power_limit_watts)} W",
    ]
    yield f"      {'   '.join(facts):<38}60 s {history.line(gpu.uuid)}"


def _ledger_lines(ledger: Holders, gpus: Sequence[Gpu]) -> Iterator[str]:
    heads = "".join(f"{f'GPU {gpu.index}':>9}" for gpu in gpus)
    yield f"{'HELD BY':<52}{'RAM GiB':>8}{heads}"
    largest = sorted(ledger.kernels, key=lambda kernel: kernel.ram.value or 0.0, reverse=True)
    rows = [("#", f"{kernel.name:<16} {kernel.state}", kernel.ram, kernel.gpus) for kernel in largest[:_MOST_KERNELS]]
    rows += [
        (".", _NAMES[other.who] + (f"  {other.count} processes" if other.count else ""), other.ram, other.gpus)
        for other in ledger.others
    ]
    for mark, name, ram, held in rows:
        on = {one.uuid: one.used for one in held}
        cells = "".join(f"{_gib(on.get(gpu.uuid)):>9}" for gpu in gpus)
        yield f"{mark} {name[:49]:<50}{_gib(ram):>8}{cells}"
    if len(largest) > _MOST_KERNELS:
        yield f"  and {len(largest) - _MOST_KERNELS} smaller kernels"


def local_kernels() -> tuple[tuple[KernelFacts, ...], int]:
    """The kernels of this user on this machine, and the process that started them (this one, if there is none)."""
    import psutil

    found: list[KernelFacts] = []
    server = os.getpid()
    for process in psutil.process_iter(["pid", "ppid", "cmdline", "status"]):
        command = process.info["cmdline"] or []
        if not any("ipykernel" in word for word in command):
            continue
        server = process.info["ppid"] or server
        path = ""
        with suppress(psutil.Error, OSError):
            path = process.environ().get("JPY_SESSION_NAME", "")
        name = os.path.basename(path) or f"kernel {process.info['pid']}"
        state = "running" if process.info["status"] == "running" else ""
        found.append(KernelFacts(str(process.info["pid"]), name, path or None, state, None, process.info["pid"], None))
    return tuple(found), server


@contextmanager
def _keys(*, once: bool) -> Iterator[Callable[[float], str]]:
    """A function that waits up to some seconds for a key; without a terminal it only waits."""
    if once or sys.platform == "win32" or not sys.stdin.isatty():

        def wait(seconds: float) -> str:
            clock.current().sleep(seconds)
            return ""

        yield wait
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)

    def key(seconds: float) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return sys.stdin.read(1) if ready else ""

    try:
        tty.setcbreak(sys.stdin.fileno())
        yield key
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _bar(used: int | Unknown, total: int | Unknown) -> str:
    if isinstance(used, Unknown) or isinstance(total, Unknown) or total <= 0:
        return f"[{'not known':^{_BAR}}]"
    filled = min(_BAR, round(used / total * _BAR))
    return f"[{'#' * filled}{'.' * (_BAR - filled)}]".replace(".", " ")


def _of(used: int | Unknown, total: int | Unknown) -> str:
    return f"{_gib(used):>6} of {_gib(total):>5} GiB"


def _gib(value: int | Unknown | Measured | None) -> str:
    if isinstance(value, Measured):
        return "–" if value.value is None else f"{value.value / 2**30:.1f}"
    return "–" if value is None or isinstance(value, Unknown) else f"{value / 2**30:.1f}"


def _number(value: float | Unknown, factor: float = 1) -> str:
    return "–" if isinstance(value, Unknown) else f"{value * factor:.0f}"
