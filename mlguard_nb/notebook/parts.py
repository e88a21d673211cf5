"""The parts of a policy as they act on a whole cell: inputs, cache, memory, fallback and what happens inside."""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import Holder, MemoryPressure, PolicyError
from mlguard_nb.notebook import cell_memory
from mlguard_nb.notebook.facts import CacheFacts

if TYPE_CHECKING:
    from mlguard_nb.notebook.running import CellRun
    from mlguard_nb.notebook.session import Session

__all__ = ["CellParts"]


class CellParts:
    """What `run` asks at each of its steps. A part that the policy does not ask for costs nothing."""

    def __init__(self, session: Session, run: CellRun) -> None:
        self._session, self._run = session, run
        self.hit: CacheFacts | None = None
        self._halved: dict[str, Any] = {}
        self._holders: tuple[Holder, ...] = ()

    def check_inputs(self) -> None:
        """Raises InputRejected where a live-in breaks its schema."""

    def restore_cached(self) -> bool:
        """Whether the cache had this cell's result; then its names are bound and its output was shown."""
        return False

    def pressure(self) -> MemoryPressure | None:
        """Why memory is too short for the cell to begin, None where there is room."""
        memory = self._run.policy.memory
        if memory is None:
            return None
        found = cell_memory.pressure(memory, self._run.meter)
        self._holders = found.holders if found is not None else ()
        return found

    def run_begins(self, code: CodeType) -> None:
        """The cell's first attempt is about to begin."""

    def attempt_begins(self) -> None:
        """An attempt begins."""

    def attempt_ends(self, error: BaseException | None) -> BaseException | None:
        """An attempt is over; the error that counts, which may say more than the one that was raised."""
        return error

    def reclaim(self) -> None:
        """Free what can be freed after an attempt that ran out of memory."""
        cell_memory.reclaim()

    def make_room(self, how: str) -> bool:
        """Prepare another attempt after an out-of-memory: False where nothing can be made smaller."""
        if not how.startswith("halve:"):
            return True
        name = how.removeprefix("halve:")
        space = self._run.namespace
        if name not in space:
            return False
        before = space[name]
        smaller = cell_memory.halved(name, before)
        if smaller is None:
            return False
        self._halved.setdefault(name, before)
        space[name] = smaller
        self._run.notes.append(f"out of memory at {name}={before}: tried again with {name}={smaller}")
        self._run.keep(name, smaller)
        return True

    def fall_back(self) -> tuple[str, ...]:
        """Call the fallback with the live-ins that it names; the names it bound."""
        memory = self._run.policy.memory
        if memory is None or memory.fallback is None:
            raise PolicyError("fallback: there is none")
        return cell_memory.fall_back(memory.fallback, self._run.namespace)

    def run_ends(self, phase: str) -> None:
        """The run is over: inputs that were made smaller have their old values again."""
        for name, before in self._halved.items():
            worked = self._run.namespace.get(name)
            if phase == "ok":
                self._run.notes.append(f"worked with {name}={worked}; {name} is {before} again")
            self._run.namespace[name] = before
        self._halved = {}

    def holders(self) -> tuple[Holder, ...]:
        """Who holds the memory that was short."""
        return self._holders

    def calls_inside(self) -> tuple[tuple[str, int], ...]:
        """What guarded functions did inside the cell: retries, cache hits and so on, counted."""
        return ()
