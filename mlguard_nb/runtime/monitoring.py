"""The monitor decorator: two clock reads and an append on the call path, metrics and logs made by a thread."""

from __future__ import annotations

import atexit
import contextvars
import inspect
import itertools
import logging
import os
import sys
import textwrap
import threading
import traceback
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from types import CoroutineType
from typing import Any, TypeVar, overload

from mlguard_nb import chance, devices
from mlguard_nb import clock as clocks
from mlguard_nb.devices.readings import Reading, known
from mlguard_nb.errors import GuardError, PolicyError, in_words
from mlguard_nb.policy.values import MonitorPolicy
from mlguard_nb.runtime import summaries, wrapping
from mlguard_nb.runtime.options import decorate, policy_from
from mlguard_nb.runtime.wrapping import Guard, Kind
from mlguard_nb.telemetry import bus, sinks, tracing
from mlguard_nb.telemetry.redaction import SECRET_NAMES, redacted, redacted_trace

__all__ = ["MOST_WAITING", "MonitorGuard", "monitor", "run_id"]

F = TypeVar("F", bound=Callable[..., Any])
_log = logging.getLogger("mlguard.monitor")

# Ended calls that wait for the thread. Each is a float: half a megabyte a function.
MOST_WAITING = 1 << 16
_CHECK_EVERY = 4096
DRAIN_SECONDS = 1.0

_START = """\
if not next(_mlguard_guard.begun) & 4095:
    _mlguard_guard.keep_up()
"""
_END = """\
except BaseException as _mlguard_error:
    _mlguard_guard.failed(_mlguard_started, _mlguard_error, <args>, <kwargs>)
    raise
"""
# The span of a generator is never the current one: between two items other code runs, which is none of its children.
_OPEN_SPAN = "_mlguard_span = _mlguard_guard.begin_span() if _mlguard_tracing.on else None\n"
_CLOSE_SPAN = """\
finally:
    if _mlguard_span is not None:
        _mlguard_guard.end_span(_mlguard_span, None)
"""
_END_WITH_SPAN = (
    _END.replace(
        "    raise\n",
        "    if _mlguard_span is not None:\n"
        "        _mlguard_span = _mlguard_guard.end_span(_mlguard_span, _mlguard_error)\n"
        "    raise\n",
    )
    + _CLOSE_SPAN
)
# Falls through at the end instead of returning, so that the end is counted.
_DELEGATED = textwrap.indent(wrapping.DELEGATE.replace("    return\n", "    pass\n"), "    ")
_TEMPLATES: dict[str, str] = {
    "sync": f"""\
{_START}if _mlguard_tracing.on:
    return _mlguard_guard.traced(<args>, <kwargs>)
_mlguard_started = _mlguard_time.now()
try:
    _mlguard_result = <call>
{_END}if type(_mlguard_result) is _mlguard_coroutine:
    return _mlguard_guard.awaited(_mlguard_result, <args>, <kwargs>)
_mlguard_guard.ended(_mlguard_time.now() - _mlguard_started)
return _mlguard_result
""",
    "coroutine": f"""\
{_START}if _mlguard_tracing.on:
    return await _mlguard_guard.traced_async(<args>, <kwargs>)
_mlguard_started = _mlguard_time.now()
try:
    _mlguard_result = await <call>
{_END}_mlguard_guard.ended(_mlguard_time.now() - _mlguard_started)
return _mlguard_result
""",
    "generator": f"""\
{_START}{_OPEN_SPAN}_mlguard_started = _mlguard_time.now()
try:
    _mlguard_result = yield from <call>
except GeneratorExit:
    _mlguard_guard.ended(_mlguard_time.now() - _mlguard_started)
    raise
{_END_WITH_SPAN}_mlguard_guard.ended(_mlguard_time.now() - _mlguard_started)
return _mlguard_result
""",
    "asyncgen": f"""\
{_START}{_OPEN_SPAN}_mlguard_started = _mlguard_time.now()
try:
{_DELEGATED}\
except GeneratorExit:
    _mlguard_guard.ended(_mlguard_time.now() - _mlguard_started)
    raise
{_END_WITH_SPAN}_mlguard_guard.ended(_mlguard_time.now() - _mlguard_started)
""",
}

_run: contextvars.ContextVar[str] = contextvars.ContextVar("mlguard_run")
_process_run = os.urandom(6).hex()


def run_id(new: str | None = None) -> str:
    """The id that the logs of this run share; `new` starts another in this context. Threads without a context of
    their own share the process's.
    """
    if new is not None:
        _run.set(new)
    return _run.get(_process_run)


# The states of functions that are gone, with calls that are not told yet.
_bereft: deque[MonitorGuard] = deque()


class MonitorGuard(Guard):
    """The state of one monitored function: the calls begun, those that ended, and what is not drained yet."""

    part, decorator = "monitor", "monitor"
    policy: MonitorPolicy

    def reset(self) -> None:
        """Start counting anew, in this process."""
        self.begun = itertools.count()
        self.waiting: deque[float | tuple[float, Reading]] = deque()
        self._tells_each = self.policy.logs != "errors" or self.policy.slow is not None
        self.ended: Callable[[float], None] = self._ended_and_read if self._tells_each else self.waiting.append
        self.broken: deque[tuple[float, str, str]] = deque()
        self.lost = self.drained = 0
        self._signature: inspect.Signature | None = None
        _monitored.add(self)

    def attach(self, function: Callable[..., Any], kind: Kind) -> None:
        """Learn the parameters, for the summaries of a failed call."""
        super().attach(function, kind)
        try:
            self._signature = inspect.signature(function)
        except (ValueError, TypeError):
            self._signature = None
            return
        parameters = self._signature.parameters
        unknown = [name for name in self.policy.include_args if name not in parameters]
        if unknown:
            known = ", ".join(parameters) or "none"
            raise PolicyError(f"monitor: {self.label} has no parameter {unknown[0]!r} to include; it has {known}")

    def template(self, kind: Kind) -> str:
        """The body for this kind."""
        return _TEMPLATES[kind]

    def objects(self, kind: Kind) -> Mapping[str, Any]:
        """The clock, the switch of the traces, and what a call is told by that has not done its work yet."""
        return {
            "_mlguard_time": clocks.NOW,
            "_mlguard_tracing": tracing.SWITCH,
            "_mlguard_coroutine": CoroutineType,
        }

    # On the call path, rarely.

    def keep_up(self) -> None:
        """Every 4096 calls, the first among them: see that the thread runs and that the waiting calls stay bounded."""
        _drainer.ensure()
        while len(self.waiting) > MOST_WAITING:
            try:
                self.waiting.popleft()
            except IndexError:
                break
            self.lost += 1

    def _ended_and_read(self, seconds: float) -> None:
        """Where calls are logged one by one: with the memory in use when this one ended."""
        self.waiting.append((seconds, devices.shared().latest))

    def failed(self, started: float, error: BaseException, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A call ended with `error`: always counted, and logged with what is known of its inputs and the machine."""
        seconds = clocks.NOW.now() - started
        text = redacted(in_words(error), self.policy.redact)[:500]
        was_cancelled = not isinstance(error, Exception)
        self.broken.append((seconds, text, "cancelled" if was_cancelled else "error"))
        if was_cancelled:
            return
        p = self.policy
        inputs = summaries.summaries(
            self._signature, args, kwargs, capture=p.capture, include=p.include_args, redact=p.redact
        )
        was_refused = isinstance(error, GuardError)  # on purpose: the message says why, a traceback adds nothing
        lines = "" if was_refused else trimmed(error, p.redact)
        from mlguard_nb.telemetry.events import CallFailed

        failed = CallFailed(
            function=self.label, duration_seconds=round(seconds, 6), error=text, run_id=run_id(), inputs=inputs,
            resources=self._resources(devices.shared().latest), labels=dict(p.labels), traceback=lines,
        )  # fmt: skip
        if bus.is_heard():
            bus.emit(failed)
        facts = {"event": "call_failed", **asdict(failed)}
        del facts["wall"], facts["traceback"]
        if was_refused:
            _log.warning("%s: %s", self.label, text, extra={"mlguard": facts})
            return
        _log.error(
            "%s failed after %.3f s: %s\n%s", self.label, seconds, text, failed.traceback, extra={"mlguard": facts}
        )

    def _resources(self, reading: Reading) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if "ram" in self.policy.resources:
            told["ram_used_bytes"] = known(reading.ram.used_bytes)
            told["ram_limit_bytes"] = known(reading.ram.limit_bytes)
        gpus = known(reading.gpus)
        if "gpu" in self.policy.resources and gpus:
            told["gpu_used_bytes"] = {gpu.uuid: known(gpu.used_bytes) for gpu in gpus}
        return told

    def traced(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call of a sync function inside a span."""
        span = self.begin_span()
        with tracing.current(span):
            started = clocks.NOW.now()
            try:
                result = self.function(*args, **kwargs)
            except BaseException as error:
                self.failed(started, error, args, kwargs)
                self.end_span(span, error)
                raise
        if type(result) is CoroutineType:
            return self.awaited(result, args, kwargs, span)
        self.ended(clocks.NOW.now() - started)
        self.end_span(span, None)
        return result

    async def traced_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The call of an async function inside a span."""
        return await self.awaited(self.function(*args, **kwargs), args, kwargs, self.begin_span())

    async def awaited(
        self, call: Awaitable[Any], args: tuple[Any, ...], kwargs: dict[str, Any], span: Any = None
    ) -> Any:
        """What `call` gives, timed from here; also of a sync function that has returned a coroutine."""
        with tracing.current(span):
            started = clocks.NOW.now()
            try:
                result = await call
            except BaseException as error:
                self.failed(started, error, args, kwargs)
                self.end_span(span, error)
                raise
        self.ended(clocks.NOW.now() - started)
        self.end_span(span, None)
        return result

    def _span_attributes(self) -> dict[str, str]:
        return {**dict(self.policy.labels), "mlguard.run_id": run_id()}

    def begin_span(self) -> Any:
        """The span of a call; None where none is wanted."""
        return None if self.policy.traces is False else tracing.begin(self.label, self._span_attributes())

    def end_span(self, span: Any, error: BaseException | None) -> None:
        """End it, with the error that is on its way out."""
        if span is not None:
            tracing.end(span, error)

    def __del__(self, bereft: deque[MonitorGuard] = _bereft) -> None:
        """The function is gone, its last calls are not told yet: the state stays until the thread has told them."""
        state = self.__dict__
        if state.get("waiting") or state.get("broken") or state.get("lost"):
            self.function = self._signature = None
            bereft.append(self)

    # On the thread.

    def forget(self) -> None:
        """Drop what is not told yet: the parent of a forked child tells it."""
        self.waiting.clear()
        self.broken.clear()
        self.lost, self.drained = 0, _count(self.begun)

    def drain(self) -> None:
        """Tell what ended since the last time."""
        ended, broken = _taken(self.waiting), _taken(self.broken)
        if not ended and not broken and not self.lost:
            return
        self.drained += len(ended) + len(broken)
        if bus.is_heard():
            self._emit(ended, broken)
        if self._tells_each:
            for call in ended:
                assert isinstance(call, tuple)
                self._log(*call)
        self.drained, self.lost = self.drained + self.lost, 0

    def _emit(self, ended: list[Any], broken: list[tuple[float, str, str]]) -> None:
        """What happened, to whoever listens. The reading is that of the last call where each is told by itself."""
        from mlguard_nb.telemetry import measures
        from mlguard_nb.telemetry.events import CallFinished, CallsInFlight, CallsLost, ResourcesMeasured

        p, label = self.policy, self.label
        if p.buckets is not None or p.max_series != measures.Wishes().most_series:
            measures.wish(label, measures.Wishes(p.buckets, p.max_series))
        if p.metrics:
            for call in ended:
                seconds = call[0] if self._tells_each else call
                bus.emit(CallFinished(function=label, outcome="ok", duration_seconds=seconds))
            for seconds, error, outcome in broken:
                bus.emit(CallFinished(function=label, outcome=outcome, duration_seconds=seconds, error=error))
        if self.lost:
            bus.emit(CallsLost(function=label, calls=self.lost))
        if p.metrics:
            bus.emit(CallsInFlight(function=label, calls=max(0, _count(self.begun) - self.drained - self.lost)))
            told = self._resources(ended[-1][1] if self._tells_each and ended else devices.shared().latest)
            gpus = tuple((uuid, used) for uuid, used in told.get("gpu_used_bytes", {}).items() if used is not None)
            bus.emit(ResourcesMeasured(function=label, ram_used_bytes=told.get("ram_used_bytes"), gpus=gpus))

    def _log(self, seconds: float, reading: Reading) -> None:
        """The line of one good call, where it is slow or one of those to be logged."""
        p = self.policy
        is_slow = p.slow is not None and seconds > p.slow
        if not is_slow and not (
            p.logs == "all" or (not isinstance(p.logs, str) and chance.current().random() < p.logs)
        ):
            return
        facts: dict[str, Any] = {
            "event": "call_finished", "function": self.label, "duration_seconds": round(seconds, 6),
            "labels": dict(p.labels), "resources": self._resources(reading),
        }  # fmt: skip
        if is_slow:
            _log.warning("%s was slow: %.3f s", self.label, seconds, extra={"mlguard": {**facts, "slow": p.slow}})
        else:
            _log.info("%s finished in %.3f s", self.label, seconds, extra={"mlguard": facts})


def _taken(queue: deque[Any]) -> list[Any]:
    """Everything in the queue, which the callers go on filling."""
    return [queue.popleft() for _ in range(len(queue))]


def _count(counter: itertools.count[int]) -> int:
    """How often the counter was asked: its text is "count(7)"; reading it otherwise would take a number from it."""
    return int(repr(counter)[6:-1])


_OURS = os.path.dirname(os.path.dirname(__file__))


def trimmed(error: BaseException, secret_names: Sequence[str] = SECRET_NAMES) -> str:
    """The traceback, and those of the errors that led to this one, without our own frames and without credentials."""
    report = traceback.TracebackException.from_exception(error)
    one: traceback.TracebackException | None = report
    while one is not None:
        kept = [frame for frame in one.stack if not frame.filename.startswith(("<mlguard ", _OURS))]
        one.stack = traceback.StackSummary.from_list(kept)
        one = one.__cause__ or one.__context__
    return redacted_trace(report.format(), secret_names)


class _Drainer:
    """The one thread of a process that drains every monitored function, once a second."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """A child has no thread, holds none of its parent's locks, and does not tell its parent's calls again."""
        self._thread: threading.Thread | None = None
        self._starting, self._draining = threading.Lock(), threading.Lock()
        _bereft.clear()
        for guard in list(_monitored):
            guard.forget()

    def ensure(self) -> None:
        """Start the thread where this process has none; of several callers at once one does."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            sinks.attach_configured()
            tracing.look()
            thread = threading.Thread(target=self._work, name="mlguard-monitor", daemon=True)
            thread.start()
            self._thread = thread
            _flush_at_exit()

    def _work(self) -> None:
        import mlguard_nb.telemetry.events  # noqa: F401 - a failing call is no moment to find no memory left for it

        pause = threading.Event()
        while not pause.wait(DRAIN_SECONDS):
            if sys.is_finalizing():
                return
            sinks.attach_configured()
            tracing.look()
            self.drain()

    def drain(self) -> None:
        """Drain every function now."""
        with self._draining:
            for guard in [*_monitored, *_taken(_bereft)]:
                guard.drain()


def _flush_at_exit() -> None:
    """Tell the last second of this process too. What was registered last is called first, so OpenTelemetry's provider,
    which is there when the first call is made, has not been shut down by then.
    """
    atexit.unregister(bus.flush)
    atexit.register(bus.flush)
    # A child of multiprocessing ends without atexit.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, bus.flush, exitpriority=0)


_monitored: weakref.WeakSet[MonitorGuard] = weakref.WeakSet()
_drainer = _Drainer()
bus.on_flush(_drainer.drain)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_drainer.after_fork)


@overload
def monitor(function: F, /) -> F: ...
@overload
def monitor(policy: MonitorPolicy, /, *, name: str | None = None) -> Callable[[F], F]: ...
@overload
def monitor(
    *,
    labels: Any = ...,
    metrics: bool = ...,
    traces: Any = ...,
    logs: str | float = ...,
    slow: float | str | None = ...,
    capture: tuple[str, ...] = ...,
    redact: tuple[str, ...] = ...,
    include_args: tuple[str, ...] = ...,
    resources: tuple[str, ...] = ...,
    buckets: tuple[float, ...] | None = ...,
    max_series: int = ...,
    name: str | None = None,
) -> Callable[[F], F]: ...
def monitor(given: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Count and time every call, log every failure with what its inputs looked like, trace where that is configured.

    One call that the caller sees is one call, whatever is retried below. Metrics go to prometheus_client,
    OpenTelemetry or DogStatsD where the program uses one of them (telemetry/sinks.py); durations are seconds, and
    `buckets` are the edges of their Prometheus histogram. `labels` go to logs and spans. `max_series` bounds the
    series of one metric for this function. `logs`
    is "errors", "all" or the share of good calls to log; `slow` warns of calls above so many seconds. Arguments are
    only described (`capture`) unless `include_args` names them, and never those whose names contain a word of
    `redact`. Raises PolicyError at decoration.
    """
    is_function = callable(given) or isinstance(given, (staticmethod, classmethod))
    policy = policy_from(MonitorPolicy, None if is_function else given, options, "monitor")
    return decorate(given, lambda function: wrapping.wrap(function, MonitorGuard(policy, name)))
