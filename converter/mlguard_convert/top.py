"""`mlguard-nb top`: the readings of the panel in a terminal, for people over ssh."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mlguard_convert.top_cells import CellPeak, cells_of
from mlguard_convert.top_picture import Choice, History, chosen_kernel, picture
from mlguard_nb import clock
from mlguard_nb.devices import Machine, Reading, Unknown, current
from mlguard_nb.server.kernels import KernelFacts
from mlguard_nb.server.ledger import holders
from mlguard_nb.server.processes import ProcessTable
from mlguard_nb.telemetry.wire import Holders

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["local_kernels", "pressed_key", "watch"]

_SLOWEST_LEDGER_SECONDS = 2.0
_NO_RICH = "mlguard-nb top needs rich: pip install 'mlguard-nb[lab]'"


def watch(
    *, every: float = 1.0, once: bool = False, machine: Machine | None = None, stream: TextIO | None = None
) -> int:
    """Draw a picture each `every` seconds until q or an interrupt; `once` draws one. Returns the exit status."""
    out, source = stream or sys.stdout, machine or current()
    try:
        from rich.console import Console
    except ImportError:
        sys.stderr.write(_NO_RICH + "\n")
        return 2
    console = Console(file=out, highlight=False)
    if once:
        return _once(console, source, every)
    with suppress(KeyboardInterrupt), _keys() as pressed:
        _live(console, source, every, pressed)
    return 0


def _once(console: Console, source: Machine, every: float) -> int:
    reading, history = source.read(), History()
    _remember(history, reading)
    ledger = _look(reading, source, ProcessTable())
    console.print(picture(reading, history, ledger, _cells(ledger, Choice()), Choice(), every))
    return 0


def _live(console: Console, source: Machine, every: float, pressed: Callable[[float], str]) -> None:
    from rich.live import Live

    table, history, choice = ProcessTable(), History(), Choice()
    ledger: Holders | None = None
    looked = float("-inf")
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            reading = source.read()
            _remember(history, reading)
            now = clock.current().now()
            if now - looked >= _SLOWEST_LEDGER_SECONDS:
                ledger, looked = _look(reading, source, table), now
            cells = _cells(ledger, choice)
            live.update(picture(reading, history, ledger, cells, choice, every), refresh=True)
            changed = pressed_key(pressed(max(0.2, every)), choice, ledger)
            if changed is None:
                return
            choice = changed


def pressed_key(key: str, choice: Choice, ledger: Holders | None) -> Choice | None:
    """What the reader wants after `key`; None leaves. Keys that mean nothing change nothing."""
    if key in ("q", "\x03", "\x04"):
        return None
    if key == "s":
        return replace(choice, by_gpu=not choice.by_gpu)
    if key in ("?", "h"):
        return replace(choice, help=not choice.help)
    kernel = chosen_kernel(ledger, choice)
    if key == "\t" and ledger is not None and kernel is not None:
        order = [one.kernel_id for one in ledger.kernels]
        return replace(choice, kernel=order[(order.index(kernel.kernel_id) + 1) % len(order)])
    return choice


def _remember(history: History, reading: Reading) -> None:
    history.add("RAM", reading.wall, reading.ram.used_bytes, reading.ram.limit_bytes)
    for gpu in () if isinstance(reading.gpus, Unknown) else reading.gpus:
        history.add(gpu.uuid, reading.wall, gpu.used_bytes, gpu.total_bytes)


def _look(reading: Reading, source: Machine, table: ProcessTable) -> Holders:
    kernels, server = local_kernels()
    return holders(reading, kernels, source.gpu_processes(), table, server)


def _cells(ledger: Holders | None, choice: Choice) -> tuple[CellPeak, ...]:
    kernel = chosen_kernel(ledger, choice)
    return () if kernel is None or kernel.path is None else cells_of(Path(kernel.path))


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
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits up to some seconds for a key; without a terminal it only waits."""
    if sys.platform == "win32" or not sys.stdin.isatty():

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
        return os.read(sys.stdin.fileno(), 1).decode(errors="ignore") if ready else ""

    try:
        tty.setcbreak(sys.stdin.fileno())
        yield key
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
