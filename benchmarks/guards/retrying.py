"""retry on its happy path, beside tenacity, stamina, backoff and hyx."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.guards.bare import add, async_row, has, row, wait_for
from benchmarks.table import Row

__all__ = ["rows"]


def rows() -> list[Row]:
    """Sync, sync with a breaker, async."""
    from mlguard_nb import CircuitBreaker, retry

    both = _peers()
    peers = {name: partial(wrap(add), 1, 2) for name, wrap in both.items()}
    async_peers = {name: partial(wrap(wait_for), 1) for name, wrap in {**both, **_async_peers()}.items()}
    with_breaker = retry(attempts=3, breaker=CircuitBreaker())(add)
    return [
        row(
            "retry, happy path", partial(retry(attempts=3)(add), 1, 2), peers, base=partial(add, 1, 2), budget_ratio=4.0
        ),
        row("retry + breaker, happy path", partial(with_breaker, 1, 2), base=partial(add, 1, 2), budget_ratio=4.0),
        async_row("retry async", partial(retry(attempts=3)(wait_for), 1), async_peers, budget_ratio=11.7),
    ]


def _peers() -> dict[str, Callable[[Any], Any]]:
    """Decorators that take sync and async functions."""
    found: dict[str, Callable[[Any], Any]] = {}
    if has("tenacity"):
        import tenacity

        found["tenacity"] = tenacity.retry(stop=tenacity.stop_after_attempt(3))
    if has("stamina"):
        import stamina

        stamina.instrumentation.set_on_retry_hooks([])
        found["stamina"] = stamina.retry(on=ValueError, attempts=3)
    if has("backoff"):
        import backoff

        found["backoff"] = backoff.on_exception(backoff.expo, ValueError, max_tries=3)
    return found


def _async_peers() -> dict[str, Callable[[Any], Any]]:
    if not has("hyx"):
        return {}
    from hyx.retry import retry

    return {"hyx": retry(on=ValueError, attempts=3)}
