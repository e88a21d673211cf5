"""The steps of a run as a graph of Ray tasks: what a step gives is referred to until somebody needs the value."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import MissingExtra
from mlguard_nb.pipeline.engines import EngineFailed
from mlguard_nb.pipeline.progress import Remark, report
from mlguard_nb.pipeline.ray_worker import FIXED, REPORT, Place, Together, Work, here, run_task
from mlguard_nb.pipeline.resources import requested

if TYPE_CHECKING:
    from mlguard_nb.pipeline.ray_worker import Report
    from mlguard_nb.pipeline.resources import Request
    from mlguard_nb.pipeline.stepping import Step

__all__ = ["Promise", "RayEngine", "connect", "ray_engine"]

_log = logging.getLogger("mlguard.pipeline")

_CRASHES_SURVIVED = 3  # how often Ray starts a task again whose process died; Ray's own default
_RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU", "memory": "memory"}  # our word, and the cluster's


@contextmanager
def ray_engine(address: str | None = None, requests: Mapping[str, Request] | None = None) -> Iterator[RayEngine]:
    """An engine on the cluster at `address` (None: a local one, stopped at the end). MissingExtra without ray.

    `requests` say what a step asks of the cluster beside its `need=`. ConnectionError where nothing answers.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("--engine ray", "ray") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a run must not phone home unasked
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # what a step raises is raised here, once
    started = not ray.is_initialized()
    if started:
        connect(ray, address=address, logging_level=logging.ERROR, log_to_driver=True)
    try:
        yield RayEngine(ray, requests or {}, is_local=started and address is None)
    finally:
        if started:
            ray.shutdown()


def connect(ray: Any, **options: Any) -> None:
    """`ray.init`; once more where this machine was too busy to start a node within Ray's fixed 30 seconds."""
    try:
        ray.init(include_dashboard=False, **options)
    except Exception as error:
        if "timed out during startup" not in str(error):
            raise
        _log.warning("Ray's node did not start within 30 seconds, trying once more")
        ray.shutdown()
        ray.init(include_dashboard=False, **options)


class Promise:
    """Stands for what call `place[0]` gives at `place[1]`; negative numbers for objects that the driver gave."""

    __slots__ = ("place",)

    def __init__(self, place: Place) -> None:
        self.place = place


@dataclass(slots=True)
class _Call:
    """One call of a step, kept so that the run can be repeated. `level` is one more than that of what it waits for."""

    function: Callable[..., Any]
    facts: Step
    arguments: dict[str, Any]
    level: int = 1
    report: Any = None
    is_told: bool = False


class RayEngine:
    """Takes the calls of steps and hands out promises. `ray` is the module.

    A step works on copies of what it changes, and later steps get the changed object. Steps that share state outside
    their arguments run one after the other in one process, which keeps their objects. A task whose process dies is
    started again by Ray. When the shared process dies, or a step turns out to change what it did not declare, the
    whole run is repeated once, then with every step in that one process.
    """

    def __init__(self, ray: Any, requests: Mapping[str, Request], *, is_local: bool = False) -> None:
        self._ray, self._requests, self._is_local = ray, requests, is_local
        self._calls: list[_Call] = []
        self._given: dict[int, tuple[Any, Promise]] = {}  # by id: objects of the driver, which are put once
        self._given_references: dict[Place, Any] = {}
        self._begin(together=False)

    def _begin(self, *, together: bool) -> None:
        self._together = together
        self._references = dict(self._given_references)  # of everything that is in the object store
        self._newer: dict[Place, Place] = {}  # what a task changed: where its latest version is
        self._kept: set[Place] = set()  # what the shared process has
        self._actor: Any = None
        self._last_shared = 0

    def call(self, function: Callable[..., Any], facts: Step, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Submit the step; promises in the order of its outputs."""
        bound = inspect.signature(function).bind(*args, **kwargs)
        arguments = {name: self._promised(value) for name, value in bound.arguments.items()}
        number = len(self._calls)
        self._calls.append(_Call(function, facts, arguments))
        self._submit(number)
        own = [Promise((number, place)) for place in range(len(facts.outputs))]
        return None if not own else own[0] if len(own) == 1 else tuple(own)

    def gather(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """The values that `results` stand for, after every step has ended; the first failure is raised."""
        self._say_how_parallel()
        repeat = self._wait()
        if repeat and self._together:
            raise EngineFailed("ray", repeat)
        if repeat:
            report(Remark(f"{repeat}: the run is repeated with all steps in one process"))
            self._begin(together=True)
            for number in range(len(self._calls)):
                self._submit(number)
            if reason := self._wait():
                raise EngineFailed("ray", reason)
        return {name: self._value(value) for name, value in results.items()}

    def _promised(self, value: Any) -> Any:
        """A promise for every argument but the small ones: it travels to the cluster once, and may be changed."""
        if isinstance(value, (Promise, *FIXED)):
            return value
        if id(value) not in self._given:
            place = (-1 - len(self._given), 0)
            self._given[id(value)] = (value, Promise(place))
            self._given_references[place] = self._references[place] = self._ray.put(value)
        return self._given[id(value)][1]

    def _latest(self, promise: Promise) -> Place:
        place = promise.place
        while place in self._newer:
            place = self._newer[place]
        return place

    def _submit(self, number: int) -> None:
        call = self._calls[number]
        is_shared = call.facts.shares or self._together
        places = [self._latest(value) if isinstance(value, Promise) else None for value in call.arguments.values()]
        waits_for = [self._calls[place[0]].level for place in places if place is not None and place[0] >= 0]
        call.level = 1 + max([*waits_for, self._last_shared if is_shared else 0], default=0)
        if is_shared:
            self._last_shared = call.level
            self._in_shared_process(number, call, places)
        else:
            self._as_task(number, call, places)

    def _as_task(self, number: int, call: _Call, places: Sequence[Place | None]) -> None:
        facts, names = call.facts, tuple(call.arguments)
        changed = tuple(name for name in facts.mutates if name in names)
        work = Work(call.function, names, len(facts.outputs), changed, here())
        count = len(facts.outputs) + len(changed) + 1
        options = {"num_returns": count, "max_retries": _CRASHES_SURVIVED, "name": facts.name, **self._resources(call)}
        given = self._ray.remote(**options)(run_task).remote(work, *self._values(call, places))
        *outputs, call.report = [given] if count == 1 else given
        self._references.update({(number, at): reference for at, reference in enumerate(outputs)})
        for at, name in enumerate(changed, start=len(facts.outputs)):
            old = places[names.index(name)]
            if old is not None:
                self._newer[old] = (number, at)

    def _in_shared_process(self, number: int, call: _Call, places: Sequence[Place | None]) -> None:
        if self._actor is None:
            self._actor = self._ray.remote(num_cpus=0)(Together).remote()
        work = Work(call.function, tuple(call.arguments), len(call.facts.outputs), (), here())
        values = [
            None if place in self._kept else value
            for place, value in zip(places, self._values(call, places, fetch=False), strict=True)
        ]
        call.report = self._actor.run.remote(work, number, places, *values)
        self._kept |= {place for place in places if place is not None}
        self._kept |= {(number, at) for at in range(len(call.facts.outputs))}

    def _values(self, call: _Call, places: Sequence[Place | None], *, fetch: bool = True) -> list[Any]:
        """What a worker is handed: small values as they are, everything else by reference."""
        return [
            value if place is None else self._reference(place) if fetch else self._references.get(place)
            for place, value in zip(places, call.arguments.values(), strict=True)
        ]

    def _reference(self, place: Place) -> Any:
        return self._actor.fetch.remote(place) if place in self._kept else self._references[place]

    def _value(self, value: Any) -> Any:
        """A result of the run: a promise, an object of the driver that a step may have changed, or neither."""
        known = self._given.get(id(value))
        promise = known[1] if known is not None and known[0] is value else value
        if not isinstance(promise, Promise):
            return value
        place = self._latest(promise)
        is_untouched = promise is not value and place == promise.place and place not in self._kept
        return value if is_untouched else self._ray.get(self._reference(place))

    def _resources(self, call: _Call) -> dict[str, Any]:
        """What the step asks of the cluster: its `need=`, and what the package's pyproject says."""
        asked = requested(call.function, self._requests.get(call.facts.name)).as_ray()
        has = self._ray.cluster_resources() if self._is_local else {}
        for name, resource in _RESOURCES.items() if self._is_local else ():
            if asked.get(name, 0) > has.get(resource, 0):
                there = has.get(resource, 0)
                report(Remark(f"{call.facts.name} asks for {name}={asked.pop(name):g}; this machine has {there:g}"))
        return asked

    def _wait(self) -> str:
        """Wait for every step and pass on what it reported; why the run must be repeated, "" where it need not."""
        errors = self._ray.exceptions
        waiting = {call.report: call for call in self._calls}
        while waiting:
            ended = self._ray.wait(list(waiting), num_returns=1)[0][0]
            call = waiting.pop(ended)
            try:
                told = self._ray.get(ended)
            except errors.RayTaskError as error:
                if repeat := self._failed(call, error):
                    return repeat
            except (errors.RayActorError, errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
                return f"the process that ran {call.facts.name} died ({type(error).__name__})"
            else:
                self._pass_on(call, told)
                if told.undeclared and not self._together:
                    return f"{call.facts.name} changes {', '.join(told.undeclared)} in place"
        return ""

    def _failed(self, call: _Call, error: Any) -> str:
        """Raise what the user's step raised; or say why the run must be repeated."""
        cause = error.cause if isinstance(error.cause, BaseException) else error
        told = getattr(cause, REPORT, None)
        if not self._together and (told is None or "read-only" in str(cause)):
            what = "changes an array in place" if told is not None else "takes or gives what cannot travel"
            return f"{call.facts.name} {what} ({cause})"
        if told is not None:
            self._pass_on(call, told)
        raise cause from error

    def _pass_on(self, call: _Call, told: Report) -> None:
        """Tell the driver's listeners, once for each step even where the run is repeated."""
        if not call.is_told:
            call.is_told = True
            told.pass_on(call.facts)

    def _say_how_parallel(self) -> None:
        levels = [call.level for call in self._calls]
        widest = max((levels.count(level) for level in set(levels)), default=0)
        if widest > 1:
            report(Remark(f"{len(levels)} steps in {max(levels)} rounds, at most {widest} at a time"))
        elif len(levels) > 1:
            report(Remark(f"the {len(levels)} steps are a chain, each needs the one before: none run at the same time"))
