"""Drift measured off the call path: served rows go into a reservoir that a thread compares with the training data."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.runtime.arrays import as_numpy
from mlguard_nb.runtime.frames import is_frame
from mlguard_nb.runtime.reference import Drift, Reference, numeric_columns

__all__ = ["LEAST_ROWS", "MOST_ROWS", "RESERVOIR_ROWS", "DriftWatch"]

RESERVOIR_ROWS = 10_000
# Fewer rows than this say little about a distribution: with 500, ten bins hold 50 each.
LEAST_ROWS = 500
MOST_ROWS = 1_000  # of one call, evenly spaced: they are copied while the caller waits
_WAITING = 64  # calls whose rows wait for the thread; more are left out and counted

_log = logging.getLogger("mlguard.validate")


class DriftWatch:
    """The reservoir of one function. `tell` gets the distances each time they were measured, on the thread.

    Once the reservoir is full a served row takes the place of any of those kept. So it holds the recent past, a row
    for RESERVOIR_ROWS rows on average, and a shift shows however long the process has served good data before.
    """

    def __init__(self, reference: Reference, tell: Callable[[tuple[Drift, ...]], None], seed: int = 0) -> None:
        self.reference, self.tell, self.seed = reference, tell, seed
        self.left_out = 0
        self._names = tuple(name for name, _profile in reference.columns)
        self._start()

    def _start(self) -> None:
        import numpy as np

        self._waiting: queue.Queue[Any] = queue.Queue(maxsize=_WAITING)
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._random = np.random.default_rng(self.seed)
        self._rows: Any = None
        self._seen = self._measured_at = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"reference": self.reference, "tell": self.tell, "seed": self.seed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def offer(self, data: Any) -> None:
        """Hand over some rows of one call; never waits for the thread. They are copied, since the function may write
        into its argument before the thread has looked.
        """
        if self._process != os.getpid():  # a forked child has the queue but not the thread
            self._start()
        if self._waiting.full():
            self.left_out += 1
            return
        try:
            self._waiting.put_nowait(self._some_rows(data))
        except queue.Full:  # another thread was faster
            self.left_out += 1
        except PolicyError as error:  # data with nothing numeric in it: the schema's business
            _log.debug("drift: %s", error)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlguard-drift", daemon=True)
            self._thread.start()

    def _some_rows(self, data: Any) -> Any:
        """Rows by columns of the reference, float64, at most MOST_ROWS; what a column lacks is NaN."""
        import numpy as np

        step = max(1, -(-len(data) // MOST_ROWS)) if getattr(data, "shape", ()) else 1
        if step > 1:
            data = data.iloc[::step] if is_frame(data) and hasattr(data, "iloc") else data[::step]
        columns = dict(numeric_columns(data if is_frame(data) else as_numpy(data)))
        length = max((len(values) for values in columns.values()), default=0)
        nothing = np.full(length, np.nan)
        return np.column_stack([columns.get(name, nothing) for name in self._names]).astype("float64", copy=False)

    def flush(self) -> None:
        """Wait until everything offered so far has been taken in, and measured where there are rows enough."""
        self._waiting.join()

    def _work(self) -> None:
        while True:
            rows = self._waiting.get()
            try:
                self._take(rows)
                if self._is_due():
                    self._measured_at = self._seen
                    self.tell(self._measure())
            except Exception:  # the thread must go on: what it measures fails no call
                _log.exception("drift could not be measured")
            finally:
                self._waiting.task_done()

    def _is_due(self) -> bool:
        """At LEAST_ROWS, then at each doubling, then whenever half a reservoir of rows is new."""
        new = self._seen - self._measured_at
        return self._seen >= LEAST_ROWS and new >= min(max(self._measured_at, 1), RESERVOIR_ROWS // 2)

    def _take(self, new: Any) -> None:
        import numpy as np

        if self._rows is None:
            self._rows = np.empty((0, len(self._names)))
        room = max(0, RESERVOIR_ROWS - len(self._rows))
        if room:
            self._rows = np.vstack([self._rows, new[:room]])
        rest = new[room:]
        self._rows[self._random.integers(0, RESERVOIR_ROWS, len(rest))] = rest
        self._seen += len(new)

    def _measure(self) -> tuple[Drift, ...]:
        by_column = {name: self._rows[:, place] for place, name in enumerate(self._names)}
        return self.reference.compare_columns(by_column)
