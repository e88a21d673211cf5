"""`@step`: a function that was a notebook cell, with its cell numbers and the names it gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast, overload

from mlguard_nb import clock
from mlguard_nb.errors import PolicyError
from mlguard_nb.pipeline import engines, figures
from mlguard_nb.pipeline.progress import StepFinished, StepStarted, report
from mlguard_nb.telemetry import bus, tracing

__all__ = ["Step", "cell_numbers", "step"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Step:
    """What is known of a step: its name, its code cells counted from 1, and the names it returns in that order.

    `mutates` names the parameters whose objects it changes in place; `shares` says that it depends on state outside
    its arguments (aliases, the global random state). Only an engine with several processes asks for these two.
    """

    name: str
    cells: tuple[int, ...]
    outputs: tuple[str, ...]
    mutates: tuple[str, ...] = ()
    shares: bool = False


@overload
def step(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def step(
    *,
    cell: int | str | None = None,
    cells: tuple[int, ...] | str | None = None,
    outputs: tuple[str, ...] = (),
    mutates: tuple[str, ...] = (),
    shares: bool = False,
    name: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    cell: int | str | None = None,
    cells: tuple[int, ...] | str | None = None,
    outputs: tuple[str, ...] = (),
    mutates: tuple[str, ...] = (),
    shares: bool = False,
    name: str | None = None,
) -> Any:
    """Make a function a step of a run: it is timed and reported, and its figures are saved and closed at its end.

    `cell` is the code cell it came from (5, or "7-9" after merging), `outputs` the names it returns: with one name
    the value itself, with more a tuple in that order. What the function returns and raises stays as it is. The
    facts are readable as `function.__mlguard_step__`. A range of cells that cannot be read is a PolicyError.
    """
    if cell is not None and cells is not None:
        raise PolicyError("step: give cell or cells, not both")
    numbers = cell_numbers(cell if cell is not None else cells)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        facts = Step(name or function.__name__, numbers, tuple(outputs), tuple(mutates), shares)
        wrapper = _async_step(function, facts) if inspect.iscoroutinefunction(function) else _step(function, facts)
        wrapper.__mlguard_step__ = facts  # type: ignore[attr-defined]
        return wrapper

    return decorate if function is None else decorate(function)


def cell_numbers(cells: int | str | tuple[int, ...] | None) -> tuple[int, ...]:
    """5, "5", "7-9", "3, 7-9" or (7, 8) as a tuple of cell numbers; empty for None."""
    if cells is None:
        return ()
    if isinstance(cells, int):
        return (cells,)
    if not isinstance(cells, str):
        return tuple(cells)
    numbers: list[int] = []
    for part in cells.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise PolicyError(f'step: {cells!r} is not a range of cells: write 5 or "7-9"')
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(numbers)


def _step(function: Callable[..., Any], facts: Step) -> Callable[..., Any]:
    @wraps(function)
    def run_step(*args: Any, **kwargs: Any) -> Any:
        engine = engines.current()
        if engine is not None:
            return engine.call(run_step, facts, args, kwargs)
        with _reported(facts):
            return function(*args, **kwargs)

    return run_step


def _async_step(function: Callable[..., Any], facts: Step) -> Callable[..., Any]:
    @wraps(function)
    async def run_step(*args: Any, **kwargs: Any) -> Any:
        engine = engines.current()
        if engine is not None:
            return engine.call(run_step, facts, args, kwargs)
        with _reported(facts):
            return await function(*args, **kwargs)

    return cast("Callable[..., Any]", run_step)


@contextmanager
def _reported(facts: Step) -> Iterator[None]:
    watch = clock.current()
    report(StepStarted(facts.name, facts.cells))
    started = watch.now()
    error: str | None = None
    outcome = "ok"
    try:
        span = tracing.span_if_on(facts.name, {"mlguard.cells": ", ".join(map(str, facts.cells))})
        with span, figures.of_step(facts.name):
            yield
    except BaseException as raised:
        error = type(raised).__name__
        outcome = "error" if isinstance(raised, Exception) else "cancelled"
        raise
    finally:
        seconds = watch.now() - started
        report(StepFinished(facts.name, facts.cells, seconds, error))
        if bus.is_heard():
            from mlguard_nb.telemetry.events import StepEnded

            bus.emit(StepEnded(function=facts.name, outcome=outcome, duration_seconds=seconds))
