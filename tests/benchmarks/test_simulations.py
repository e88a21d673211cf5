"""What the design claims of jitter, budgets and single-flight comes out of the guards themselves, in virtual time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks import simulations
from benchmarks.simulations import all_findings, outage, stampede, thundering_herd
from benchmarks.virtual_time import simulate
from mlguard_nb import clock, retry

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def claimed() -> list[simulations.Finding]:
    return [found for found in all_findings() if found.claimed is not None]


def test_every_claim_of_the_design_comes_out_within_three_percent(claimed: list[simulations.Finding]) -> None:
    """The model behind 1,943 computations is not written down; even arrivals and half a second a computation give 1,900."""
    assert len(claimed) == 9
    for found in claimed:
        assert found.measured == pytest.approx(found.claimed, rel=0.03), found


def test_the_table_shows_claim_and_figure_side_by_side(claimed: list[simulations.Finding]) -> None:
    (line,) = (row for row in simulations.as_text(claimed).splitlines() if "no jitter" in row and "served" not in row)

    assert line.split()[-5:] == ["25.5", "25.5", "calls", "a", "client"]


def test_the_docs_hold_the_table_as_it_comes_out() -> None:
    """Virtual time and a fixed seed: the same figures on every machine."""
    assert simulations.as_text(all_findings()) in (DOCS / "benchmarks.md").read_text()


def test_a_budget_lets_a_hundred_retries_pass_and_then_none() -> None:
    """The default budget: capacity 500, 5 a retry."""
    assert len(outage(with_budget=True, rate=100, seconds=50)) == 100 * 50 + 100


def test_the_same_seed_gives_the_same_herd_to_the_last_digit() -> None:
    first = thundering_herd("full", 0.5, clients=50)
    thundering_herd.cache_clear()

    assert thundering_herd("full", 0.5, clients=50).times == first.times


def test_stale_while_revalidate_makes_only_the_first_callers_wait() -> None:
    """Half a second at 200 calls a second: 100 wait for the first result, and nobody ever again."""
    seen = stampede("single-flight, SWR", rate=200, seconds=40)

    assert seen.waited == 100
    assert len(seen.times) == 4


def test_virtual_hours_pass_in_order_and_a_blocking_wait_is_refused() -> None:
    woken: list[str] = []

    async def wake(name: str, hours: float) -> None:
        await asyncio.sleep(hours * 3600)
        woken.append(name)

    @retry(attempts=2, wait_initial=1.0, jitter=None)
    def blocking() -> None:
        raise TimeoutError

    async def main() -> float:
        await asyncio.gather(wake("second", 2), wake("first", 1))
        with pytest.raises(RuntimeError, match=r"blocked for 1\.0 s; it must await"):
            blocking()
        return asyncio.get_running_loop().time()

    before = clock.current()

    assert simulate(main(), seed=1) == pytest.approx(2 * 3600)
    assert woken == ["first", "second"]
    assert clock.current() is before
