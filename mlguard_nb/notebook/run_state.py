"""What one run of a guarded cell knows of itself, and how its view is told: no decision is made here."""

from __future__ import annotations

import sys
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any

from mlguard_nb import clock as clocks
from mlguard_nb.errors import MemoryPressure
from mlguard_nb.notebook.bindings import Bindings
from mlguard_nb.notebook.facts import AttemptFacts, RunFacts
from mlguard_nb.notebook.live import LiveView
from mlguard_nb.notebook.meter import Meter
from mlguard_nb.notebook.tracebacks import first_line, line_of

if TYPE_CHECKING:
    from mlguard_nb.notebook.parts import CellParts
    from mlguard_nb.notebook.session import Session
    from mlguard_nb.policy.directive import Directive

__all__ = ["RunState"]


class RunState:
    """The state of one run. `source` is the cell's text below line 1, `code` what runs of it once it runs.

    `parts` are the parts of the policy that act on the whole cell.
    """

    parts: CellParts

    def __init__(self, session: Session, directive: Directive, source: str) -> None:
        self.session, self.directive, self.source = session, directive, source
        self.policy = directive.policy
        self.namespace: dict[str, Any] = session.namespace
        self.clock = clocks.current()
        self.sampler = session.sampler()
        self.meter = Meter(self.sampler, self.policy.memory, self.clock.now)
        self.phase = "running"
        self.attempts: list[AttemptFacts] = []
        self.notes: list[str] = []
        self.pressure: MemoryPressure | None = None
        self.code: CodeType | None = None
        self.memory_wait_began: float | None = None
        self.ended = False
        self._started_wall = self.clock.wall()
        self._attempt_began = 0.0
        self._wait_ends = 0.0
        self._view: LiveView | None = None
        self._bindings: Bindings | None = None
        self._rolled_back = False
        self._bound: tuple[str, ...] = ()
        self._final: RunFacts | None = None

    # The names that the cell binds.

    def keep(self, name: str, value: Any) -> None:
        """From now on a failed attempt takes `name` back to `value`."""
        if self._bindings is not None:
            self._bindings.keep(name, value)

    def _take_back(self) -> None:
        if self._bindings is not None and self._bindings.restore():
            self._rolled_back = True

    # Attempts and waits.

    def _note_attempt(self, outcome: str, error: BaseException | None, trace: TracebackType | None) -> None:
        number = self.attempts[-1].number
        self.attempts[-1] = AttemptFacts(
            number=number, outcome=outcome, seconds=self.clock.now() - self._attempt_began,
            error=None if error is None else type(error).__name__,
            message="" if error is None else first_line(error),
            line=line_of(trace, self.code),
        )  # fmt: skip

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
        self.phase = "running"

    # The view, the end, and the facts.

    def show_view(self) -> None:
        """Open the live view, once."""
        if self._view is None:
            self._view = LiveView(self.session.publisher, self.facts, self.session.updater)
            self._view.open()

    def end(self, phase: str) -> None:
        """The run is over; the final state is stored in the view and in the session's report."""
        if self.ended:
            return
        self.ended, self.phase = True, phase
        self.meter.stop()
        if self._bindings is not None and phase == "ok":
            self._bound = self._bindings.changed()
        self.parts.run_ends(phase)
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
        waited = None if self.memory_wait_began is None else now - self.memory_wait_began
        return RunFacts(
            phase=self.phase, policy=self.directive.policy, cell=self.directive.cell, line=self.directive.text,
            name=self.policy.name, started_wall=self._started_wall, wall=self.clock.wall(),
            elapsed=self.meter.elapsed(), attempts=self._attempts_now(now), devices=self.meter.devices(over),
            holders=self.parts.holders(), wait_left=max(0.0, self._wait_ends - now), waited=waited,
            cache=self.parts.hit, next_step=self.pressure.next_step if self.pressure is not None else None,
            bound=self._bound, rolled_back=self._rolled_back, notes=tuple(self.notes),
            calls_inside=self.parts.calls_inside(),
        )  # fmt: skip

    def _attempts_now(self, now: float) -> tuple[AttemptFacts, ...]:
        attempts = tuple(self.attempts)
        if attempts and attempts[-1].outcome == "running":
            running = AttemptFacts(number=attempts[-1].number, outcome="running", seconds=now - self._attempt_began)
            return (*attempts[:-1], running)
        return attempts
