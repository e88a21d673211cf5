"""All five guards on one function, beside four libraries stacked by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from benchmarks.guards.bare import add, has, row
from benchmarks.table import Row

__all__ = ["rows"]

BUDGET = 23.3  # 700 ns where a bare call takes 30


def rows() -> list[Row]:
    """A hit, a call that goes through, a miss that is stored; then the same with Prometheus listening."""
    found = [*_ours(""), _miss("all five, miss that is stored", {})]
    peers = _stacked_by_hand()
    if has("prometheus_client"):
        from mlguard_nb.telemetry import sinks

        sinks.attach_configured()
        where = ", Prometheus attached"
        found += [*_ours(where), _miss(f"all five, miss that is stored{where}", peers)]
    return found


def _ours(where: str) -> list[Row]:
    from mlguard_nb import guard, memory_guard, monitor, retry, validate_input

    four, five = guard("retry=3 mem=0.99 cache=1h monitor")(add), _five()

    @monitor
    @validate_input(y=int)
    @memory_guard(ram=0.99)
    @retry(attempts=3)
    def passing(x: Any, y: Any = 2) -> Any:
        return x

    return [
        row(f"four guards, cache hit{where}", lambda: four(1, 2), budget_ratio=BUDGET),
        row(f"five guards, cache hit{where}", lambda: five(1, 2), budget_ratio=BUDGET),
        row(f"all but the cache, call goes through{where}", lambda: passing(1, 2), budget_ratio=BUDGET),
    ]


def _miss(path: str, peers: dict[str, Callable[[], Any]]) -> Row:
    five, numbers = _five(), itertools.count()
    return row(path, lambda: five(next(numbers), 2), peers, budget_ratio=BUDGET)


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


def _stacked_by_hand() -> dict[str, Callable[[], Any]]:
    if not has("prometheus_client", "tenacity"):
        return {}
    import prometheus_client
    import psutil
    import pydantic
    import tenacity

    def admitted(x: int, y: int = 2) -> Any:
        if psutil.virtual_memory().percent > 99:
            raise MemoryError
        return x

    tenacious = tenacity.retry(stop=tenacity.stop_after_attempt(3))(admitted)
    timer = prometheus_client.Histogram("all", "all", registry=prometheus_client.CollectorRegistry()).time()
    stacked = timer(pydantic.validate_call(tenacious))
    return {"prometheus > validate_call > tenacity > psutil": lambda: stacked(1, 2)}
