"""Where the steps of a run are executed: in this process, or by an engine that takes their calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from mlguard_nb.errors import GuardError, PolicyError

if TYPE_CHECKING:
    from mlguard_nb.pipeline.stepping import Step

__all__ = ["ENGINES", "Engine", "EngineFailed", "current", "engine", "using"]

ENGINES = ("local", "ray")


class EngineFailed(GuardError):
    """The engine `name` could not finish the run, for a `reason` that is not the user's code."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"the engine {self.name} gave up: {self.reason}. Run it again, or with --engine local"


class Engine(Protocol):
    """Takes the calls of steps. What it hands out may stand for values that are still being computed."""

    def call(self, function: Callable[..., Any], facts: Step, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Run one step: None without outputs, one value for one output, a tuple in their order for more."""
        ...

    def gather(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """The real values of what `run()` returned."""
        ...


_current: ContextVar[Engine | None] = ContextVar("mlguard_engine", default=None)


def current() -> Engine | None:
    """The engine that takes the calls of steps; None: they run right here."""
    return _current.get()


@contextmanager
def engine(name: str, **options: Any) -> Iterator[Callable[[Mapping[str, Any]], dict[str, Any]]]:
    """Run the steps of the block on the engine `name` ("local" or "ray"); gives the function that gathers results.

    `options` go to the engine (ray: `address`, `requests`). PolicyError for an engine that does
    not exist, MissingExtra where it is not installed.
    """
    if name == "local":
        yield dict
        return
    if name != "ray":
        raise PolicyError(f"engine {name!r} does not exist; use {' or '.join(ENGINES)}")
    from mlguard_nb.pipeline.on_ray import ray_engine

    with ray_engine(**options) as taken, using(taken):
        yield taken.gather


@contextmanager
def using(taken: Engine | None) -> Iterator[None]:
    """Hand the calls of the block's steps to `taken`; None: run them right here."""
    token = _current.set(taken)
    try:
        yield
    finally:
        _current.reset(token)
