"""The calls of the load: every guard, sync, on several threads; each job checks what it gets and says how it ended."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np

from mlguard_nb import (
    Array,
    CircuitBreaker,
    CircuitOpen,
    InputRejected,
    MemoryPressure,
    cache_result,
    guard,
    memory_guard,
    monitor,
    retry,
    validate_input,
)
from tests.soak.tally import WrongValue


@dataclass(frozen=True, slots=True)
class Job:
    """`call` makes one guarded call with a random argument and returns its outcome. `must_see`: outcomes that a run
    with all faults has to bring about. monitor counts `calls` under the same name for each. `check` says at the end what
    is wrong, "" where nothing is.
    """

    name: str
    call: Callable[[Random], str]
    must_see: frozenset[str] = frozenset({"value"})
    calls: int = 1
    check: Callable[[], str] = str


def expect(found: Any, wanted: Any) -> None:
    """WrongValue unless both are the same, arrays to the last bit."""
    same = np.array_equal(found, wanted) if isinstance(wanted, np.ndarray) else found == wanted
    if not same or type(found) is not type(wanted):
        raise WrongValue(f"got {found!r}, not {wanted!r}"[:300])


def table(n: int) -> np.ndarray:
    return np.arange(n % 97 + 3, dtype=np.float64) * n


def sync_jobs(folder: Path, redis_url: str | None, with_gpu: bool) -> list[Job]:
    """All of them; those for Redis and for GPUs only where there is one."""
    jobs = [*_cached(f"disk:{folder / 'cache'}"), *_retried(), *_checked(), *_short_of_memory(), _stacked(), _method()]
    if redis_url is not None:
        jobs += _on_redis(redis_url)
    if with_gpu:
        jobs.append(_on_gpu())
    return jobs


def _cached(disk: str) -> list[Job]:
    @monitor(name="memory cache")
    @cache_result(ttl=2, stale_while_revalidate=1, maxsize=64)
    def in_memory(n: int) -> np.ndarray:
        return table(n)

    @monitor(name="disk cache")
    @cache_result(ttl=5, backend=disk, maxsize=8)
    def on_disk(n: int) -> np.ndarray:
        return table(n)

    def job(name: str, function: Callable[[int], np.ndarray], most: int) -> Job:
        def call(random: Random) -> str:
            n = random.randrange(most)
            found = function(n)
            expect(found, table(n))
            if found.flags.writeable:
                raise WrongValue("a cached array can be written into")
            return "value"

        return Job(name, call)

    return [job("memory cache", in_memory, 200), job("disk cache", on_disk, 60)]


def _on_redis(url: str) -> list[Job]:
    import redis

    @monitor(name="redis cache")
    @cache_result(ttl=30, backend=url, maxsize=8)
    def shared(n: int) -> dict[str, Any]:
        return {"n": n, "table": table(n)}

    def ask_cache(random: Random) -> str:
        n = random.randrange(100)
        found = shared(n)
        expect(found["n"], n)
        expect(found["table"], table(n))
        return "value"

    client = redis.Redis.from_url(url, socket_connect_timeout=0.5, socket_timeout=1.0)

    @monitor(name="breaker")
    @retry(
        attempts=2, wait_initial=0.001, wait_max=0.005, budget=None, on=redis.RedisError,
        breaker=CircuitBreaker(minimum_calls=4, window=5.0, open_for=0.5),
    )  # fmt: skip
    def ping(n: int) -> int:
        client.set("soak", n)
        return n

    def ask_server(random: Random) -> str:
        n = random.randrange(1000)
        try:
            expect(ping(n), n)
        except CircuitOpen:
            return "refused"
        except redis.RedisError:
            return "error"
        return "value"

    def check() -> str:
        """After the server was killed for the last time it must have been found again, and filled."""
        info = shared.cache_info()  # type: ignore[attr-defined]
        if not info.backend_failures:
            return "the cache never noticed that its server was away"
        give_up = time.monotonic() + 60
        while time.monotonic() < give_up:  # a server that was away is asked again after some seconds
            shared.refresh(0)  # type: ignore[attr-defined]
            if any(client.scan_iter("mlguard:*")):
                return ""
            time.sleep(0.1)
        return "the server is back, and holds no results"

    return [
        Job("redis cache", ask_cache, check=check),
        Job("breaker", ask_server, frozenset({"value", "refused", "error"})),
    ]


def _retried() -> list[Job]:
    @monitor(name="retry")
    @retry(attempts=3, wait_initial=0.001, wait_max=0.004, budget=None)
    def flaky(n: int, luck: Iterator[float]) -> int:
        if next(luck) < 0.4:
            raise TimeoutError(f"injected into {n}")
        return n * n

    @monitor(name="generator")
    @retry(attempts=4, wait_initial=0.001, wait_max=0.004, budget=None)
    def items(n: int, luck: Iterator[float]) -> Iterator[int]:
        if next(luck) < 0.3:
            raise TimeoutError("injected before the first item")
        yield from range(n)

    def call(random: Random) -> str:
        n = random.randrange(1000)
        try:
            expect(flaky(n, iter(random.random, 2.0)), n * n)
        except TimeoutError as error:
            expect(str(error), f"injected into {n}")
            if not any("gave up after 3 attempts" in note for note in getattr(error, "__notes__", [])):
                raise WrongValue("three attempts failed, and the error does not say so") from error
            return "error"
        return "value"

    def iterate(random: Random) -> str:
        n = random.randrange(1, 20)
        found = items(n, iter(random.random, 2.0))
        try:
            if random.random() < 0.2:
                expect(next(found), 0)
                found.close()
                return "closed"
            expect(list(found), list(range(n)))
        except TimeoutError:
            return "error"
        return "value"

    return [
        Job("retry", call, frozenset({"value", "error"})),
        Job("generator", iterate, frozenset({"value", "closed"})),
    ]


def _checked() -> list[Job]:
    @monitor(name="validate")
    @validate_input(x=Array("rows 4", "float64", ge=0, le=1), rows=int)
    def mean(x: np.ndarray, rows: int) -> float:
        return float(x.mean())

    def call(random: Random) -> str:
        x = np.full((random.randrange(1, 50), 4), 0.25)
        is_good = random.random() < 0.7
        if not is_good:
            x[-1, random.randrange(4)] = random.choice([np.nan, np.inf, -1.0, 1.5])
        try:
            expect(mean(x, len(x)), 0.25)
        except InputRejected as error:
            if is_good or {violation.argument for violation in error.violations} != {"x"}:
                raise WrongValue(f"good input was refused: {error}") from error
            return "refused"
        if not is_good:
            raise WrongValue("bad input went through")
        return "value"

    return [Job("validate", call, frozenset({"value", "refused"}))]


def _short_of_memory() -> list[Job]:
    def small(n: int) -> str:
        return f"small {n}"

    @monitor(name="memory fallback")
    @memory_guard(ram=0.9, fallback=small, need="1MB")
    def degrading(n: int) -> str:
        return f"large {n}"

    @monitor(name="memory wait")
    @memory_guard(ram=0.9, on_pressure="wait", wait_timeout=0.3, need="1MB")
    def waiting(n: int) -> int:
        return n

    def degrade(random: Random) -> str:
        n = random.randrange(1000)
        found = degrading(n)
        if found == f"small {n}":
            return "fallback"
        expect(found, f"large {n}")
        return "value"

    def wait(random: Random) -> str:
        n = random.randrange(1000)
        try:
            expect(waiting(n), n)
        except MemoryPressure as error:
            expect(error.device, "RAM")
            return "refused"
        return "value"

    return [
        Job("memory fallback", degrade, frozenset({"value", "fallback"})),
        Job("memory wait", wait, frozenset({"value", "refused"})),
    ]


def _on_gpu() -> Job:
    @monitor(name="gpu")
    @memory_guard(ram=None, gpu=0.9, need="1GB")
    def on_device(n: int) -> int:
        return n

    def call(random: Random) -> str:
        n = random.randrange(1000)
        try:
            expect(on_device(n), n)
        except MemoryPressure as error:
            if "GPU 0" not in error.device:
                raise WrongValue(f"the GPU is short, and the error names {error.device}") from error
            return "refused"
        return "value"

    return Job("gpu", call, frozenset({"value", "refused"}))


def _stacked() -> Job:
    luck = Random(5)

    @guard("retry=4 wait=1ms..4ms mem=0.9 cache=1s monitor name=stack")
    def whole(n: int) -> np.ndarray:
        if luck.random() < 0.3:
            raise ConnectionError("injected")
        return table(n)

    def call(random: Random) -> str:
        n = random.randrange(50)
        try:
            expect(whole(n), table(n))
        except MemoryPressure:
            return "refused"
        except ConnectionError:
            return "error"
        return "value"

    return Job("stack", call, frozenset({"value", "refused"}))


class Model:
    """An object that lives for one call; its cached method must not keep it."""

    alive: ClassVar[weakref.WeakSet[Model]] = weakref.WeakSet()

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.alive.add(self)

    @monitor(name="method")
    @cache_result(ttl=1, maxsize=32, key=lambda self, n: (self.weight, n))
    def predict(self, n: int) -> int:
        return self.weight * n


def _method() -> Job:
    def call(random: Random) -> str:
        weight, n = random.randrange(5), random.randrange(20)
        expect(Model(weight).predict(n), weight * n)
        return "value"

    return Job("method", call)
