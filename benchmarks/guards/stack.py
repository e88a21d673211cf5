"""All five guards on one function, beside four libraries stacked by hand."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.guards.bare import add, has, row
from benchmarks.table import Row

__all__ = ["rows"]

BUDGET = 23.3  # "all five, miss": 700 ns where a bare call takes 30


def rows() -> list[Row]:
    """A hit, a call that goes through, a miss that is stored; then the same with Prometheus listening."""
    found = _ours("")
    peers, cached_peers = _stacked_by_hand()
    if has("prometheus_client"):
        from mlguard_nb.telemetry import sinks

        sinks.attach_configured()
        found += _ours(", Prometheus attached", peers, cached_peers)
    return found


def _ours(
    where: str,
    peers: Mapping[str, Callable[[], Any]] | None = None,
    cached_peers: Mapping[str, Callable[[Any], Any]] | None = None,
) -> list[Row]:
    """The budget of a miss is for what goes through: the prototype it was set from, and its peer, store nothing."""
    from mlguard_nb import guard, memory_guard, monitor, retry, validate_input

    four, five, numbers = guard("retry=3 mem=0.99 cache=1h monitor")(add), _five(), itertools.count()

    @monitor
    @validate_input(y=int)
    @memory_guard(ram=0.99)
    @retry(attempts=3)
    def passing(x: Any, y: Any = 2) -> Any:
        return x

    storing = {name: lambda peer=peer: peer(next(numbers)) for name, peer in (cached_peers or {}).items()}
    return [
        row(f"four guards, cache hit{where}", lambda: four(1, 2), budget_ratio=BUDGET),
        row(f"five guards, cache hit{where}", lambda: five(1, 2), budget_ratio=BUDGET),
        row(f"miss, nothing stored: all but the cache{where}", lambda: passing(1, 2), peers, budget_ratio=BUDGET),
        row(
            f"miss that is stored, all five{where}",
            lambda: five(next(numbers), 2),
            storing,
            base=lambda: add(next(numbers), 2),
        ),
    ]


def _five() -> Any:
    from mlguard_nb import cache_result, memory_guard, monitor, retry, validate_input

    @monitor
    @validate_input(y=int)
    @cache_result(ttl=3600)
    @memory_guard(ram=0.99)
    @retry(attempts=3)
    def five(x: Any, y: Any = 2) -> Any:
        return x

    return five


def _stacked_by_hand() -> tuple[dict[str, Callable[[], Any]], dict[str, Callable[[Any], Any]]]:
    """Four libraries, and a fifth that keeps the results."""
    if not has("prometheus_client", "tenacity"):
        return {}, {}
    import cachetools
    import prometheus_client
    import psutil
    import pydantic
    import tenacity

    def admitted(x: int, y: int = 2) -> Any:
        if psutil.virtual_memory().percent > 99:
            raise MemoryError
        return x

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        histogram = prometheus_client.Histogram("all", "all", registry=prometheus_client.CollectorRegistry())
        return histogram.time()(function)

    checked = pydantic.validate_call(tenacity.retry(stop=tenacity.stop_after_attempt(3))(admitted))
    kept = cachetools.cached(cachetools.TTLCache(10**9, 600), lock=threading.RLock())(checked)
    # Prometheus refuses to time what cachetools has made, so a function stands between them.
    stacked, keeping = timed(checked), timed(lambda x, y: kept(x, y))
    return (
        {"prometheus > validate_call > tenacity > psutil": lambda: stacked(1, 2)},
        {"prometheus > cachetools + RLock > validate_call > tenacity > psutil": lambda x: keeping(x, 2)},
    )
