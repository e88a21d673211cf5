"""What runs in a worker of the cluster: one step on the values it was handed, and an account of what happened."""

from __future__ import annotations

import asyncio
import copy
import inspect
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlguard_nb import clock
from mlguard_nb.errors import PolicyError
from mlguard_nb.pipeline import engines, figures, progress
from mlguard_nb.runtime import fingerprint
from mlguard_nb.telemetry import bus, otel_environment, sinks, tracing

if TYPE_CHECKING:
    from mlguard_nb.pipeline.stepping import Step
    from mlguard_nb.telemetry.events import Event

__all__ = ["FIXED", "REPORT", "Place", "Report", "Surroundings", "Together", "Work", "here", "run_task"]

Place = tuple[int, int]  # the number of the call that gives a value, and its place among the outputs
REPORT = "__mlguard_report__"  # on an error: the report of the step that raised it
FIXED = (bool, int, float, complex, str, bytes, type(None))  # small, and nobody can change them


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a step finds in the driver beside its arguments: working directory, figures' folder, trace."""

    folder: str
    figures: str | None
    trace: dict[str, str]


@dataclass(frozen=True, slots=True)
class Work:
    """A step to run: its function, the names of the values that come with it, and how many outputs it gives.

    `changed` are the parameters whose objects are handed on after the step.
    """

    function: Callable[..., Any]
    names: tuple[str, ...]
    outputs: int
    changed: tuple[str, ...]
    surroundings: Surroundings


@dataclass(slots=True)
class Report:
    """What happened in the worker: the time, the guards' events, and arguments that changed undeclared."""

    seconds: float = 0.0
    error: str | None = None
    events: list[Event] = field(default_factory=list)
    undeclared: list[str] = field(default_factory=list)

    def pass_on(self, facts: Step) -> None:
        """Tell the driver's listeners what the worker's would have heard."""
        for event in self.events:
            bus.emit(event)
        progress.report(progress.StepStarted(facts.name, facts.cells))
        progress.report(progress.StepFinished(facts.name, facts.cells, self.seconds, self.error))


def here() -> Surroundings:
    """The driver's surroundings now."""
    folder = figures.folder()
    return Surroundings(os.getcwd(), None if folder is None else str(folder), tracing.carried())


def run_task(work: Work, *values: Any) -> Any:
    """The step as a task: copies of what it changes; then its outputs, the changed objects, and the report."""
    arguments = {
        name: copy.deepcopy(value) if name in work.changed else value
        for name, value in zip(work.names, values, strict=True)
    }
    watched = [name for name in work.names if name not in work.changed and not isinstance(arguments[name], FIXED)]
    before = {name: _digest(arguments[name]) for name in watched}
    with _reported(work) as report:
        given = _call(work, arguments)
    report.undeclared = [name for name in watched if _digest(arguments[name]) != before[name]]
    everything = [*given, *(arguments[name] for name in work.changed), report]
    return everything[0] if len(everything) == 1 else tuple(everything)


class Together:
    """The process in which steps that share state run one after the other, and which keeps their objects."""

    def __init__(self) -> None:
        self._objects: dict[Place, Any] = {}

    def run(self, work: Work, number: int, places: Sequence[Place | None], *values: Any) -> Report:
        """One step on the very objects that earlier steps gave; its report.

        What this process does not have yet comes as a value, of which it keeps a copy that may be changed.
        """
        arguments: dict[str, Any] = {}
        for name, place, value in zip(work.names, places, values, strict=True):
            if place is not None and place not in self._objects:
                self._objects[place] = copy.deepcopy(value)
            arguments[name] = value if place is None else self._objects[place]
        with _reported(work) as report:
            given = _call(work, arguments)
        self._objects.update({(number, place): value for place, value in enumerate(given)})
        return report

    def fetch(self, place: Place) -> Any:
        """A value that this process keeps."""
        return self._objects[place]


def _call(work: Work, arguments: dict[str, Any]) -> list[Any]:
    """The outputs of the step, in their order."""
    parameters = inspect.signature(work.function).parameters
    keyword_only = {name for name in work.names if parameters[name].kind is inspect.Parameter.KEYWORD_ONLY}
    positional = [arguments[name] for name in work.names if name not in keyword_only]
    result = work.function(*positional, **{name: arguments[name] for name in keyword_only})
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    return list(result) if work.outputs > 1 else [result][: work.outputs]


@contextmanager
def _reported(work: Work) -> Iterator[Report]:
    """Run the block in the driver's surroundings, on no engine; what it raises carries the report with it."""
    sinks.leave_to_another_process()
    otel_environment.configure("mlguard-nb", spans_only=True)
    report = Report()
    started = clock.current().now()
    with ExitStack() as around:
        around.callback(otel_environment.send)
        around.callback(bus.subscribe(report.events.append))
        around.enter_context(engines.using(None))
        os.chdir(work.surroundings.folder)
        if work.surroundings.figures is not None:
            around.enter_context(figures.figures_in(work.surroundings.figures))
        around.enter_context(tracing.continued(work.surroundings.trace))
        try:
            yield report
        except BaseException as error:
            report.error = type(error).__name__
            setattr(error, REPORT, report)
            raise
        finally:
            bus.flush()
            report.seconds = clock.current().now() - started


def _digest(value: Any) -> Any:
    """Of the content, to see whether it changed; None where nobody can say (it does not pickle)."""
    import xxhash

    try:
        return fingerprint.of(value)
    except PolicyError:  # an object without a fingerprint of its own: what pickle would write
        pass
    hashed = xxhash.xxh3_128()
    buffers: list[pickle.PickleBuffer] = []
    try:
        hashed.update(pickle.dumps(value, protocol=5, buffer_callback=buffers.append))
        for buffer in buffers:
            hashed.update(buffer.raw())
    except Exception:  # objects of any library: what cannot be looked at is taken as unchanged
        return None
    return hashed.digest()
