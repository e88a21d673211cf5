"""A long notebook in miniature: guarded cells of every kind in one kernel, with nothing growing and no output lost.

`make soak` runs this file: 2,000 cells; `python -m tests.notebook.soak_cells 200` runs as many as it is told.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.devices.nvml_double import compile_double
from tests.notebook.kernels import Answer, Kernel

CELLS = 2000
SETUP = """
import asyncio, gc, os, resource, threading, time
import numpy as np
loads = []
def flaky(number):
    loads.append(number)
    if loads.count(number) < 2: raise ConnectionError(f"shard {number}")
    return number
def small(count=1): return {"fitted": count}
def census():
    gc.collect()
    page = os.sysconf("SC_PAGE_SIZE")
    return (int(open("/proc/self/statm").read().split()[1]) * page, len(os.listdir("/proc/self/task")),
            len(os.listdir("/proc/self/fd")), len(open("/proc/self/maps").readlines()))
"""


@dataclass(frozen=True)
class Kind:
    """One kind of cell: its source for cell number `{n}`, and what its answer must be."""

    name: str
    source: str
    is_right: Callable[[Answer, int], bool]
    interrupt_when: str | None = None


def _said(answer: Answer, number: int) -> bool:
    return answer.error is None and answer.stdout == f"cell {number}\n"


def _outcome(wanted: str, error: str | None = None) -> Callable[[Answer, int], bool]:
    return lambda answer, number: answer.view["outcome"] == wanted and answer.error == error


KINDS = (
    Kind("fine", "%%guard retry=2 mem=0.95\nprint('cell {n}')", _said),
    Kind("with a result", "%%guard\n{n} * 2", lambda answer, number: answer.result == str(number * 2)),
    Kind("that displays", "%%guard mem=0.95\nx = np.ones(200_000)\ndisplay({n})\nprint('cell {n}')", _said),
    Kind("failing", "%%guard mem=0.95\nbig = np.ones(500_000)\nraise ValueError({n})", _outcome("failed", "ValueError")),
    Kind("retried", "%%guard retry=3 wait=0s\nflaky({n})\nprint('cell {n}')", _said),
    Kind("given up", "%%guard retry=2 wait=0s\nraise ConnectionError({n})", _outcome("failed", "ConnectionError")),
    Kind("cached", "%%guard cache=1h\nkept = {n} // 40\nprint('cell', {n} // 40)", lambda a, n: a.stdout == f"cell {n // 40}\n"),
    Kind("refused for memory", "%%guard mem=1MB\nnever = {n}", _outcome("refused", "MemoryPressure")),
    Kind("that never fits", "%%guard mem=0.95\nx = np.ones(73 << 37)", _outcome("failed", "MemoryPressure")),
    Kind("falling back", "%%guard mem=1MB fallback=small\nfitted = 2", _outcome("degraded")),
    Kind("that awaits", "%%guard retry=2\nawait asyncio.sleep(0)\nprint('cell {n}')", _said),
    Kind("timed out", "%%guard retry=1 timeout=0.05s\nwhile True: pass", _outcome("failed", "TimeoutError")),
    Kind("interrupted", "%%guard mem=0.95\nprint('go')\ntime.sleep(60)", _outcome("interrupted", "KeyboardInterrupt"), "go"),
    Kind("with a bad line", "%%guard retires={n}\nnever = 1", lambda answer, number: "did you mean retry?" in answer.stderr),
    Kind("that defines", "%%guard retry=2 mem=0.95\ndef step(): return {n}", _outcome("defs")),
)  # fmt: skip


@dataclass(frozen=True)
class Census:
    """What the kernel holds: bytes resident, threads, file descriptors and mappings."""

    resident: int
    threads: int
    descriptors: int
    mappings: int


@dataclass(frozen=True)
class Report:
    """`wrong` lists cells that did not answer as they must; `early` and `late` are the kernel near begin and end."""

    cells: int
    kinds: dict[str, int]
    wrong: tuple[str, ...]
    early: Census
    late: Census
    sessions: int
    seconds: float

    def growth(self) -> tuple[str, ...]:
        """What grew by more than a warm allocator explains: 32 MiB, 2 threads, 4 descriptors."""
        told = []
        for name, most in (("resident", 32 << 20), ("threads", 2), ("descriptors", 4)):
            before, after = getattr(self.early, name), getattr(self.late, name)
            if after - before > most:
                told.append(f"{name}: {before} after a tenth of the cells, {after} at the end")
        if self.sessions > 1:
            told.append(f"{self.sessions} sessions of the driver are open, and one is enough")
        return tuple(told)


def _census(kernel: Kernel) -> Census:
    return Census(*map(int, str(kernel.run("census()").result).strip("()").split(", ")))


def soak(cells: int, library: Path | None = None) -> Report:
    """Run so many cells. With the folder of the NVML double as `library` the machine has a GPU, and what is open of the
    driver is counted.
    """
    wrong: list[str] = []
    kinds: Counter[str] = Counter()
    began = time.monotonic()
    with _kernel(library) as kernel:
        kernel.run(SETUP)
        early = None
        for number in range(cells):
            kind = KINDS[number % len(KINDS)]
            kinds[kind.name] += 1
            answer = kernel.run(kind.source.replace("{n}", str(number)), interrupt_when=kind.interrupt_when)
            if not kind.is_right(answer, number):
                wrong.append(f"cell {number} ({kind.name}): {answer}"[:800])
            if number == max(2 * len(KINDS), cells // 10):  # caches are warm, the history of runs is not yet full
                early = _census(kernel)
        assert early is not None, f"{cells} cells are too few to tell"
        late = _census(kernel)
        sessions = 0 if library is None else int(str(kernel.run(_SESSIONS).result))
    return Report(cells, dict(kinds), tuple(wrong), early, late, sessions, time.monotonic() - began)


_SESSIONS = "__import__('ctypes').CDLL('libnvidia-ml.so.1').mlguardOpenSessions()"


@contextlib.contextmanager
def _kernel(library: Path | None) -> Iterator[Kernel]:
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "gpus.txt"
        state.write_text("gpu GPU-1 85899345920 1073741824 5 40 90000 400000 A100\n")
        more = {} if library is None else {"LD_LIBRARY_PATH": str(library), "MLGUARD_NVML_STATE": str(state)}
        kernel = Kernel(environment=more)
        try:
            yield kernel
        finally:
            kernel.close()


def main() -> int:
    """0 when every cell answered as it must and nothing grew."""
    with tempfile.TemporaryDirectory() as folder:
        library = compile_double(Path(folder))
        if library is None:
            print("NOT TESTED: handles of the driver, for want of a C compiler (cc)")
        report = soak(int(sys.argv[1]) if sys.argv[1:] else CELLS, library)
    print(f"{report.cells} guarded cells in {report.seconds:.0f} s: {report.kinds}")
    print(f"after a tenth of them: {report.early}\nat the end:            {report.late}")
    print(f"sessions of the driver open at the end: {report.sessions}")
    for text in (*report.wrong, *report.growth()):
        print(f"WRONG {text}")
    return 1 if report.wrong or report.growth() else 0


if __name__ == "__main__":
    sys.exit(main())
