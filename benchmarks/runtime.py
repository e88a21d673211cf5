"""The five decorators beside their peers: every row of the budget table in the design of the runtime."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import fresh_process, nanoseconds, nanoseconds_async
from benchmarks.table import Row, as_text, draw

__all__ = ["rows", "run"]


def run(results: Path) -> str:
    """The budget table; its picture goes to `results`."""
    found = rows()
    draw(found, results / "runtime.png")
    return f"Minima of timeit; ratios hold on one machine and in one run.\n{as_text(found)}"


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def rows() -> list[Row]:
    """All rows, ours first and each peer that is installed."""
    return [
        *_retrying(),
        *_validating(),
        *_caching(),
        *_guarding(),
        *_monitoring(),
        *_stack(),
        _missing(),
        *_importing(),
    ]


def _bare(x: Any, y: Any = 2) -> Any:
    return x


def _pairs(peers: dict[str, Callable[[], Any]]) -> dict[str, float]:
    return {name: nanoseconds(call) for name, call in peers.items()}


def _retrying() -> list[Row]:
    from mlguard_nb import CircuitBreaker, retry

    base = nanoseconds(lambda: _bare(1, 2))
    ours = retry(attempts=3)(_bare)
    with_breaker = retry(attempts=3, breaker=CircuitBreaker())(_bare)
    peers: dict[str, Callable[[], Any]] = {}
    if _has("tenacity"):
        import tenacity

        tenacious = tenacity.retry(stop=tenacity.stop_after_attempt(3))(_bare)
        peers["tenacity"] = lambda: tenacious(1, 2)
    if _has("stamina"):
        import stamina

        stamina.instrumentation.set_on_retry_hooks([])
        enduring = stamina.retry(on=ValueError, attempts=3)(_bare)
        peers["stamina"] = lambda: enduring(1, 2)
    if _has("backoff"):
        import backoff

        backing = backoff.on_exception(backoff.expo, ValueError, max_tries=3)(_bare)
        peers["backoff"] = lambda: backing(1, 2)

    async def bare_async(x: Any) -> Any:
        return x

    ours_async = retry(attempts=3)(bare_async)
    base_async = nanoseconds_async(lambda: bare_async(1))
    async_peers: dict[str, float] = {}
    if _has("tenacity"):
        import tenacity

        tenacious_async = tenacity.retry(stop=tenacity.stop_after_attempt(3))(bare_async)
        async_peers["tenacity"] = nanoseconds_async(lambda: tenacious_async(1))
    return [
        Row("retry, happy path", nanoseconds(lambda: ours(1, 2)), base, _pairs(peers), budget_ratio=4.0),
        Row("retry + breaker, happy path", nanoseconds(lambda: with_breaker(1, 2)), base, {}, budget_ratio=4.0),
        Row("retry async", nanoseconds_async(lambda: ours_async(1)), base_async, async_peers, budget_ratio=11.7),
    ]


def _validating() -> list[Row]:
    import numpy as np

    from mlguard_nb import Array, Col, Frame, validate_input

    small = np.random.default_rng(0).random((64, 16), dtype="float32")
    large = np.random.default_rng(0).random(13_107_200)
    base = nanoseconds(lambda: _bare(small, small))
    total = nanoseconds(lambda: large.sum(), repeat=5)

    def one(x: Any) -> Any:
        return x

    shaped = validate_input(x=Array("b 16", "float32", nan="allow"))(one)
    both = validate_input(x=Array("b d", "float32", nan="allow"), y=Array("b d", "float32", nan="allow"))(_bare)
    finite = validate_input(x=Array("b 16", "float32"))(one)
    ranged = validate_input(x=Array("b 16", "float32", ge=0, le=1))(one)
    big = validate_input(x=Array("n", "float64", ge=0, le=1))(one)
    one_peers: dict[str, Callable[[], Any]] = {}
    two_peers: dict[str, Callable[[], Any]] = {}
    if _has("jaxtyping") and _has("beartype"):
        from beartype import beartype
        from jaxtyping import Float32, jaxtyped

        def typed(x: Any) -> Any:
            return x

        def typed_two(x: Any, y: Any) -> Any:
            return x

        typed.__annotations__ = {"x": Float32[np.ndarray, "b 16"]}
        typed_two.__annotations__ = {"x": Float32[np.ndarray, "b d"], "y": Float32[np.ndarray, "b d"]}
        checked, checked_two = jaxtyped(typechecker=beartype)(typed), jaxtyped(typechecker=beartype)(typed_two)
        one_peers["jaxtyping + beartype"] = lambda: checked(small)
        two_peers["jaxtyping + beartype"] = lambda: checked_two(small, small)

    def naive(x: Any) -> Any:
        if np.isnan(x).any() or np.isinf(x).any() or x.min() < 0 or x.max() > 1:
            raise ValueError
        return x

    found = [
        Row(
            "validate shape + dtype, 1 array",
            nanoseconds(lambda: shaped(small)),
            base,
            _pairs(one_peers),
            budget_ratio=10.0,
        ),
        Row(
            "validate shape + dtype, 2 arrays",
            nanoseconds(lambda: both(small, small)),
            base,
            _pairs(two_peers),
            budget_ratio=20.0,
        ),
        Row("validate + finite, 4 kB", nanoseconds(lambda: finite(small)), base, {}, budget_ratio=40.0),
        Row(
            "validate + range, 4 kB",
            nanoseconds(lambda: ranged(small)),
            base,
            {"naive numpy": nanoseconds(lambda: naive(small))},
            budget_ratio=100.0,
        ),
        Row(
            "validate + range, 100 MB (base: np.sum)",
            nanoseconds(lambda: big(large), repeat=5),
            total,
            {"naive numpy": nanoseconds(lambda: naive(large), repeat=3)},
            budget_ratio=1.3,
        ),
    ]
    if _has("pandas"):
        import pandas as pd

        frame = pd.DataFrame({"a": np.random.default_rng(0).random(1000), "b": np.random.default_rng(1).random(1000)})
        framed = validate_input(x=Frame({"a": Col(float, ge=0, le=1), "b": Col(float, ge=0, le=1)}))(one)
        peers: dict[str, Callable[[], Any]] = {}
        if _has("pandera"):
            import pandera.pandas as pa

            schema_of = pa.DataFrameSchema(
                {"a": pa.Column(float, pa.Check.in_range(0, 1)), "b": pa.Column(float, pa.Check.in_range(0, 1))}
            )
            peers["pandera"] = lambda: schema_of.validate(frame)
        found.append(
            Row(
                "validate DataFrame 1000x2, ranges",
                nanoseconds(lambda: framed(frame)),
                base,
                _pairs(peers),
                budget_ratio=1667.0,
            )
        )
    return found


def _caching() -> list[Row]:
    import threading

    import numpy as np

    from mlguard_nb import cache_result

    def one(x: Any) -> Any:
        return 1

    base = nanoseconds(lambda: _bare(1, 2))
    scalar = cache_result(ttl=3600)(_bare)
    arrays = cache_result(ttl=3600)(one)
    peers: dict[str, Callable[[], Any]] = {}
    if _has("cachetools"):
        import cachetools

        locked = cachetools.cached(cachetools.TTLCache(128, 600), lock=threading.RLock())(_bare)
        peers["cachetools + RLock"] = lambda: locked(1, 2)
    if _has("cachebox"):
        import cachebox

        boxed = cachebox.cached(cachebox.TTLCache(128, 600))(_bare)
        peers["cachebox"] = lambda: boxed(1, 2)
    found = [Row("cache hit, scalar key", nanoseconds(lambda: scalar(1, 2)), base, _pairs(peers), budget_ratio=8.3)]
    for count, label, ratio in ((1024, "8 kB", None), (131_072, "1 MB", None), (13_107_200, "100 MB", 1.3)):
        array = np.random.default_rng(0).random(count)
        arrays(array)
        total = nanoseconds(lambda array=array: array.sum(), repeat=5)
        others: dict[str, float] = {}
        if _has("joblib"):
            import joblib

            others["joblib.hash"] = nanoseconds(lambda array=array: joblib.hash(array), repeat=2, seconds=0.01)
        row = Row(
            f"cache hit, array {label} (base: np.sum)",
            nanoseconds(lambda array=array: arrays(array), repeat=5),
            total,
            others,
            budget_ratio=ratio,
        )
        found.append(row)
    big = cache_result(ttl=3600, max_bytes="1GB")(lambda n: np.zeros(n))
    big(13_107_200)
    live = np.zeros(13_107_200)
    found.append(
        Row(
            "returning a 100 MB hit",
            nanoseconds(lambda: big(13_107_200)),
            base,
            {"copy": nanoseconds(live.copy, repeat=3)},
            budget=2000,
        )
    )
    return found


def _guarding() -> list[Row]:
    import psutil

    from mlguard_nb import memory_guard

    base = nanoseconds(lambda: _bare(1, 2))
    guarded = memory_guard(ram=0.99)(_bare)
    return [
        Row(
            "memory_guard, no pressure",
            nanoseconds(lambda: guarded(1, 2)),
            base,
            {"psutil.virtual_memory()": nanoseconds(psutil.virtual_memory)},
            budget_ratio=2.7,
        )
    ]


def _monitoring() -> list[Row]:
    from mlguard_nb import monitor

    base = nanoseconds(lambda: _bare(1, 2))
    monitored = monitor()(_bare)
    peers: dict[str, Callable[[], Any]] = {}
    if _has("prometheus_client"):
        import prometheus_client

        registry = prometheus_client.CollectorRegistry()
        timed = prometheus_client.Histogram("peer", "peer", registry=registry).time()(_bare)
        peers["prometheus_client"] = lambda: timed(1, 2)
    if _has("opentelemetry.sdk"):
        from opentelemetry.sdk.trace import TracerProvider

        tracer = TracerProvider().get_tracer("peer")

        def traced() -> Any:
            with tracer.start_as_current_span("peer"):
                return _bare(1, 2)

        peers["OpenTelemetry span"] = traced
    return [Row("monitor", nanoseconds(lambda: monitored(1, 2)), base, _pairs(peers), budget_ratio=10.0)]


def _stack() -> list[Row]:
    import itertools

    from mlguard_nb import cache_result, guard, memory_guard, monitor, retry, validate_input

    line = "retry=3 mem=0.99 cache=1h monitor"
    base = nanoseconds(lambda: _bare(1, 2))
    four = guard(line)(_bare)

    @monitor
    @validate_input(y=int)
    @cache_result(ttl=3600)
    @memory_guard(ram=0.99)
    @retry(attempts=3)
    def five(x: Any, y: Any = 2) -> Any:
        return x

    @monitor
    @validate_input(y=int)
    @memory_guard(ram=0.99)
    @retry(attempts=3)
    def passing(x: Any, y: Any = 2) -> Any:
        return x

    numbers = itertools.count()
    rows = [
        Row("four guards stacked, cache hit", nanoseconds(lambda: four(1, 2)), base, {}, budget_ratio=23.0),
        Row("five guards stacked, cache hit", nanoseconds(lambda: five(1, 2)), base, {}, budget_ratio=23.0),
        Row(
            "all but the cache, a call that goes through",
            nanoseconds(lambda: passing(1, 2)),
            base,
            {},
            budget_ratio=23.0,
        ),
        Row("all five, miss that is stored", nanoseconds(lambda: five(next(numbers), 2)), base, {}, budget_ratio=23.0),
    ]
    peers: dict[str, Callable[[], Any]] = {}
    if _has("prometheus_client") and _has("tenacity"):
        import prometheus_client
        import psutil
        import pydantic
        import tenacity

        def admitted(x: int, y: int = 2) -> Any:
            if psutil.virtual_memory().percent > 99:
                raise MemoryError
            return x

        registry = prometheus_client.CollectorRegistry()
        tenacious = tenacity.retry(stop=tenacity.stop_after_attempt(3))(admitted)
        stacked = prometheus_client.Histogram("all", "all", registry=registry).time()(pydantic.validate_call(tenacious))
        peers["prometheus > validate_call > tenacity > psutil"] = lambda: stacked(1, 2)
    rows[-1] = Row(rows[-1].path, rows[-1].ours, base, _pairs(peers), budget_ratio=23.0)
    return rows


def _missing() -> Row:
    """A miss that computes nothing and stores an int, in a cache with room: what a cache costs where it does not help."""
    import itertools
    import threading

    from mlguard_nb import cache_result

    numbers = itertools.count()
    missing = cache_result(ttl=3600)(_bare)
    peers: dict[str, Callable[[], Any]] = {}
    if _has("cachetools"):
        import cachetools

        locked = cachetools.cached(cachetools.TTLCache(10**9, 600), lock=threading.RLock())(_bare)
        peers["cachetools + RLock"] = lambda: locked(next(numbers), 2)
    if _has("cachebox"):
        import cachebox

        boxed = cachebox.cached(cachebox.TTLCache(10**7, 600))(_bare)
        peers["cachebox"] = lambda: boxed(next(numbers), 2)
    base = nanoseconds(lambda: _bare(next(numbers), 2))
    return Row("cache miss, stored", nanoseconds(lambda: missing(next(numbers), 2)), base, _pairs(peers))


def _importing() -> list[Row]:
    """Processor time of a fresh interpreter with an import, less that of one without."""
    bare = fresh_process("pass")
    names = ("import mlguard_nb", "from mlguard_nb import retry", "from mlguard_nb import guard")
    others = {"tenacity": "import tenacity", "logfire": "import logfire", "pandera": "import pandera.pandas"}
    peers = {name: fresh_process(code) for name, code in others.items() if _has(name)}
    every = "from mlguard_nb import " + ", ".join(
        ("retry", "validate_input", "cache_result", "memory_guard", "monitor")
    )
    return [
        Row(code if code is not every else "import of all five", fresh_process(code), bare, peers, budget=60e6)
        for code in (*names, every)
    ]
