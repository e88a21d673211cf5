"""Every decorator keeps the type of what it decorates. Only type checkers read this file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

from typing_extensions import assert_type

from mlguard_nb import (
    CachePolicy,
    CircuitBreaker,
    GuardPolicy,
    MemoryPolicy,
    MonitorPolicy,
    RetryBudget,
    RetryPolicy,
    ValidatePolicy,
    cache_result,
    guard,
    memory_guard,
    monitor,
    retry,
    validate_input,
)


def plain(path: str, *, rows: int = 10) -> list[float]:
    return [float(rows)]


# Bare, with keywords, with a policy: the function itself comes back.
assert_type(retry(plain)("x", rows=1), list[float])
assert_type(retry(attempts=3, deadline="10m", on=(ValueError,))(plain)("x", rows=1), list[float])
assert_type(retry(RetryPolicy(attempts=3))(plain)("x", rows=1), list[float])
assert_type(retry(RetryPolicy(), name="load")(plain)("x"), list[float])
assert_type(retry(budget=RetryBudget(), breaker=CircuitBreaker())(plain)("x"), list[float])
assert_type(validate_input(plain)("x", rows=1), list[float])
assert_type(validate_input(path=str, rows=int)(plain)("x", rows=1), list[float])
assert_type(validate_input({"path": str})(plain)("x", rows=1), list[float])
assert_type(validate_input(ValidatePolicy())(plain)("x", rows=1), list[float])
assert_type(cache_result(plain)("x", rows=1), list[float])
assert_type(cache_result(ttl="1h", key="path")(plain)("x", rows=1), list[float])
assert_type(cache_result(CachePolicy())(plain)("x", rows=1), list[float])
assert_type(memory_guard(plain)("x", rows=1), list[float])
assert_type(memory_guard(ram=0.8, need="2GB")(plain)("x", rows=1), list[float])
assert_type(memory_guard(MemoryPolicy())(plain)("x", rows=1), list[float])
assert_type(monitor(plain)("x", rows=1), list[float])
assert_type(monitor(labels={"team": "risk"}, logs=0.01)(plain)("x", rows=1), list[float])
assert_type(monitor(MonitorPolicy())(plain)("x", rows=1), list[float])
assert_type(guard("retry=3 mem=0.8")(plain)("x", rows=1), list[float])
assert_type(guard(GuardPolicy(retry=RetryPolicy()))(plain)("x", rows=1), list[float])
assert_type(guard(retry=RetryPolicy(), memory=MemoryPolicy())(plain)("x", rows=1), list[float])


@monitor(name="train")
@validate_input(rows=int)
@cache_result(ttl=60)
@memory_guard
@retry
def stacked(path: str, *, rows: int = 10) -> list[float]:
    return [float(rows)]


assert_type(stacked("x", rows=1), list[float])


@retry
async def fetch(url: str) -> bytes:
    return url.encode()


@monitor
@retry(attempts=2)
def lines(path: str) -> Iterator[str]:
    yield path


@memory_guard(ram="6GB")
async def rows(path: str) -> AsyncIterator[int]:
    yield len(path)


pending: Coroutine[Any, Any, bytes] = fetch("x")
assert_type(lines("x"), Iterator[str])
assert_type(rows("x"), AsyncIterator[int])


async def use() -> None:
    assert_type(await fetch("x"), bytes)
    assert_type([row async for row in rows("x")], list[int])


class Model:
    @retry(attempts=2)
    def score(self, x: float) -> float:
        return x

    @cache_result(ttl=60)
    async def load(self, name: str) -> bytes:
        return name.encode()

    @classmethod
    @monitor
    def named(cls, name: str) -> Model:
        return cls()

    @staticmethod
    @monitor(name="alone")
    def alone(x: int) -> str:
        return str(x)


assert_type(Model().score(1.0), float)
assert_type(Model.score(Model(), 1.0), float)
assert_type(Model.named("x"), Model)
assert_type(Model.alone(1), str)


def needs_a_callback(call: Callable[[str], list[float]]) -> None: ...


needs_a_callback(retry(plain))
