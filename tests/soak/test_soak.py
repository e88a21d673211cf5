"""The soak in seconds, and that it would notice: a lost call, a wrong value, a leak."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.soak import leaks
from tests.soak.leaks import Rest
from tests.soak.tally import Tally, WrongValue

ROOT = Path(__file__).resolve().parents[2]


def test_fifteen_seconds_of_mixed_load_with_every_fault_break_nothing() -> None:
    """The program behind `make soak`, three rounds of all faults."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--minutes", "0.25"], cwd=ROOT, capture_output=True, text=True, timeout=240
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 breaches" in done.stdout
    assert "round 3 of 3" in done.stdout
    for fault in ("memory full", "memory nearly full", "clock jumps an hour", "time of day set back"):
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(fault))
        assert line.split()[-1] == "3"


def test_a_wrong_value_and_an_error_that_was_not_expected_are_breaches() -> None:
    tally = Tally()
    with tally.call("job") as outcome:
        outcome.append("value")
    with tally.call("job"):
        raise WrongValue("got 3, not 4")

    assert tally.breaches({}) == ["wrong: job: WrongValue: got 3, not 4"]
    assert tally.outcomes("job") == {"value": 1, "wrong": 1}


def test_a_call_that_does_not_come_back_is_seen_while_it_is_away_and_in_the_account() -> None:
    tally = Tally()
    away = tally.call("job")
    away.__enter__()

    assert tally.under_way() == 1
    assert tally.stuck(-1)[0].startswith("job for 0 s")
    assert tally.breaches({}) == ["lost: job began 1 calls, and 0 ended"]


def test_a_call_without_an_outcome_is_lost() -> None:
    tally = Tally()
    with tally.call("job"):
        pass

    assert tally.breaches({}) == ["lost: job has 1 calls without an outcome"]


def test_an_outcome_that_never_came_about_is_named() -> None:
    tally = Tally()
    with tally.call("job") as outcome:
        outcome.append("value")

    assert tally.breaches({"job": frozenset({"value", "refused"})}) == ["not reached: job never ended in refused"]


def test_what_grows_after_the_first_third_is_a_leak_and_what_fills_before_is_none() -> None:
    filling = [Rest(traced, 0, 20, 30) for traced in (1_000_000, 4_000_000, 5_000_000, 5_000_000, 5_010_000, 5_000_000)]
    leaking = [Rest(5_000_000 + 400_000 * number, 0, 20 + number, 30) for number in range(6)]

    assert leaks.breaches(filling[1:]) == []
    assert leaks.breaches(leaking) == [
        "leak: traced_bytes grew by 800,000, and 400,000 are allowed",
        "leak: threads grew by 2, and 0 are allowed",
    ]


def test_what_is_measured_is_this_process() -> None:
    rest = leaks.measure()

    assert rest.threads >= 1
    assert rest.files >= 3
    assert rest.resident_bytes > 1_000_000
