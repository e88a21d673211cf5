"""One run of one guarded cell: attempts with waits between them, names taken back, and how it ended.

The generated loop asks `more()` before each attempt and runs the cell's lines inside `with run:`.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from types import CodeType, FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from mlguard_nb.devices.frameworks import is_out_of_memory
from mlguard_nb.errors import (
    InputRejected,
    MemoryPressure,
    MemoryStop,
    PolicyError,
    add_note,
)
from mlguard_nb.notebook.admission import admit, check_device
from mlguard_nb.notebook.bindings import Bindings
from mlguard_nb.notebook.endings import Cancellation, seconds_allowed
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
from mlguard_nb.notebook.run_state import RunState
from mlguard_nb.notebook.tracebacks import cut_own_frames, let_go
from mlguard_nb.policy.switches import disabled
from mlguard_nb.runtime import deadline as deadlines
from mlguard_nb.runtime.attempts import Attempts, GaveUp
from mlguard_nb.testing import current_chaos

if TYPE_CHECKING:
    from mlguard_nb.notebook.session import Session
    from mlguard_nb.policy.directive import Directive

__all__ = ["CellRun"]


class CellRun(RunState):
    """One run. Made when the marker runs."""

    def __init__(self, session: Session, directive: Directive, source: str) -> None:
        super().__init__(session, directive, source)
        self._decisions: Attempts | None = None
        self._gave_up = ""
        self._begun = False
        self._run_began = 0.0
        self._wait: float | None = None
        self._limits = ExitStack()
        self._degrade = False
        self._replacement: BaseException | None = None
        self._cancellation = Cancellation()
        self._thread = threading.get_ident()
        self.parts = session.parts_of(self)

    def is_inside(self, frame: FrameType | None) -> bool:
        """Whether the cell's own lines are being run by `frame` or what it called."""
        return self.code is not None and not self.ended and is_on_stack(frame, self.code, __name__)

    def is_torn(self, frame: FrameType) -> bool:
        """Whether nobody is going to end it, as `frame` knows once a cell is over.

        An interrupt can come between two calls of the loop, where nothing of ours would hear of it.
        """
        is_ours = self._begun and not self.ended and self._thread == threading.get_ident()
        return (
            is_ours
            and not self._cancellation.is_possible  # it is suspended in an await
            and self.code is not None
            and not is_on_stack(frame, self.code, "")
        )

    def cancel(self, error: BaseException) -> bool:
        """End the attempt of an async cell with `error`; False for a cell that is no task."""
        return self._cancellation.cancel(error)

    # What the generated loop asks.

    def more(self, code: CodeType) -> bool:
        """Whether to run the lines (again). Waits before it says yes; an interrupt ends the wait at once."""
        __tracebackhide__ = True
        try:
            if not self._begun:
                return self._begin(code)
            if self.ended:
                return False
            if self._degrade:
                return self.fall_back()
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
                self.parts.attempt_ends(None)
                self.attempts.pop()
                return True
        return True

    async def more_async(self, code: CodeType) -> bool:
        """`more` for cells that await: the waits between attempts let other tasks run."""
        __tracebackhide__ = True
        try:
            if not self._begun:
                self._cancellation.begin(lambda: self.ended)
                return self._begin(code)
            if self.ended:
                return False
            if self._degrade:
                return self.fall_back()
            self._replacement = None
            if self._wait is not None:
                self._announce_wait(self._wait)
                await self.clock.sleep_async(self._wait)
                self._wait_over()
                self._wait = None
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
        self.parts.attempt_begins()
        ends_at = self._decisions.ends_at if self._decisions is not None else None
        seconds = seconds_allowed(self.policy.retry, self._run_began, ends_at, self.clock.now())
        if seconds is not None and self._cancellation.is_possible:
            late = AttemptTimeout(f"the attempt took longer than {seconds:g} s")
            handle = asyncio.get_running_loop().call_later(seconds, self.cancel, late)
            self._limits.callback(handle.cancel)
        elif seconds is not None:
            self._limits.enter_context(time_limit(seconds, self.is_inside))
        if ends_at is not None:
            left = ends_at - self.clock.now()
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
            if not self.ended and self.attempts[number - 1].outcome == "running":  # it came before the first line here
                self._left(interrupt, trace)
            elif not self.ended:
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
            check_device(self)
            self.parts.check_inputs()
        except InputRejected as rejected:
            self.notes.append(str(rejected))
            self.end("rejected")
            raise in_one_line(rejected) from None
        except PolicyError as error:
            raise self._impossible(error) from None
        try:
            hit = self.parts.restore_cached()
        except PolicyError as error:
            raise self._impossible(error) from None
        if hit:
            self.end("cached")
            return False
        if not admit(self):
            return False
        if self.directive.cell.view == "live":
            self.show_view()
        self._bindings = Bindings(self.namespace, code)
        self.parts.run_begins(code)
        retry = self.policy.retry
        if retry is not None and retry.attempts > 1 and "retry" not in disabled():
            # A retry budget protects a service from callers that nobody watches. A person asks for each run of a cell.
            name = self.policy.name or "cell"
            self._decisions = Attempts(retry, clock=self.clock, name=name, budgeted=False)
        return True

    def _impossible(self, error: PolicyError) -> PolicyError:
        """The line asks for what cannot be done with this cell: nothing runs, and there is nothing to view."""
        from mlguard_nb.policy.directive import pointed_at

        self.ended, self.phase = True, "rejected"
        self.meter.stop()
        self.session.dropped(self)
        return in_one_line(pointed_at(self.directive.text, error))

    def fall_back(self) -> bool:
        """Call the fallback in place of the cell's lines; False: they do not run."""
        __tracebackhide__ = True
        self._degrade = False
        try:
            self._bound = self.parts.fall_back()
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.end("failed")
            raise
        self.end("degraded")
        return False

    # Cells that define.

    def decorate(self, function: Any) -> Any:
        """`function` under this cell's policy."""
        from mlguard_nb.runtime.compose import guard

        return guard(self.policy)(function)

    def end_definitions(self, names: tuple[str, ...]) -> None:
        """A cell that only defines has run: say which functions are guarded now."""
        if self.ended:
            return
        self.ended, self.phase = True, "defs"
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
        error = self.parts.attempt_ends(self._cancellation.told(error))
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
            self.parts.reclaim()
        self._wait = wait
        return True

    def _next_wait(self, error: BaseException, *, short: bool) -> float | None:
        """Seconds to the next attempt, None where there is none."""
        retry = self.policy.retry
        if retry is None or self._decisions is None:
            return None
        if short and retry.on_oom.startswith("halve:") and not self.parts.halve(retry.on_oom[6:]):
            return None
        decision = self._decisions.failed(error)
        if isinstance(decision, GaveUp):
            self._gave_up = decision.note
            return None
        self.parts.retried(len(self.attempts), decision.seconds, decision.reason, error)
        return float(decision.seconds)

    def _give_up(self, error: BaseException) -> None:
        if self._decisions is not None:
            self._take_back()
        if self._gave_up:
            add_note(error, self._gave_up)
        self.end("failed")

    def _pause(self, seconds: float) -> None:
        self._announce_wait(seconds)
        self.clock.sleep(seconds)
        self._wait_over()
        self._wait = None

    def _interrupted_outside(self) -> BaseException:
        """What to raise for an interrupt that came while no line of the cell was running."""
        last = self.attempts[-1] if self.attempts else None
        told = "stopped by you before the cell began"
        if self.memory_wait_began is not None and last is None:
            told = "stopped by you while waiting for memory"
        elif last is not None:
            told = f"stopped by you before attempt {last.number + 1} of {self.facts().attempts_max}"
            if last.error:
                told += f"; attempt {last.number} failed with {last.error}: {last.message}"
        self.end("interrupted")
        return Interrupted(told)
