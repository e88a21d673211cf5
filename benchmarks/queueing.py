"""Many workers before one server: how busy it is and how long they wait, simulated in virtual time.

A server answers one request after the other, each after the same time, which was measured on a real one. Requests come
at random (Poisson), as those of workers that know nothing of each other do, or when the code under test sends them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlguard_nb.runtime.stores.leases import Lease

__all__ = ["Queue", "cold_key", "outage", "served", "steady"]

SEED = 7


@dataclass(frozen=True, slots=True)
class Queue:
    """What came of it. `load` is the share of its time that the server would need; above 1 the queue only grows.

    Waits are seconds from a request to its answer; `drained` is when the last one was answered.
    """

    requests: int
    load: float
    mean: float
    median: float
    p99: float
    drained: float


def served(arrivals: Any, service: float, seconds: float) -> Queue:
    """Requests at the times `arrivals`, within `seconds`, each of which takes `service` seconds."""
    come = np.sort(np.asarray(arrivals, dtype=float))
    work = service * np.arange(1, len(come) + 1)
    # An answer comes one service time after the request, or after the answer before it (Lindley, 1952).
    answered = work + np.maximum.accumulate(come - (work - service))
    waited = answered - come
    median, p99 = np.quantile(waited, [0.5, 0.99])
    return Queue(
        len(come), len(come) * service / seconds, float(waited.mean()), float(median), float(p99), float(answered[-1])
    )


def steady(workers: int, rate: float, service: float, seconds: float = 10.0) -> Queue:
    """Each of `workers` sends `rate` requests a second, for `seconds`."""
    draw = np.random.default_rng(SEED)
    count = max(1, draw.poisson(workers * rate * seconds))
    return served(draw.uniform(0, seconds, count), service, seconds)


def cold_key(workers: int, service: float, computing: float = 10.0) -> Queue:
    """All want one key within a second; one computes it, the others ask again as a lease's `waits` tells them."""
    first = np.random.default_rng(SEED).uniform(0, 1, workers)
    looks = np.cumsum([0.0, *itertools.takewhile(lambda wait: wait < 0.25, Lease.waits())])
    late = np.arange(looks[-1] + 0.25, computing + 0.25, 0.25)
    asked = (first[:, None] + np.concatenate([looks, late])[None, :]).ravel()
    return served(asked[asked < computing + 0.25], service, computing)


def outage(workers: int, rate: float, service: float) -> Queue:
    """A service dies: each worker's next call fails, which it tells the server, and learns that the circuit is open."""
    return served(np.random.default_rng(SEED).exponential(1 / rate, workers), service, 1 / rate)
