"""Guarded cells: what the first line adds to a cell in a real kernel, and what loading the extension takes."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.table import Row, as_text, spoken

__all__ = ["rows", "run"]

_LINES = ("%%guard view=off", "%%guard", "%%guard retry=3", "%%guard mem=0.9 view=off", "%%guard mem=0.9")
_BUDGET = 500_000.0
_LOAD_BUDGET = 50_000_000.0
_LOADING = """
import json, time
began = time.thread_time()
get_ipython().run_line_magic("load_ext", "mlguard_nb")
print(json.dumps((time.thread_time() - began) * 1e9))
"""
# The cells take turns: each finds the caches of the processor as full of other things as it would between two people's
# cells. A cell that is run for the first time has a text of its own.
_CELLS = """
import statistics
def taken(line, value):
    began, began_on_the_wall = time.thread_time(), time.perf_counter()
    get_ipython().run_cell(f"{line}\\nx = {value}", store_history=False)
    return time.thread_time() - began, time.perf_counter() - began_on_the_wall
for line in LINES:
    taken(line, 1)
kinds = [(line, is_first) for is_first in (False, True) for line in LINES]
turns = [[taken(line, number if is_first else 1) for line, is_first in kinds] for number in range(2, 302)]
def figures(pairs):
    processor, wall = zip(*pairs)
    return [statistics.quantiles(processor, n=10)[0] * 1e9, statistics.median(wall) * 1e9]
print(json.dumps([figures(pairs) for pairs in zip(*turns)]))
"""


def rows() -> tuple[list[Row], dict[str, float]]:
    """What each line adds to `x = 1`, and the loading, in nanoseconds of the kernel's main thread.

    The lowest of ten parts of 300 cells, which is what they take where nothing disturbs. With it what each line adds
    on the clock of the wall, the waits for other threads and processes included (the median).
    """
    lines = ("#", *_LINES)
    kernel = _kernel()
    try:
        told = kernel.run(f"import json, time\n%load_ext mlguard_nb\nLINES = {lines!r}\n{_CELLS}", timeout=200)
    finally:
        kernel.close()
    found: list[tuple[float, float]] = json.loads(told.stdout)
    again, first = found[: len(lines)], found[len(lines) :]
    added: list[Row] = []
    wall: dict[str, float] = {}
    for suffix, ((plain, plain_wall), *guarded) in (("", again), (", first run", first)):
        for line, (taken, taken_wall) in zip(_LINES, guarded, strict=True):
            added.append(Row(line + suffix, taken - plain, plain, budget=_BUDGET))
            wall[line + suffix] = taken_wall - plain_wall
    return [*added, Row("%load_ext mlguard_nb", _loading(), again[0][0], budget=_LOAD_BUDGET)], wall


def _kernel(**environment: str) -> Any:
    from tests.notebook.kernels import Kernel

    return Kernel(load=False, environment=environment)


def _loading(times: int = 4) -> float:
    """The least of some kernels; the byte code is there, as the first of them has written it."""
    with TemporaryDirectory() as folder:
        taken = []
        for _ in range(times):
            kernel = _kernel(PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=folder)
            try:
                taken.append(float(json.loads(kernel.run(_LOADING).stdout)))
            finally:
                kernel.close()
    return min(taken[1:])


def run(results: Path) -> str:
    """The table. Most of what a live view costs is the message that carries it."""
    found, wall = rows()
    waits = "\n".join(f"  {line:{36}} {spoken(added):>9}" for line, added in wall.items())
    return (
        "added to a cell of one assignment, in processor time of the kernel's main thread; base: the cell without its "
        f"first line\n{as_text(found)}\non the clock of the wall, median:\n{waits}"
    )
