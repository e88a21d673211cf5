"""`python -m benchmarks`: measure, print the table, keep text and picture below benchmarks/results/."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from benchmarks import runtime
from benchmarks.table import as_text, draw


def main() -> int:
    """Print the figures of one run; never fails on the clock alone."""
    results = Path(__file__).with_name("results")
    results.mkdir(exist_ok=True)
    head = f"Python {platform.python_version()}, {platform.machine()}; minima of timeit; ratios hold on one machine and one run"
    print(head)
    rows = runtime.rows()
    text = as_text(rows)
    print(text)
    (results / "runtime.txt").write_text(f"{head}\n{text}\n")
    draw(rows, results / "runtime.png")
    print(f"kept in {results.relative_to(Path.cwd()) if results.is_relative_to(Path.cwd()) else results}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
