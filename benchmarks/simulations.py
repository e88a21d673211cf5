"""What jitter, retry budgets and single-flight are worth under load, simulated in virtual time with the real guards."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from benchmarks.virtual_time import simulate

__all__ = ["Finding", "all_findings", "outage", "run", "stampede", "thundering_herd"]

SEED = 7
Jitter = Literal["full", "decorrelated", "equal"] | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure of a simulation; `claimed` is what the design says, None where it says nothing."""

    what: str
    measured: float
    unit: str
    claimed: float | None = None
    digits: int = 0


def run(results: Path) -> str:
    """Every figure beside its claim; the picture shows the load over time."""
    herds = {f"{jitter or 'no'} jitter": thundering_herd(jitter, 0.5).times for jitter in (None, "equal", "full")}
    loads = {"plain retries": outage(with_budget=False), "with a retry budget": outage(with_budget=True)}
    caches = {"plain TTL": stampede("plain").times, "single-flight, SWR": stampede("single-flight, SWR").times}
    _draw(herds, loads, caches, results / "simulations.png")
    return f"Virtual time, seed {SEED}; benchmarks/simulations.py says what each assumes.\n{as_text(all_findings())}"


def all_findings() -> list[Finding]:
    """The figures of all three simulations."""
    return [*_herds(), *_outages(), *_stampedes()]


def as_text(findings: Sequence[Finding]) -> str:
    """Columns: what, what the design claims, what came out, its unit."""
    lines = [f"{'simulation':62} {'claim':>6} {'came out':>8}"]
    for found in findings:
        claim = "-" if found.claimed is None else f"{found.claimed:.{found.digits}f}"
        lines.append(f"{found.what:62} {claim:>6} {found.measured:>8.{found.digits}f} {found.unit}")
    return "\n".join(lines)


# Clients that failed together: a service that answers 20 requests in every tenth of a second refuses all others.


@dataclass(frozen=True, slots=True)
class Herd:
    """`times` of all calls that reached the service, in seconds; `clients` that wanted an answer."""

    times: list[float]
    clients: int

    @property
    def calls_a_client(self) -> float:
        return len(self.times) / self.clients


@cache
def thundering_herd(jitter: Jitter, initial: float, *, clients: int = 1000, cap: float = 5.0) -> Herd:
    """All clients call at once, and each tries again as `retry` tells it until it has its answer."""
    from mlguard_nb import retry

    times: list[float] = []
    taken: Counter[int] = Counter()

    async def ask() -> None:
        now = asyncio.get_running_loop().time()
        times.append(now)
        taken[int(now * 10)] += 1
        if taken[int(now * 10)] > 20:
            raise ConnectionError

    patient = retry(attempts=10_000, wait_initial=initial, wait_max=cap, jitter=jitter, budget=None)(ask)

    async def everybody() -> None:
        await asyncio.gather(*(patient() for _ in range(clients)))

    simulate(everybody(), SEED)
    return Herd(times, clients)


def _herds() -> list[Finding]:
    found: list[Finding] = []
    cases: list[tuple[Jitter, float, float | None, float | None]] = [
        (None, 0.1, 25.5, 221.0), ("full", 0.1, 6.3, None), ("full", 0.5, 4.2, None), ("full", 1.0, 3.5, None),
        ("equal", 0.5, None, None), ("decorrelated", 0.5, None, None),
    ]  # fmt: skip
    for jitter, initial, calls, seconds in cases:
        herd = thundering_herd(jitter, initial)
        what = f"1000 fail together, {jitter or 'no'} jitter, base {initial:g} s"
        found.append(Finding(what, herd.calls_a_client, "calls a client", calls, digits=1))
        found.append(Finding(f"{what}: all served after", max(herd.times), "s", seconds))
    return found


# A service that answers nobody: how many requests reach it for each that its callers wanted to make.


@cache
def outage(*, with_budget: bool, rate: int = 100, seconds: int = 250) -> list[float]:
    """The times of all requests while `rate` calls a second are made and every one of them fails, four attempts each."""
    from mlguard_nb import RetryBudget, retry

    times: list[float] = []

    async def ask() -> None:
        times.append(asyncio.get_running_loop().time())
        raise ConnectionError

    budget = RetryBudget() if with_budget else None
    insisting = retry(attempts=4, wait_initial=0.1, budget=budget)(ask)
    simulate(_arrivals(insisting, rate, seconds), SEED)
    return times


def _outages() -> list[Finding]:
    calls = 100 * 250
    plain, with_budget = len(outage(with_budget=False)) / calls, len(outage(with_budget=True)) / calls
    return [
        Finding("total outage, 4 attempts, no budget: load on the service", plain, "x the calls", 4.0, digits=2),
        Finding("total outage, 4 attempts, retry budget", with_budget, "x the calls", 1.0, digits=2),
    ]


# A cached result that expires under load: 200 requests a second, each result good for 10 s and half a second in the making.


@dataclass(frozen=True, slots=True)
class Stampede:
    """`times` at which a computation began, in seconds; how many calls `waited` for one."""

    times: list[float]
    waited: int


@cache
def stampede(
    kind: Literal["plain", "single-flight", "single-flight, SWR"], *, rate: int = 200, seconds: int = 200
) -> Stampede:
    """`rate` calls a second of one key. "plain" looks into a TTL cache, and computes where it finds nothing."""
    from cachetools import TTLCache

    from mlguard_nb import cache_result

    times: list[float] = []
    waited = 0
    shelf: TTLCache[str, int] = TTLCache(maxsize=8, ttl=10)

    async def compute() -> int:
        times.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.5)
        return len(times)

    async def plain() -> int:
        if (kept := shelf.get("key")) is not None:
            return kept
        shelf["key"] = made = await compute()
        return made

    async def timed() -> None:
        nonlocal waited
        loop = asyncio.get_running_loop()
        began = loop.time()
        await answer()
        waited += loop.time() > began

    async def everybody() -> None:
        nonlocal shelf
        shelf = TTLCache(maxsize=8, ttl=10, timer=asyncio.get_running_loop().time)
        await _arrivals(timed, rate, seconds)

    stale = 5 if kind == "single-flight, SWR" else 0
    answer: Callable[[], Awaitable[int]] = (
        plain if kind == "plain" else cache_result(ttl=10, stale_while_revalidate=stale, key=lambda: 0)(compute)
    )
    simulate(everybody(), SEED)
    return Stampede(times, waited)


def _stampedes() -> list[Finding]:
    found = []
    for kind, claimed in (("plain", 1943.0), ("single-flight", None), ("single-flight, SWR", 20.0)):
        seen = stampede(kind)
        what = f"200 requests/s, ttl 10 s, {kind if kind != 'plain' else 'plain TTL'}"
        found.append(Finding(what, len(seen.times), "computations", claimed))
        found.append(Finding(f"{what}: calls that waited", seen.waited, "calls"))
    return found


async def _arrivals(call: Callable[[], Awaitable[Any]], rate: int, seconds: int) -> None:
    """Start `rate` calls a second for `seconds`, evenly, and wait for all; their ConnectionErrors are expected."""
    running: set[asyncio.Task[None]] = set()

    async def one() -> None:
        with contextlib.suppress(ConnectionError):
            await call()

    for _ in range(rate * seconds):
        task = asyncio.ensure_future(one())
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(1 / rate)
    await asyncio.gather(*running)


def _draw(
    herds: dict[str, list[float]], loads: dict[str, list[float]], caches: dict[str, list[float]], path: Path
) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    for axes, title, lines, end, width in (
        (left, "1000 clients fail together (base 0.5 s)", herds, 20.0, 0.5),
        (middle, "100 calls/s, the service is down", loads, 60.0, 1.0),
        (right, "a cached result expires every 10 s", caches, 60.0, 1.0),
    ):
        edges = [place * width for place in range(int(end / width) + 1)]
        for label, times in lines.items():
            counts = Counter(int(time / width) for time in times if time < end)
            axes.stairs([counts[place] / width for place in range(len(edges) - 1)], edges, label=label)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("s")
        axes.set_yscale("symlog", linthresh=1)
        axes.legend(fontsize=7)
    left.set_ylabel("calls of the service a second")
    right.set_ylabel("computations a second")
    figure.savefig(path, dpi=120)
    plt.close(figure)
