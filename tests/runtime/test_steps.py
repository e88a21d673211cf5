"""Work written once for threads and event loops: what is sent and thrown into the generator, and what comes out."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from mlguard_nb import cache_result
from mlguard_nb.runtime.steps import Call, Steps, run, run_async
from mlguard_nb.testing import FakeClock, no_wait


def _on_loop(steps: Steps[Any]) -> Any:
    return asyncio.run(run_async(steps))


def _called(function: Callable[[], Any], driver: Callable[[Steps[Any]], Any]) -> Call:
    async def awaited() -> Any:
        return function()

    return Call(function if driver is run else awaited, (), {})


drivers = pytest.mark.parametrize("driver", [run, _on_loop], ids=["thread", "loop"])


@drivers
def test_waits_questions_and_calls_are_answered(driver: Callable[[Steps[Any]], Any]) -> None:
    def steps() -> Steps[Any]:
        yield 1.5
        asked = yield lambda: "asked"
        box = yield _called(lambda: "called", driver)
        return asked, box

    with no_wait(FakeClock()) as clock:
        assert driver(steps()) == ("asked", ["called"])
    assert clock.slept == [1.5]


@drivers
def test_what_a_step_raises_is_raised_where_it_was_yielded(driver: Callable[[Steps[Any]], Any]) -> None:
    """An interrupt too; the generator cleans up with further steps before it leaves."""
    cleaned: list[str] = []

    def fails(error: BaseException) -> Any:
        raise error

    def steps(error: BaseException) -> Steps[str]:
        try:
            yield _called(lambda: fails(error), driver)
        except ValueError:
            return "caught"
        finally:
            yield lambda: cleaned.append("cleaned")
        return "not raised"

    assert driver(steps(ValueError())) == "caught"
    with pytest.raises(LookupError):
        driver(steps(LookupError()))
    with pytest.raises(GeneratorExit):
        driver(steps(GeneratorExit()))
    assert cleaned == ["cleaned"] * 3


def test_an_error_that_was_dealt_with_is_not_kept_alive() -> None:
    """Its frames hold the function's arrays."""

    class Large:
        pass

    seen: list[weakref.ref[Any]] = []

    def fails() -> None:
        large = Large()
        seen.append(weakref.ref(large))
        raise ValueError

    def steps() -> Steps[bool]:
        with contextlib.suppress(ValueError):
            yield Call(fails, (), {})
        alive: bool = yield lambda: seen[0]() is not None
        return alive

    gc.disable()
    try:
        assert run(steps()) is False
    finally:
        gc.enable()


def test_a_function_that_raises_stop_iteration_raises_that() -> None:
    """Python turns one that leaves a generator into a RuntimeError; one that the function raised itself stays."""

    @cache_result(ttl=None, key=lambda items: len(items))
    def first(items: list[int]) -> int:
        return next(iter(items))

    with pytest.raises(StopIteration):
        first([])

    def turned() -> None:
        raise RuntimeError("mine") from StopIteration()

    def steps() -> Steps[None]:
        yield Call(turned, (), {})

    with pytest.raises(RuntimeError, match="mine"):
        run(steps())
