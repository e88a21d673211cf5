"""The table of decorators that leave a function what it was; whoever adds one to it, or a kind, inherits the suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from mlguard_nb import MonitorPolicy, cache_result, guard, memory_guard, monitor, retry, validate_input
from mlguard_nb.runtime.wrapping import DELEGATE, Guard, Kind, wrap

Decorate = Callable[[Any], Any]


class Sixth(Guard):
    """A decorator as somebody would add it: a source for each kind of function, and nothing else."""

    part, decorator = "monitor", "monitor"

    def template(self, kind: Kind) -> str:
        return {
            "sync": "return <call>",
            "coroutine": "return await <call>",
            "generator": "return (yield from <call>)",
            "asyncgen": DELEGATE,
        }[kind]


DECORATORS: dict[str, Decorate] = {
    "retry": retry(attempts=2),
    "validate_input": lambda f: validate_input(x=int)(f),
    "cache_result": cache_result(ttl=60),
    "memory_guard": memory_guard(ram=0.99),
    "monitor": monitor(),
    "a sixth": lambda f: wrap(f, Sixth(MonitorPolicy())),
    "all but the cache": lambda f: guard("retry=2 mem=0.99 validate=x:int monitor")(f),
    "all five": lambda f: guard("retry=2 mem=0.99 cache=1m validate=x:int monitor")(f),
}
# A hit could not honour send and throw, so a generator is refused at decoration (vocabulary.md).
NO_GENERATORS = {"cache_result", "all five"}

every = pytest.mark.parametrize("decorate", DECORATORS.values(), ids=DECORATORS)
every_but_caching = pytest.mark.parametrize(
    "decorate",
    [d for n, d in DECORATORS.items() if n not in NO_GENERATORS],
    ids=[n for n in DECORATORS if n not in NO_GENERATORS],
)
caching = pytest.mark.parametrize(
    "decorate", [DECORATORS[name] for name in sorted(NO_GENERATORS)], ids=sorted(NO_GENERATORS)
)


async def awaited(x: int) -> int:
    raise LookupError(x)  # the line of awaited


def items(x: int) -> Iterator[int]:
    yield x
    raise LookupError(x)  # the line of items


async def items_async(x: int) -> AsyncIterator[int]:
    yield x
    raise LookupError(x)  # the line of items_async


def at_once(x: int) -> int:
    raise LookupError(x)  # the line of at_once


KINDS: dict[str, Callable[..., Any]] = {
    "sync": at_once,
    "coroutine": awaited,
    "generator": items,
    "asyncgen": items_async,
}


# Every decorator with every kind of function that it takes; what is refused, another test asserts.
every_kind = pytest.mark.parametrize(
    ("decorate", "kind"),
    [
        pytest.param(decorate, kind, id=f"{name}-{kind}")
        for name, decorate in DECORATORS.items()
        for kind in KINDS
        if name not in NO_GENERATORS or kind in ("sync", "coroutine")
    ],
)


async def drained(items: Any) -> list[Any]:
    return [item async for item in items]


def finished(kind: str, called: Any) -> Any:
    """What a call of a function of this kind gives in the end."""
    if kind == "coroutine":
        return asyncio.run(called)
    if kind == "generator":
        return list(called)
    return asyncio.run(drained(called)) if kind == "asyncgen" else called
