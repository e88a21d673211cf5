"""One run of one guarded cell: attempts with waits between them, names taken back, and how it ended.

The generated loop asks `more()` before each attempt and runs the cell's lines inside `with run:`.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack
from dataclasses import replace
from types import CodeType, FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from mlguard_nb import clock as clocks
from mlguard_nb.devices.frameworks import is_out_of_memory
from mlguard_nb.errors import (
    DeviceUnavailable,
    InputRejected,
    MemoryPressure,
    MemoryStop,
    PolicyError,
    add_note,
)
from mlguard_nb.notebook import cell_memory
from mlguard_nb.notebook.bindings import Bindings
from mlguard_nb.notebook.facts import AttemptFacts, RunFacts
from mlguard_nb.notebook.interrupts import (
    AttemptTimeout,
    Interrupted,
    held_back,
    in_one_line,
    is_on_stack,
    shown_from,
    time_limit,
)
from mlguard_nb.notebook.live import LiveView
from mlguard_nb.notebook.meter import Meter
from mlguard_nb.notebook.tracebacks import cut_own_frames, first_line, let_go, line_of
from mlguard_nb.policy.switches import disabled
from mlguard_nb.runtime import deadline as deadlines
from mlguard_nb.runtime.attempts import Attempts, GaveUp
from mlguard_nb.testing import current_chaos

if TYPE_CHECKING:
    from mlguard_nb.notebook.session import Session
    from mlguard_nb.policy.directive import Directive

__all__ = ["CellRun"]

_HEARTBEAT_SECONDS = 0.1


class CellRun:
    """The state of one run. Made when the marker runs; `source` is the cell's text below line 1."""

    def __init__(self, session: Session, directive: Directive, source: str) -> None:
        self.session, self.directive, self.source = session, directive, source
        self.policy = directive.policy
        self.namespace: dict[str, Any] = session.namespace
        self.clock = clocks.current()
        self.meter = Meter(session.sampler(), self.policy.memory, self.clock.now)
        self.phase = "running"
        self.attempts: list[AttemptFacts] = []
        self.notes: list[str] = []
        self.pressure: MemoryPressure | None = None
        self.code: CodeType | None = None
        self._view: LiveView | None = None
        self._started_wall = self.clock.wall()
        self._bindings: Bindings | None = None
        self._decisions: Attempts | None = None
        self._gave_up = ""
        self._begun = self._ended = False
        self._attempt_began = self._run_began = 0.0
        self._wait: float | None = None
        self._wait_ends = 0.0
        self._memory_wait_began: float | None = None
        self._limits = ExitStack()
        self._degrade = False
        self._rolled_back = False
        self._final: RunFacts | None = None
        self._replacement: BaseException | None = None
        self._bound: tuple[str, ...] = ()
        self._task: asyncio.Task[Any] | None = None
        self._cancelled_for: BaseException | None = None
        self._cell = session.parts_of(self)

    # What the generated loop asks.

    def more(self, code: CodeType) -> bool:
        """Whether to run the lines (again). Waits before it says yes; an interrupt ends the wait at once."""
        __tracebackhide__ = True
        try:
            if not self._begun:
                return self._begin(code)
            if self._ended:
                return False
            if self._degrade:
                return self._fall_back()
            self._replacement = None
            if self._wait is not None:
                self._pause(self._wait)
            return True
        except KeyboardInterrupt:
            raise self._interrupted_outside() from None

    def go_on_after_faults(self) -> bool:
        """Attempts that `%guard chaos` makes fail, before one that runs the lines; False where none is left."""
        __tracebackhide__ = True
        faults = current_chaos()
        while faults is not None:
            self.__enter__()
            try:
                faults.before(self.policy.name or "cell")
            except Exception as injected:
                if not self.__exit__(type(injected), injected, injected.__traceback__):
                    raise in_one_line(injected) from None
                assert self.code is not None
                if not self.more(self.code):
                    return False
            else:
                self._limits.close()
                self._cell.attempt_ends(None)
                self.attempts.pop()
                return True
        return True

    async def more_async(self, code: CodeType) -> bool:
        """`more` for cells that await: the waits between attempts let other tasks run."""
        __tracebackhide__ = True
        try:
            if not self._begun:
                self._task = asyncio.current_task()
                goes = self._begin(code)
                if goes:
                    self._beat(asyncio.get_running_loop())
                return goes
            if self._ended:
                return False
            if self._degrade:
                return self._fall_back()
            self._replacement = None
            if self._wait is not None:
                self._announce_wait(self._wait)
                await self.clock.sleep_async(self._wait)
                self._wait_over()
            return True
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise self._interrupted_outside() from None

    def __enter__(self) -> CellRun:
        __tracebackhide__ = True
        try:
            self._enter()
        except BaseException as error:  # an interrupt, or a system that refuses a limit: nothing may stay armed
            self._left(error, None)
            raise
        return self

    def _enter(self) -> None:
        self._attempt_began = self.clock.now()
        self.attempts.append(AttemptFacts(number=len(self.attempts) + 1, outcome="running", seconds=0.0))
        self._cell.attempt_begins()
        seconds = self._seconds_allowed()
        if seconds is not None and self._task is not None:
            handle = asyncio.get_running_loop().call_later(seconds, self._cancel_for_time, seconds)
            self._limits.callback(handle.cancel)
        else:
            self._limits.enter_context(time_limit(seconds, self.is_inside))
        if self._decisions is not None and self._decisions.ends_at is not None:
            left = self._decisions.ends_at - self.clock.now()
            self._limits.enter_context(deadlines.limit(left, self.clock))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        __tracebackhide__ = True
        number = len(self.attempts)
        try:
            with held_back():
                swallowed = self._left(error, trace)
        except KeyboardInterrupt as interrupt:
            if not self._ended and self.attempts[number - 1].outcome == "running":  # it came before the first line here
                self._left(interrupt, trace)
            elif not self._ended:
                raise self._interrupted_outside() from None
            raise
        if not swallowed and error is not None and self._replacement is not None:
            replacement, self._replacement = self._replacement, None
            raise shown_from(replacement, trace) from None
        return swallowed

    # Before the first attempt.

    def _begin(self, code: CodeType) -> bool:
        __tracebackhide__ = True
        self._begun, self.code, self._run_began = True, code, self.clock.now()
        self.meter.start()
        try:
            self._check_device()
            self._cell.check_inputs()
        except InputRejected as rejected:
            self.notes.append(str(rejected))
            self.end("rejected")
            raise in_one_line(rejected) from None
        except PolicyError as error:
            raise self._impossible(error) from None
        try:
            hit = self._cell.restore_cached()
        except PolicyError as error:
            raise self._impossible(error) from None
        if hit:
            self.end("cached")
            return False
        if not self._admit():
            return False
        if self.directive.cell.view == "live":
            self._show()
        self._bindings = Bindings(self.namespace, code)
        self._cell.run_begins(code)
        retry = self.policy.retry
        if retry is not None and retry.attempts > 1 and "retry" not in disabled():
            # A retry budget protects a service from callers that nobody watches. A person asks for each run of a cell.
            retry = replace(retry, budget=None)
            self._decisions = Attempts(retry, clock=self.clock, name=self.policy.name or "cell")
        return True

    def _check_device(self) -> None:
        """A device that is not there cannot run out of memory: the cell runs, and its view says what is not guarded."""
        try:
            self.meter.check_device()
        except DeviceUnavailable as error:
            self.notes.append(f"no device is guarded: {error}")

    def _impossible(self, error: PolicyError) -> PolicyError:
        """The line asks for what cannot be done with this cell: nothing runs, and there is nothing to view."""
        from mlguard_nb.policy.directive import pointed_at

        self._ended, self.phase = True, "rejected"
        self.meter.stop()
        self.session.dropped(self)
        return in_one_line(pointed_at(self.directive.text, error))

    def _show(self) -> None:
        if self._view is None:
            self._view = LiveView(self.session.publisher, self.facts, self.session.updater)
            self._view.open()

    def _admit(self) -> bool:
        """Whether memory allows the cell to begin; raises MemoryPressure, waits, warns, skips or falls back."""
        __tracebackhide__ = True
        memory = self.policy.memory
        pressure = self._cell.pressure()
        if memory is None or pressure is None:
            return True
        if memory.on_pressure == "warn":
            self.notes.append(f"warned: {pressure}")
            self._cell.tell_pressure(pressure, "warn")
            return True
        self.pressure = pressure
        if memory.on_pressure == "wait" and not cell_memory.is_hopeless(memory, pressure):
            pressure = self._wait_for_memory(pressure, memory.wait_timeout)
            if pressure is None:
                self.pressure = None
                return True
            self.pressure = pressure
        if memory.fallback is not None:
            self._cell.tell_pressure(pressure, "fallback")
            return self._fall_back()
        if memory.on_pressure == "skip":
            self._cell.tell_pressure(pressure, "skip")
            self.end("skipped")
            return False
        self._cell.tell_pressure(pressure, "stop")
        self.end("refused")
        raise in_one_line(pressure)

    def _wait_for_memory(self, pressure: MemoryPressure, patience: float) -> MemoryPressure | None:
        self.phase = "waiting_memory"
        self._memory_wait_began = began = self.clock.now()
        if self.directive.cell.view == "live":
            self._show()
        still: MemoryPressure | None = pressure
        while still is not None and self.clock.now() - began < patience:
            self.clock.sleep(min(0.1, patience))
            still = self._cell.pressure()
            self.pressure = still or self.pressure
        self.phase = "running" if still is None else self.phase
        self._cell.tell_waited(pressure, self.clock.now() - began)
        return still

    def _fall_back(self) -> bool:
        __tracebackhide__ = True
        self._degrade = False
        try:
            self._bound = self._cell.fall_back()
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.end("failed")
            raise
        self.end("degraded")
        return False

    def keep(self, name: str, value: Any) -> None:
        """From now on a failed attempt takes `name` back to `value`."""
        if self._bindings is not None:
            self._bindings.keep(name, value)

    # Cells that define.

    def decorate(self, function: Any) -> Any:
        """`function` under this cell's policy."""
        from mlguard_nb.runtime.compose import guard

        return guard(self.policy)(function)

    def end_definitions(self, names: tuple[str, ...]) -> None:
        """A cell that only defines has run: say which functions are guarded now."""
        if self._ended:
            return
        self._ended, self.phase = True, "defs"
        facts = RunFacts(
            phase="defs", policy=self.policy, cell=self.directive.cell, line=self.directive.text,
            name=self.policy.name, started_wall=self._started_wall, wall=self.clock.wall(), defined=names,
        )  # fmt: skip
        self.session.ended(self, facts)
        if self.directive.cell.view != "off":
            self.session.show(facts)

    # Between and after attempts.

    def _left(self, error: BaseException | None, trace: TracebackType | None) -> bool:
        """The attempt is over: whether its error is swallowed because another attempt (or the fallback) follows."""
        self._limits.close()
        cut_own_frames(trace)
        raised = error
        if self._cancelled_for is not None and isinstance(error, asyncio.CancelledError):
            error, self._cancelled_for = self._cancelled_for, None
        error = self._cell.attempt_ends(error)
        if error is not raised:
            self._replacement = error
        if error is None:
            self._note_attempt("finished", None, None)
            self.end("ok")
            return False
        if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError, SystemExit, GeneratorExit)):
            self._note_attempt("interrupted", None, trace)
            self.end("interrupted")
            return False
        self._note_attempt("failed", error, trace)
        if isinstance(error, (MemoryPressure, MemoryStop)):
            self.pressure = error if isinstance(error, MemoryPressure) else self.pressure
        return self._decide(error, trace)

    def _decide(self, error: BaseException, trace: TracebackType | None) -> bool:
        memory = self.policy.memory
        short = isinstance(error, MemoryPressure) or is_out_of_memory(error)
        wait = self._next_wait(error, short=short)
        if wait is None and short and memory is not None and memory.fallback is not None:
            self._degrade = True
        if wait is None and not self._degrade:
            self._give_up(error)
            return False
        self._take_back()
        let_go(error, trace)
        if short:
            self._cell.reclaim()
        self._wait = wait
        return True

    def _next_wait(self, error: BaseException, *, short: bool) -> float | None:
        """Seconds to the next attempt, None where there is none."""
        retry = self.policy.retry
        if retry is None or self._decisions is None:
            return None
        if short and retry.on_oom.startswith("halve:") and not self._cell.halve(retry.on_oom[6:]):
            return None
        decision = self._decisions.failed(error)
        if isinstance(decision, GaveUp):
            self._gave_up = decision.note
            return None
        self._cell.retried(len(self.attempts), decision.seconds, decision.reason, error)
        return float(decision.seconds)

    def _give_up(self, error: BaseException) -> None:
        if self._decisions is not None:
            self._take_back()
        if self._gave_up:
            add_note(error, self._gave_up)
        self.end("failed")

    def _take_back(self) -> None:
        if self._bindings is not None and self._bindings.restore():
            self._rolled_back = True

    def _note_attempt(self, outcome: str, error: BaseException | None, trace: TracebackType | None) -> None:
        number = self.attempts[-1].number
        self.attempts[-1] = AttemptFacts(
            number=number, outcome=outcome, seconds=self.clock.now() - self._attempt_began,
            error=None if error is None else type(error).__name__,
            message="" if error is None else first_line(error),
            line=line_of(trace, self.code),
        )  # fmt: skip

    def _pause(self, seconds: float) -> None:
        self._announce_wait(seconds)
        self.clock.sleep(seconds)
        self._wait_over()

    def _announce_wait(self, seconds: float) -> None:
        sys.stdout.flush()
        last = self.attempts[-1]
        self.attempts[-1] = AttemptFacts(
            number=last.number, outcome=last.outcome, seconds=last.seconds, error=last.error, message=last.message,
            line=last.line, waited=seconds,
        )  # fmt: skip
        self._wait_ends = self.clock.now() + seconds
        self.phase = "waiting"
        if self._view is not None and seconds >= 0.1:
            self._view.refresh()

    def _wait_over(self) -> None:
        self._wait, self.phase = None, "running"

    def _interrupted_outside(self) -> BaseException:
        """What to raise for an interrupt that came while no line of the cell was running."""
        last = self.attempts[-1] if self.attempts else None
        told = "stopped by you before the cell began"
        if self._memory_wait_began is not None and last is None:
            told = "stopped by you while waiting for memory"
        elif last is not None:
            told = f"stopped by you before attempt {last.number + 1} of {self.facts().attempts_max}"
            if last.error:
                told += f"; attempt {last.number} failed with {last.error}: {last.message}"
        self.end("interrupted")
        return Interrupted(told)

    # Time limits.

    def is_inside(self, frame: FrameType | None) -> bool:
        """Whether the cell's own lines are being run by `frame` or what it called."""
        return self.code is not None and not self._ended and is_on_stack(frame, self.code, __name__)

    def _seconds_allowed(self) -> float | None:
        retry = self.policy.retry
        if retry is None:
            return None
        limits = [] if retry.timeout is None else [retry.timeout]
        ends_at = retry.deadline and self._run_began + retry.deadline
        if self._decisions is not None:
            ends_at = self._decisions.ends_at
        if ends_at:
            limits.append(max(0.001, ends_at - self.clock.now()))
        return min(limits, default=None)

    def _cancel_for_time(self, seconds: float) -> None:
        self.cancel(AttemptTimeout(f"the attempt took longer than {seconds:g} s"))

    def cancel(self, error: BaseException) -> bool:
        """End the attempt of an async cell with `error`; False for a cell that is no task."""
        if self._task is None:
            return False
        self._cancelled_for = error
        self._task.cancel()
        return True

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wake the loop ten times a second: an interrupt is noticed then, however long the cell's await is."""
        if not self._ended:
            loop.call_later(_HEARTBEAT_SECONDS, self._beat, loop)

    # The end, and the state for the view.

    def end(self, phase: str) -> None:
        """The run is over; the final state is stored in the view and in the session's report."""
        if self._ended:
            return
        self._ended, self.phase = True, phase
        self.meter.stop()
        if self._bindings is not None and phase == "ok":
            self._bound = self._bindings.changed()
        self._cell.run_ends(phase)
        self._bindings = None
        self._final = facts = self._facts()
        self.session.ended(self, facts)
        if self._view is not None:
            self._view.close(facts)
        elif self.directive.cell.view != "off":
            self.session.show(facts)

    def facts(self) -> RunFacts:
        """The state now, or the final one."""
        return self._final or self._facts()

    def _facts(self) -> RunFacts:
        now = self.clock.now()
        over = self.pressure.device if self.pressure is not None else None
        waited = None if self._memory_wait_began is None else now - self._memory_wait_began
        return RunFacts(
            phase=self.phase, policy=self.directive.policy, cell=self.directive.cell, line=self.directive.text,
            name=self.policy.name, started_wall=self._started_wall, wall=self.clock.wall(),
            elapsed=self.meter.elapsed(), attempts=self._attempts_now(now), devices=self.meter.devices(over),
            holders=self._cell.holders(), wait_left=max(0.0, self._wait_ends - now), waited=waited,
            cache=self._cell.hit, next_step=self.pressure.next_step if self.pressure is not None else None,
            bound=self._bound, rolled_back=self._rolled_back, notes=tuple(self.notes),
            calls_inside=self._cell.calls_inside(),
        )  # fmt: skip

    def _attempts_now(self, now: float) -> tuple[AttemptFacts, ...]:
        attempts = tuple(self.attempts)
        if attempts and attempts[-1].outcome == "running":
            running = AttemptFacts(number=attempts[-1].number, outcome="running", seconds=now - self._attempt_began)
            return (*attempts[:-1], running)
        return attempts
