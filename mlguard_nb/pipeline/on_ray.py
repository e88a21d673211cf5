"""The steps of a run as Ray tasks: one reference an output, and steps that need not wait run in parallel."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import MissingExtra
from mlguard_nb.pipeline import engines

if TYPE_CHECKING:
    from mlguard_nb.pipeline.stepping import Step

__all__ = ["RayEngine", "ray_engine"]


@contextmanager
def ray_engine(address: str | None = None) -> Iterator[RayEngine]:
    """An engine on the cluster at `address` (None: a local one, stopped at the end). MissingExtra without ray."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--engine ray", "ray") from error
    started = not ray.is_initialized()
    if started:
        ray.init(address=address, log_to_driver=True)
    try:
        yield RayEngine(ray)
    finally:
        if started:
            ray.shutdown()


class RayEngine:
    """Turns calls of steps into Ray tasks. `ray` is the module, or something that looks like it.

    Arguments of a task are read-only on Ray, so a step works on copies of what it changes, and later steps get the
    changed object. Steps that share state outside their arguments run one after the other in one actor.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._newer: dict[Any, Any] = {}
        self._actor: Any = None
        self._pending: list[Any] = []

    def call(self, function: Callable[..., Any], facts: Step, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Submit the step; references in the order of its outputs."""
        bound = inspect.signature(function).bind(*args, **kwargs)
        arguments = {name: self._latest(value) for name, value in bound.arguments.items()}
        changed = [name for name in facts.mutates if name in arguments]
        copied = tuple({*changed, *(name for name in facts.outputs if name in arguments)})
        count = max(1, len(facts.outputs)) + len(changed)
        options = {"num_returns": count, **_resources(function)}
        if facts.shares:
            submit = self._shared_actor().run.options(num_returns=count).remote
        else:
            submit = self._ray.remote(**options)(_call).remote
        names, values = list(arguments), list(arguments.values())
        given = submit(function, names, copied, tuple(changed), len(facts.outputs), *values)
        references = [given] if count == 1 else list(given)
        self._pending.append(references[0])
        for name, reference in zip(changed, references[max(1, len(facts.outputs)) :], strict=True):
            self._newer[id(bound.arguments[name])] = (bound.arguments[name], reference)
        own = references[: len(facts.outputs)]
        return None if not own else own[0] if len(own) == 1 else tuple(own)

    def gather(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """The values behind the references of `results`, after every step has ended; the first failure is raised."""
        self._ray.get(self._pending)
        return {name: self._value(value) for name, value in results.items()}

    def _latest(self, value: Any) -> Any:
        while id(value) in self._newer and self._newer[id(value)][0] is value:
            value = self._newer[id(value)][1]
        return value

    def _value(self, value: Any) -> Any:
        latest = self._latest(value)
        return self._ray.get(latest) if isinstance(latest, self._ray.ObjectRef) else latest

    def _shared_actor(self) -> Any:
        if self._actor is None:
            self._actor = self._ray.remote(_Together).remote()
        return self._actor


class _Together:
    """The process in which steps that share state run, one after the other."""

    def run(self, *arguments: Any) -> Any:
        """One step, as `_call` does."""
        return _call(*arguments)


def _call(
    function: Callable[..., Any],
    names: list[str],
    copied: tuple[str, ...],
    changed: tuple[str, ...],
    outputs: int,
    *values: Any,
) -> Any:
    """In the worker: copies of what is changed, the step itself, then its outputs and the changed objects."""
    arguments = {
        name: copy.deepcopy(value) if name in copied else value for name, value in zip(names, values, strict=True)
    }
    kept = {name: arguments[name] for name in changed}
    parameters = inspect.signature(function).parameters
    positional = [arguments[name] for name in names if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY]
    keywords = {name: arguments[name] for name in names if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY}
    with engines.using(None):
        result = function(*positional, **keywords)
    own = list(result) if outputs > 1 else [result]
    everything = [*own, *(kept[name] for name in changed)]
    return everything[0] if len(everything) == 1 else tuple(everything)


def _resources(function: Callable[..., Any]) -> dict[str, Any]:
    """What the step's `need=` asks of the cluster: bytes of memory; a limit is a guard and asks for nothing."""
    memory = getattr(getattr(function, "__mlguard__", None), "memory", None)
    need = getattr(memory, "need", None)
    return {"memory": math.ceil(need)} if isinstance(need, (int, float)) else {}
