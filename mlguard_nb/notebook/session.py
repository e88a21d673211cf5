"""What one kernel keeps between its guarded cells: profiles, switches, learned schemas, and a record of every run."""

from __future__ import annotations

import linecache
import sys
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import MemoryStop, PolicyError
from mlguard_nb.notebook.live import LiveView, Updater

if TYPE_CHECKING:
    from mlguard_nb.devices.sampler import Sampler
    from mlguard_nb.notebook.cell_inputs import Learned
    from mlguard_nb.notebook.facts import RunFacts
    from mlguard_nb.notebook.parts import CellParts
    from mlguard_nb.notebook.publisher import Publisher
    from mlguard_nb.notebook.run_state import RunState
    from mlguard_nb.notebook.running import CellRun
    from mlguard_nb.notebook.watchdog import Watchdog
    from mlguard_nb.policy.directive import Directive
    from mlguard_nb.policy.values import CachePolicy

__all__ = ["Session"]

_REMEMBERED_RUNS = 500
_LINES = 100
_SHORT_CURVE = 8  # readings: as long as a copy without them


@dataclass(slots=True)
class Session:
    """The state of the extension in one kernel. `namespace` is the user's; `publisher` is where views go.

    What runs cells is imported by the first guarded cell, so that loading the extension costs next to nothing.
    """

    namespace: dict[str, Any]
    publisher: Publisher
    profiles: dict[str, str] = field(default_factory=dict)
    everywhere: str | None = None  # the line for cells without one; None: they are not guarded
    schemas: dict[str, Learned] = field(default_factory=dict)
    history: deque[RunFacts] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_RUNS))
    updater: Updater = field(default_factory=Updater)
    chaos: ExitStack | None = None
    faults: str | None = None  # the line of the chaos in force
    caches: dict[str, Any] = field(default_factory=dict)
    running: list[CellRun] = field(default_factory=list)
    watchdog: Watchdog | None = None
    told_unsupported: bool = False
    directives: dict[str, Directive] = field(default_factory=dict)  # lines as read, under the profiles as they are

    def sampler(self) -> Sampler:
        """The process's one sampler of the machine."""
        from mlguard_nb.devices.sampler import shared

        return shared()

    def read(self, line: str) -> Directive:
        """The directive of a line; DirectiveError for a bad one. Profiles of `%guard set` count."""
        from mlguard_nb.policy.directive import parse

        found = self.directives.get(line)  # a cell's line is read by the transformer and again by the marker
        if found is None:
            found = parse(line, profiles=self.profiles)
            if len(self.directives) >= _LINES:
                self.directives.clear()
            self.directives[line] = found
        return found

    def set_profile(self, name: str, line: str) -> None:
        """Let `%%guard NAME` stand for `line`. PolicyError for a name or a line that cannot be."""
        if not name.isidentifier() or not line.strip():
            raise PolicyError("write a name and its options, such as: %guard set train retry=3 mem=0.8")
        self.read(line)
        self.profiles[name] = line.strip()
        self.directives.clear()

    def guard_everywhere(self, line: str) -> None:
        """Guard every cell with `line`. PolicyError for a bad one."""
        self.read(line)
        self.everywhere = line

    def start_chaos(self, line: str) -> None:
        """Inject the faults of `line`. PolicyError for a bad one, and then what is in force stays as it is."""
        from mlguard_nb import testing
        from mlguard_nb.notebook.faults import faults

        wanted = faults(line)
        self.end_chaos()
        self.chaos, self.faults = ExitStack(), line
        self.chaos.enter_context(testing.chaos(**wanted))

    def end_chaos(self) -> None:
        """Inject nothing any more."""
        if self.chaos is not None:
            self.chaos.close()
        self.chaos = self.faults = None

    def begin(self, line: str, filename: str) -> CellRun:
        """A new run for the cell in `filename`. Raises PolicyError for a bad line or an unbound name."""
        from mlguard_nb.notebook.running import CellRun

        directive = self.read(line)
        if not directive.is_bound:
            from mlguard_nb.policy.binding import bind
            from mlguard_nb.policy.directive import pointed_at

            try:
                bound = bind(directive.policy, self.namespace)
            except PolicyError as error:
                raise pointed_at(line, error) from None
            directive = replace(directive, policy=bound, is_bound=True)
        run = CellRun(self, directive, _below_first_line(filename))
        self.running.append(run)
        return run

    def parts_of(self, run: CellRun) -> CellParts:
        """The parts of the policy that act on a whole cell."""
        from mlguard_nb.notebook.parts import CellParts

        return CellParts(self, run)

    def ended(self, run: RunState, facts: RunFacts) -> None:
        """Remember how a run ended."""
        self.dropped(run)
        if any(len(device.history) > _SHORT_CURVE for device in facts.devices):
            # The curve is the bulk of it, and no report shows it.
            facts = replace(facts, devices=tuple(replace(device, history=()) for device in facts.devices))
        self.history.append(facts)

    def dropped(self, run: RunState) -> None:
        """The run is over."""
        self.running = [other for other in self.running if other is not run]

    def show(self, facts: RunFacts) -> None:
        """Show a view that does not change."""
        LiveView(self.publisher, lambda: facts, self.updater).close(facts)

    def keep(self, found: dict[str, Any], text: str) -> None:
        """Write `found` into this cell's output as JSON: a saved notebook carries it, the export reads it."""
        from mlguard_nb.notebook.bundle import MIME

        self.publisher.publish({MIME: {"version": 1, **found}, "text/plain": text}, "", update=False)

    def cell_store(self, policy: CachePolicy) -> Any:
        """Where this policy's cells are kept: one store for each backend, for as long as the kernel lives."""
        from mlguard_nb.notebook.cell_stores import open_store

        found = self.caches.get(policy.backend)
        if found is None:
            found = self.caches[policy.backend] = open_store(policy)
        return found

    def watch(self, run: CellRun, stop: int) -> Watchdog | None:
        """Watch the attempt of `run` that begins now; None where this cannot be done here (said once)."""
        from mlguard_nb.devices.machine import LocalMachine, current
        from mlguard_nb.notebook.watchdog import Watchdog, is_supported, plan_for

        if not is_supported():
            if not self.told_unsupported:
                self.told_unsupported = True
                run.notes.append("no watchdog here (Linux and the main thread only): mem= is checked before the cell")
            return None
        watchdog = self.watchdog = self.watchdog or Watchdog()
        if watchdog.is_armed:  # a guarded cell inside another: the outer one is watching
            return None
        machine = current()
        groups = machine.groups if isinstance(machine, LocalMachine) else ()  # a machine of the tests has none
        plan = plan_for(machine.ram(), stop, groups, overcommit=run.directive.cell.overcommit)
        if plan is None:
            run.notes.append("not watched while it runs: nobody here can say how much memory is in use")
            return None
        try:
            watchdog.arm(run, plan)
        except OSError as error:
            run.notes.append(
                f"not watched while it runs: the sentinel cannot start ({error}). mem= was checked before the cell only"
            )
            return None
        return watchdog

    def after_cell(self, result: Any) -> None:
        """The traceback of a cell has been shown: end what it left open, free what it holds if memory was short."""
        for run in self.running:
            if run.is_torn(sys._getframe()):
                run.end("interrupted")
        error = getattr(result, "error_in_exec", None)
        if error is None:
            return
        from mlguard_nb.devices.frameworks import is_out_of_memory

        if isinstance(error, MemoryStop) or is_out_of_memory(error):
            from mlguard_nb.notebook.cell_memory import reclaim
            from mlguard_nb.notebook.eviction import evict

            evict(error)
            reclaim()

    def close(self) -> None:
        """End what runs in the background."""
        self.end_chaos()
        self.updater.stop()
        if self.watchdog is not None:
            self.watchdog.stop()


def _below_first_line(filename: str) -> str:
    entry = linecache.cache.get(filename)
    lines = entry[2] if entry is not None and len(entry) == 4 else []
    return "".join(lines[1:])
