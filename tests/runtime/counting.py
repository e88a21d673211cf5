"""A cached function that counts its calls."""

from __future__ import annotations

from typing import Any

from mlguard_nb import cache_result


def counted(**options: Any) -> Any:
    """A cached function of one argument that counts its calls in `calls`."""
    calls: list[Any] = []

    @cache_result(**options)
    def function(x: Any, *rest: Any, **named: Any) -> Any:
        calls.append(x)
        return len(calls)

    function.calls = calls
    return function
