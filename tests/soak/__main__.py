"""`python -m tests.soak --minutes 10`: mixed load with faults. No call may be lost, no value wrong, nothing may leak.

Ends with 1 when something was, and says what. A part that this machine cannot run is named as NOT TESTED.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import sys
import tempfile
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TypeVar

from mlguard_nb import clock as clocks
from mlguard_nb import devices
from mlguard_nb.runtime import caching
from mlguard_nb.telemetry import bus
from tests.soak import leaks
from tests.soak.async_jobs import AsyncJob, async_jobs
from tests.soak.faults import Fault, all_faults
from tests.soak.jobs import Job, Model, sync_jobs
from tests.soak.load import Load
from tests.soak.machine import (
    ContainedMachine,
    JumpingClock,
    NotHere,
    SoakMachine,
    contained,
    load_driver_double,
    start_redis,
)

STUCK_SECONDS = 60.0
T = TypeVar("T")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--workers", type=int, default=6, help="threads, and as many tasks (default: 6)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    logging.getLogger("mlguard").addHandler(logging.NullHandler())
    logging.getLogger("mlguard").propagate = False
    with tempfile.TemporaryDirectory() as name, ExitStack() as entered:
        machine = _or_none(lambda: entered.enter_context(contained())) or SoakMachine()
        print(f"memory: {'a control group, really filled' if isinstance(machine, ContainedMachine) else 'simulated'}")
        return _soak(Path(name), machine, asked.minutes * 60, asked.workers, asked.seed)


def _soak(folder: Path, machine: SoakMachine, seconds: float, workers: int, seed: int) -> int:
    import prometheus_client  # noqa: F401 - once it is imported, monitor counts into its registry

    redis = _or_none(lambda: start_redis(folder))
    driver = _or_none(lambda: load_driver_double(folder))
    clock, random = JumpingClock(), Random(seed)
    clocks.install(clock)
    devices.install(machine)
    jobs = sync_jobs(folder, redis.url if redis else None, driver is not None)
    awaited = async_jobs()
    load = Load(jobs, awaited, workers, seed)
    faults = all_faults(random, clock, machine, driver, redis)
    run = _Run(load, (*jobs, *awaited), faults, random)
    tracemalloc.start()
    try:
        run.go_for(seconds)
        run.breaches += [text for job in jobs if (text := job.check())]
    finally:
        if redis is not None:
            redis.kill()
    return run.report()


def _or_none(make: Callable[[], T]) -> T | None:
    try:
        return make()
    except NotHere as reason:
        print(f"NOT TESTED: {reason}", flush=True)
        return None


class _Run:
    """One run: a round of all faults, a rest in which everything is measured, and so on until the time is over."""

    def __init__(self, load: Load, jobs: Sequence[Job | AsyncJob], faults: Sequence[Fault], random: Random) -> None:
        self.load, self.jobs, self.faults, self.random = load, jobs, faults, random
        self.happened: Counter[str] = Counter()
        self.rests: list[leaks.Rest] = []
        self.breaches: list[str] = []
        self.started = time.monotonic()

    def go_for(self, seconds: float) -> None:
        """At least three rounds, however short the time, since growth is seen between rests."""
        rounds = max(3, round(seconds / 60))
        each = seconds / rounds / len(self.faults)
        self.load.start()
        for number in range(rounds):
            for fault in self.random.sample(self.faults, len(self.faults)):
                fault.begin()
                try:
                    self._wait(each * 0.6)
                finally:
                    fault.end()
                self.happened[fault.name] += 1
                self._wait(each * 0.4)
            self._rest(number + 1, rounds)
            if self.breaches:
                break
        if not self.load.stop():
            self.breaches.append("a thread of the load did not end")

    def _wait(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(0.25, left))
            stuck = self.load.tally.stuck(STUCK_SECONDS)
            if stuck:
                faulthandler.dump_traceback(all_threads=True)
                self.breaches.append(f"never came back: {', '.join(stuck)}")
                return

    def _rest(self, number: int, rounds: int) -> None:
        if not self.load.rest():
            faulthandler.dump_traceback(all_threads=True)
            self.breaches.append(f"never came back: {', '.join(self.load.tally.stuck(0))}")
            return
        for cache in list(caching._ALL):
            cache.behind.join()
            cache.shelf.clear()
        bus.flush()
        for thread in threading.enumerate():
            if thread.name in ("mlguard-hits", "mlguard-holders"):  # these come and go
                thread.join(5)
        self.rests.append(leaks.measure())
        self.breaches += [*self._miscounted(), *self._kept_objects()]
        rest = self.rests[-1]
        print(
            f"{time.monotonic() - self.started:6.0f} s  round {number} of {rounds}: "
            f"{sum(self.load.tally.begun.values()):,} calls, {sum(self.happened.values())} faults, "
            f"{rest.traced_bytes / 1e6:.2f} MB traced, {rest.resident_bytes / 1e6:.0f} MB resident, "
            f"{rest.threads} threads, {rest.files} files",
            flush=True,
        )
        self.load.go_on()

    def _miscounted(self) -> list[str]:
        """What monitor counted must be what was called."""
        import prometheus_client

        counted: Counter[str] = Counter()
        for family in prometheus_client.REGISTRY.collect():
            for sample in family.samples:
                if sample.name == "mlguard_calls_total":
                    counted[sample.labels["function"]] += int(sample.value)
        begun = self.load.tally.begun
        return [
            f"miscounted: monitor saw {counted[job.name]} calls of {job.name}, the load made {begun[job.name] * job.calls}"
            for job in self.jobs
            if counted[job.name] != begun[job.name] * job.calls
        ]

    def _kept_objects(self) -> list[str]:
        return [f"leak: {len(Model.alive)} objects with a cached method are still alive"] if len(Model.alive) else []

    def report(self) -> int:
        """Print the tables; 1 where something is wrong."""
        tally = self.load.tally
        print(f"\n{'job':18} {'calls':>9}  outcomes")
        for job, begun in sorted(tally.begun.items()):
            outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in tally.outcomes(job).items())
            print(f"{job:18} {begun:9,}  {outcomes}")
        print(f"\n{'fault':22} {'times':>6}")
        for fault in self.faults:
            print(f"{fault.name:22} {self.happened[fault.name]:6}")
        found = [
            *self.breaches,
            *tally.breaches({job.name: job.must_see for job in self.jobs}),
            *leaks.breaches(self.rests),
        ]
        if self.rests:
            print(f"\n{'process':16} {'first rest':>14} {'last rest':>14} {'grew late':>12} {'allowed':>12}")
            for name, more in leaks.growth(self.rests).items():
                first, last = getattr(self.rests[0], name), getattr(self.rests[-1], name)
                print(f"{name:16} {first:14,} {last:14,} {more:12,.0f} {leaks.ALLOWED[name]:12,}")
        for text in found:
            print(f"BREACH {text}")
        calls = sum(tally.begun.values())
        print(f"\n{calls:,} calls in {time.monotonic() - self.started:.0f} s: {len(found)} breaches")
        print(f"threads: {', '.join(sorted(thread.name for thread in threading.enumerate()))}")
        return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
