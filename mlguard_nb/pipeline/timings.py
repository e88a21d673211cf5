"""What `%timeit -o` gives a notebook, outside of one: how long a call takes."""

from __future__ import annotations

import statistics
import timeit
from collections.abc import Callable
from typing import Any

__all__ = ["Timings", "measured"]


class Timings:
    """Seconds: `all_runs` of each run of `loops` calls, `timings` of a call in each run."""

    def __init__(self, loops: int, all_runs: list[float]) -> None:
        self.loops, self.repeat, self.all_runs = loops, len(all_runs), all_runs
        self.timings = [run / loops for run in all_runs]
        self.best, self.worst = min(self.timings), max(self.timings)
        self.average, self.stdev = statistics.fmean(self.timings), statistics.pstdev(self.timings)
        self.compile_time = 0.0

    def __str__(self) -> str:
        return f"{self.average:.3g} s +- {self.stdev:.3g} s per loop ({self.repeat} runs of {self.loops} loops)"

    __repr__ = __str__


def measured(function: Callable[[], Any], *, loops: int | None = None, repeat: int = 7) -> Timings:
    """Time `function` in `repeat` runs of `loops` calls; without `loops` as many as take at least 0.2 s."""
    timer = timeit.Timer(function)
    loops = loops or timer.autorange()[0]
    return Timings(loops, timer.repeat(repeat, loops))
