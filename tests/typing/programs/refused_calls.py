"""What must not type-check. Each ignore is needed: a checker that sees no error there reports the comment itself."""

from __future__ import annotations

from mlguard_nb import MemoryPolicy, RetryPolicy, cache_result, guard, memory_guard, monitor, retry, validate_input


@monitor
@validate_input(rows=int)
@cache_result(ttl=60)
@memory_guard
@retry(attempts=3)
def load(path: str, *, rows: int = 10) -> list[float]:
    return [float(rows)]


load(1)  # type: ignore[arg-type]  # pyright: ignore
load("x", 2)  # type: ignore[call-arg]  # pyright: ignore
load("x", row=2)  # type: ignore[call-arg]  # pyright: ignore
wrong: int = load("x")  # type: ignore[assignment]  # pyright: ignore

retry(3)  # type: ignore[call-overload]  # pyright: ignore
retry(attemps=3)  # type: ignore[call-overload]  # pyright: ignore
retry(RetryPolicy(), attempts=3)  # type: ignore[call-overload]  # pyright: ignore
retry(MemoryPolicy())  # type: ignore[call-overload]  # pyright: ignore
retry(attempts="three")  # type: ignore[call-overload]  # pyright: ignore
memory_guard(RetryPolicy())  # type: ignore[call-overload]  # pyright: ignore
monitor(slo=3)  # type: ignore[call-overload]  # pyright: ignore
guard(retry=3)  # type: ignore[call-overload]  # pyright: ignore
guard(load)  # type: ignore[call-overload]  # pyright: ignore
cache_result(tttl=3)  # type: ignore[call-overload]  # pyright: ignore
memory_guard(rom=0.8)  # type: ignore[call-overload]  # pyright: ignore
