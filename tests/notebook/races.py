"""Guarded cells entered and left under a hail of the watchdog's signals: `make soak` runs 60,000 of them.

A signal that finds the cell's own lines ends them with MemoryPressure. One that comes a moment too early or too late
must do nothing: no stray exception, nothing left armed, no limit left behind.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

_HAIL = "import os, sys, time\nwhile True:\n    os.kill({pid}, {number})\n    time.sleep(0.0003)"
_CELLS = (
    "%%guard mem=0.99 view=off\ntotal = sum(range(3000))",
    "%%guard mem=0.99 view=off retry=2 wait=0s on=ValueError\ntotal = sum(range(3000))\nif n % 3: raise ValueError",
    "%%guard mem=0.99 view=off oom=clear retry=2 wait=0s\ntotal = [i for i in range(3000)]",
)


@dataclass
class Outcome:
    """What became of the cells; `stray` names every exception that is not the cell's own."""

    finished: int = 0
    stopped: int = 0
    stray: list[str] = field(default_factory=list)


def race(cells: int) -> Outcome:
    """Run `cells` guarded cells in a shell of this process while another process signals it."""
    from IPython.core.interactiveshell import InteractiveShell

    from mlguard_nb.errors import MemoryPressure, MemoryStop
    from mlguard_nb.notebook import extension

    shell: Any = InteractiveShell.instance()
    shell.showtraceback = lambda *_arguments, **_options: None
    extension.load(shell)
    state: Any = extension.session(shell)
    shell.run_cell(_CELLS[0])  # the signal has its handler from here on
    number = int(signal.SIGRTMIN) + 8
    limit = resource.getrlimit(resource.RLIMIT_DATA)
    outcome = Outcome()
    hail = subprocess.Popen([sys.executable, "-c", _HAIL.format(pid=os.getpid(), number=number)])
    try:
        for n in range(cells):
            shell.user_ns["n"] = n
            try:
                result = shell.run_cell(_CELLS[n % len(_CELLS)], store_history=False)
                error = result.error_in_exec or result.error_before_exec
            except BaseException as escaped:
                error = escaped
                outcome.stray.append(f"escaped from run_cell: {escaped!r}")
            if error is None or isinstance(error, ValueError):
                outcome.finished += 1
            elif isinstance(error, (MemoryPressure, MemoryStop)):
                outcome.stopped += 1
            else:
                outcome.stray.append(repr(error))
            if state.watchdog.is_armed or state.running or resource.getrlimit(resource.RLIMIT_DATA) != limit:
                left = f"armed {state.watchdog.is_armed}, runs {len(state.running)}"
                outcome.stray.append(f"cell {n} left something behind: {left}, {error!r}")
                break
    finally:
        hail.kill()
        hail.wait()
        state.close()
    return outcome


def main() -> int:
    """Print how many cells ran, were stopped, and went wrong; 0 where none did."""
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    outcome = race(cells)
    stray = len(outcome.stray)
    print(f"{cells} cells: {outcome.finished} finished, {outcome.stopped} stopped, {stray} stray")
    for text in outcome.stray[:10]:
        print(f"  {text}")
    return 1 if stray or not outcome.stopped else 0


if __name__ == "__main__":
    sys.exit(main())
