"""The threads and tasks that make the calls, and the rests in which nobody does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from random import Random

from tests.soak.async_jobs import AsyncJob
from tests.soak.jobs import Job
from tests.soak.tally import Tally

PAUSE_SECONDS = 0.004  # of each worker between two calls: the load is mixed, not heavy


class Load:
    """`workers` threads that take turns through `jobs`, and one loop with as many tasks for the async ones."""

    def __init__(self, jobs: Sequence[Job], async_jobs: Sequence[AsyncJob], workers: int, seed: int) -> None:
        self.tally = Tally()
        self._resting, self._stopping = threading.Event(), threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(jobs, Random(seed + number)), name=f"soak-{number}", daemon=True)
            for number in range(workers)
        ]
        self._threads.append(
            threading.Thread(target=self._loop, args=(async_jobs, workers, seed), name="soak-loop", daemon=True)
        )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def rest(self, patience: float = 30.0) -> bool:
        """Let the calls under way end and begin none; False where one does not end."""
        self._resting.set()
        return self._settled(patience)

    def go_on(self) -> None:
        self._resting.clear()

    def stop(self, patience: float = 30.0) -> bool:
        """End the threads; False where one does not end."""
        self._stopping.set()
        self._resting.clear()
        for thread in self._threads:
            thread.join(patience)
        return not any(thread.is_alive() for thread in self._threads)

    def _settled(self, patience: float) -> bool:
        give_up = time.monotonic() + patience
        while self.tally.under_way() and time.monotonic() < give_up:
            time.sleep(0.01)
        return not self.tally.under_way()

    def _work(self, jobs: Sequence[Job], random: Random) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            if self._resting.is_set():
                continue
            job = random.choice(jobs)
            with self.tally.call(job.name) as outcome:
                outcome.append(job.call(random))

    def _loop(self, jobs: Sequence[AsyncJob], tasks: int, seed: int) -> None:
        async def work(random: Random) -> None:
            while not self._stopping.is_set():
                await asyncio.sleep(PAUSE_SECONDS)
                if self._resting.is_set():
                    continue
                job = random.choice(jobs)
                with self.tally.call(job.name) as outcome:
                    outcome.append(await job.call(random))

        async def all_of_them() -> None:
            await asyncio.gather(*(work(Random(seed + 1000 + number)) for number in range(tasks)))

        asyncio.run(all_of_them())
