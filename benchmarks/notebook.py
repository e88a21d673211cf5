"""Guarded cells: what the first line adds to a cell in a real kernel, and what loading the extension takes."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.table import Row, as_text

__all__ = ["rows", "run"]

_LINES = ("%%guard view=off", "%%guard", "%%guard retry=3", "%%guard mem=0.9 view=off", "%%guard mem=0.9")
_BUDGET = 500_000.0
_LOAD_BUDGET = 50_000_000.0
_LOADING = """
import json, time
began = time.perf_counter()
get_ipython().run_line_magic("load_ext", "mlguard_nb")
print(json.dumps((time.perf_counter() - began) * 1e9))
"""
_CELLS = """
import statistics
def median(cell, times=300, warm=50):
    taken = []
    for _ in range(times + warm):
        began = time.perf_counter()
        get_ipython().run_cell(cell, store_history=False)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[warm:]) * 1e9
print(json.dumps({line: median(line + "\\nx = 1") for line in LINES}))
"""


def rows() -> list[Row]:
    """What each line adds to `x = 1` (the median of 300 cells, one after the other), and the loading, in nanoseconds."""
    from tests.notebook.kernels import Kernel

    kernel = Kernel(load=False)
    try:
        loading = float(json.loads(kernel.run(_LOADING).stdout))
        told = kernel.run(f"LINES = {('#', *_LINES)!r}\n{_CELLS}", timeout=120)
    finally:
        kernel.close()
    found: dict[str, float] = json.loads(told.stdout)
    plain = found.pop("#")
    added = [Row(line, taken - plain, plain, budget=_BUDGET) for line, taken in found.items()]
    return [*added, Row("%load_ext mlguard_nb", loading, plain, budget=_LOAD_BUDGET)]


def run(results: Path) -> str:
    """The table. Half of what a live view costs is the message that carries it."""
    return f"added to a cell of one assignment; base: the cell without its first line\n{as_text(rows())}"
