"""Drift measured off the call path: served rows go into a reservoir that a thread compares with the training data."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.runtime.reference import Drift, Reference, numeric_columns

__all__ = ["RESERVOIR_ROWS", "DriftWatch"]

RESERVOIR_ROWS = 10_000
# Fewer rows than this say little about a distribution: with 500, ten bins hold 50 each.
LEAST_ROWS = 500
_WAITING = 64  # calls whose data waits for the thread; more are left out and counted

_log = logging.getLogger("mlguard.validate")


class DriftWatch:
    """The reservoir of one function. `tell` gets the distances each time they were measured, on the thread.

    Reservoir sampling (Vitter 1985, algorithm R) gives every served row the same chance to be among the last
    RESERVOIR_ROWS kept, whatever the size of the calls.
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
        """Hand over the data of one call; costs a queue's put and never waits."""
        if self._process != os.getpid():  # a forked child has the queue but not the thread
            self._start()
        try:
            self._waiting.put_nowait(data)
        except queue.Full:
            self.left_out += 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlguard-drift", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Wait until everything offered so far has been taken in, and measured where there are rows enough."""
        self._waiting.join()

    def _work(self) -> None:
        while True:
            data = self._waiting.get()
            try:
                self._take(data)
                if self._is_due():
                    self._measured_at = self._seen
                    self.tell(self._measure())
            except PolicyError as error:  # data with nothing numeric in it: the schema's business
                _log.debug("drift: %s", error)
            finally:
                self._waiting.task_done()

    def _is_due(self) -> bool:
        """At LEAST_ROWS, then at each doubling, then once for every full reservoir of new rows."""
        new = self._seen - self._measured_at
        return self._seen >= LEAST_ROWS and new >= min(max(self._measured_at, 1), RESERVOIR_ROWS)

    def _take(self, data: Any) -> None:
        import numpy as np

        columns = dict(numeric_columns(data))
        length = max((len(values) for values in columns.values()), default=0)
        if not length:
            return
        nothing = np.full(length, np.nan)
        new = np.column_stack([columns.get(name, nothing) for name in self._names])
        if self._rows is None:
            self._rows = np.empty((0, len(self._names)))
        room = RESERVOIR_ROWS - len(self._rows)
        if room > 0:
            self._rows = np.vstack([self._rows, new[:room]])
        rest = new[max(room, 0) :]
        self._seen += length - len(rest)
        places = self._random.integers(0, self._seen + 1 + np.arange(len(rest)))
        kept = places < RESERVOIR_ROWS
        self._rows[places[kept]] = rest[kept]
        self._seen += len(rest)

    def _measure(self) -> tuple[Drift, ...]:
        by_column = {name: self._rows[:, place] for place, name in enumerate(self._names)}
        return self.reference.compare_columns(by_column)
