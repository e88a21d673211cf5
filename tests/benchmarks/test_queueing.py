"""The simulated queue: against what is known of queues, and with the real waits of a lease."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.queueing import cold_key, outage, served, steady


@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.floats(0.001, 2))
def test_answers_come_one_after_the_other(arrivals: list[float], service: float) -> None:
    """The same as a clerk who takes each paper when the one before is done."""
    free, waits = 0.0, []
    for come in sorted(arrivals):
        free = max(free, come) + service
        waits.append(free - come)
    found = served(arrivals, service, 10)
    assert found.drained == pytest.approx(free)
    assert found.median == pytest.approx(float(np.median(waits)))


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_waits_are_those_of_the_formula(load: float) -> None:
    """Pollaczek and Khinchine, 1930: with constant service the mean wait in the queue is load / (2 (1 - load)) services."""
    service, rate = 0.001, load / 0.001
    draw = np.random.default_rng(1)
    count = 400_000
    arrivals = np.cumsum(draw.exponential(1 / rate, count))
    found = served(arrivals, service, count / rate)
    assert found.load == pytest.approx(load)
    assert found.mean - service == pytest.approx(service * load / (2 * (1 - load)), rel=0.1)
    assert service <= found.median <= found.p99


def test_a_server_that_is_full_never_catches_up() -> None:
    assert steady(100, 1.0, 0.001).load == pytest.approx(0.1, rel=0.2)
    full = steady(10_000, 1.0, 0.001)
    assert full.load > 9
    assert full.drained > 90


def test_those_who_wait_for_a_key_look_four_times_a_second() -> None:
    """After the first half second, so their number times forty over ten seconds, and a few more."""
    found = cold_key(100, 1e-6)
    assert 40 <= found.requests / 100 <= 50


def test_a_circuit_that_opens_is_one_request_a_worker() -> None:
    assert outage(1_000, 1.0, 1e-5).requests == 1_000
