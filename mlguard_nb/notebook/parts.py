"""The parts of a policy as they act on a whole cell: inputs, cache, memory, fallback and what happens inside."""

from __future__ import annotations

from types import CodeType
from typing import TYPE_CHECKING, Any

from mlguard_nb.devices.frameworks import asked_bytes, is_out_of_host_memory, is_out_of_memory
from mlguard_nb.devices.readings import known
from mlguard_nb.errors import Holder, MemoryPressure, MemoryStop, PolicyError, add_note
from mlguard_nb.notebook import cell_memory, device_shares
from mlguard_nb.notebook.facts import CacheFacts
from mlguard_nb.notebook.holders import who_holds
from mlguard_nb.policy.switches import disabled
from mlguard_nb.runtime.admission import LEDGER
from mlguard_nb.runtime.pressure import never_fits
from mlguard_nb.telemetry import bus, events, sinks

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlguard_nb.notebook.cell_cache import CellCache
    from mlguard_nb.notebook.running import CellRun
    from mlguard_nb.notebook.session import Session
    from mlguard_nb.notebook.watchdog import Watchdog

__all__ = ["CellParts"]

_OUTCOMES = {"ok": "ok", "cached": "ok", "degraded": "ok", "failed": "error", "refused": "error", "rejected": "error"}
_COUNTED = {
    "CallFinished": "calls", "RetryScheduled": "retries", "CacheHit": "cache_hits", "CacheMiss": "cache_misses",
    "InputRefused": "rejections", "MemoryRefused": "memory_refusals",
}  # fmt: skip


def _nothing() -> None:
    return None


class CellParts:
    """What `run` asks at each of its steps. A part that the policy does not ask for costs nothing."""

    def __init__(self, session: Session, run: CellRun) -> None:
        self._session, self._run = session, run
        self.hit: CacheFacts | None = None
        self._halved: dict[str, Any] = {}
        self._holders: tuple[Holder, ...] = ()
        self._cache: CellCache | None = None
        self._watchdog: Watchdog | None = None
        self._reclaimed = False
        self._stop = 0
        self._promised: list[tuple[str, int]] = []
        if run.policy.monitor is not None:
            sinks.attach_configured()
        self._shares: tuple[device_shares.Lowered, ...] = ()
        self._counts: dict[str, int] = {}
        self._unsubscribe: Callable[[], None] = _nothing
        self.name = run.policy.name or "cell"

    def check_inputs(self) -> None:
        """Raises InputRejected where a live-in breaks its schema; values outside what was seen are noted.

        PolicyError where the line names an input that the cell does not have, or that is of the wrong kind.
        """
        retry = self._run.policy.retry
        if retry is not None and retry.on_oom.startswith("halve:"):
            from mlguard_nb.notebook.cell_inputs import live_ins_of

            name = retry.on_oom[6:]
            if name not in live_ins_of(self._run.source, self._run.namespace):
                raise PolicyError(f"oom=halve:{name}: the cell reads no {name!r} that was there before it")
            cell_memory.halved(name, self._run.namespace[name])
        validate = self._run.policy.validate
        if validate is None or "validate_input" in disabled():
            return
        from mlguard_nb.notebook.cell_inputs import check

        self._run.notes += check(validate, self.name, self._run.source, self._run.namespace, self._session.schemas)

    def restore_cached(self) -> bool:
        """Whether the cache had this cell's result; then its names are bound and its output was shown."""
        cache = self._run.policy.cache
        if cache is None or "cache_result" in disabled():
            return False
        from mlguard_nb.notebook.cell_cache import CellCache

        self._cache = CellCache(cache, self._run.source, self._session, self.name)
        if not self._run.directive.cell.refresh:
            self.hit = self._cache.restore(self._run.clock.wall())
        return self.hit is not None

    def pressure(self) -> MemoryPressure | None:
        """Why memory is too short for the cell to begin, None where there is room."""
        memory = self._run.policy.memory
        if memory is None:
            return None
        if "memory_guard" in disabled():
            return None
        promised = LEDGER.outstanding(self._run.sampler.latest)
        found = cell_memory.pressure(memory, self._run.meter.devices(), promised)
        if found is not None and not self._reclaimed:
            self._reclaimed = True
            cell_memory.reclaim()
            found = cell_memory.pressure(memory, self._run.meter.devices(fresh=True), promised)
        self._holders = found.holders if found is not None else ()
        return found

    def tell_pressure(self, pressure: MemoryPressure, action: str) -> None:
        """Tell the listeners that memory was short, and what was done about it."""
        bus.emit(
            events.MemoryRefused(
                function=self.name, device=pressure.device, action=action, used_bytes=pressure.used,
                limit_bytes=pressure.limit, needed_bytes=pressure.needed,
            )
        )  # fmt: skip

    def tell_waited(self, pressure: MemoryPressure, seconds: float) -> None:
        """Tell the listeners how long the cell waited for memory."""
        bus.emit(events.MemoryWaited(function=self.name, device=pressure.device, wait_seconds=seconds))

    def run_begins(self, code: CodeType) -> None:
        """The cell's first attempt is about to begin."""
        self._unsubscribe = bus.subscribe(self._heard)
        memory = self._run.policy.memory
        if memory is not None and isinstance(memory.need, int):
            reading = self._run.sampler.latest
            for device in self._run.meter.devices():
                if cell_memory.is_needed_on(memory, device):
                    LEDGER.force(cell_memory.ledger_key(device), memory.need, reading)
                    self._promised.append((cell_memory.ledger_key(device), memory.need))
        if self._cache is not None:
            self._cache.record()

    def attempt_begins(self) -> None:
        """An attempt begins: from here on memory is watched."""
        memory = self._run.policy.memory
        if memory is None or memory.on_pressure == "warn" or "memory_guard" in disabled():
            return
        meter = self._run.meter
        if memory.gpu is not None:
            # Shares follow from what others hold now: an old reading would count what we have given back as theirs.
            self._shares = device_shares.lower(meter.devices(fresh=True))
        stop = meter.ram_stop(self._run.sampler.latest.ram)
        if stop is not None:
            self._stop = stop
            self._watchdog = self._session.watch(self._run, stop)

    def attempt_ends(self, error: BaseException | None) -> BaseException | None:
        """An attempt is over; the error that counts, which may say more than the one that was raised."""
        watchdog, self._watchdog = self._watchdog, None
        shares, self._shares = self._shares, ()
        device_shares.restore(shares)
        fired = 0 if watchdog is None else watchdog.disarm(failed=error is not None, near=self._is_near())
        if error is not None and shares and is_out_of_memory(error) and not is_out_of_host_memory(error):
            return self._of_device(error, shares)
        if watchdog is None:
            return error
        if error is None:
            if watchdog.fired:
                self._run.notes.append("the stop was reached, but the cell caught MemoryPressure and went on")
            return None
        if isinstance(error, MemoryPressure) and error.device != "RAM":
            return error
        if isinstance(error, (MemoryPressure, MemoryStop)) or (
            is_out_of_memory(error) and (fired or is_out_of_host_memory(error))
        ):
            return self._explained(error)
        return error

    def _is_near(self) -> bool:
        """Whether host memory is, or was a moment ago, close to the stop."""
        used = known(self._run.sampler.latest.ram.used_bytes)
        return used is None or used >= 0.8 * self._stop

    def _of_device(self, error: BaseException, shares: tuple[device_shares.Lowered, ...]) -> MemoryPressure:
        """The framework's own error as the pressure on the device that it ran out of."""
        full = max(shares, key=lambda share: share.used_bytes)
        device = next(one for one in self._run.meter.devices() if one.key == full.uuid)
        self._holders = who_holds(device)
        asked, stop = asked_bytes(error), device.stop
        step = "use smaller batches (oom=halve:NAME), or raise gpu="
        if asked is not None and stop is not None and asked >= stop:
            step = never_fits(asked, stop)
        told = MemoryPressure(
            device.label, needed=asked, limit=stop, holders=self._holders, used=device.used, next_step=step
        )
        add_note(told, f"raised as {type(error).__name__}: {str(error).partition(chr(10))[0]}")
        return told

    def _explained(self, error: BaseException) -> MemoryPressure:
        """The pressure with what is known now: use, stop, and who holds it."""
        ram = next(device for device in self._run.meter.devices(fresh=True) if device.key == "ram")
        self._holders = who_holds(ram)
        told = error if isinstance(error, MemoryPressure) else MemoryPressure("RAM")
        asked = asked_bytes(error) if told is not error else None
        step = "make the cell need less, or raise mem="
        if asked is not None and ram.stop is not None and asked >= ram.stop:
            step = never_fits(asked, ram.stop)
        told.__init__(  # type: ignore[misc]  # the error that the handler raised learns what it could not look up
            "RAM", needed=asked, limit=ram.stop, holders=self._holders, used=ram.used, next_step=step,
        )  # fmt: skip
        if isinstance(error, MemoryStop):
            add_note(told, "the cell caught it once and went on allocating")
        elif told is not error:
            add_note(told, f"raised as {type(error).__name__}: {error}".rstrip(": "))
        return told

    def reclaim(self) -> None:
        """Free what can be freed after an attempt that ran out of memory."""
        cell_memory.reclaim()

    def halve(self, name: str) -> bool:
        """Make an input smaller for the next attempt: False where it cannot become smaller."""
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

    def retried(self, attempt: int, seconds: float, reason: str, error: BaseException) -> None:
        """Another attempt follows."""
        bus.emit(
            events.RetryScheduled(
                function=self.name, attempt=attempt, wait_seconds=seconds, reason=reason, error=type(error).__name__
            )
        )

    def fall_back(self) -> tuple[str, ...]:
        """Call the fallback with the live-ins that it names; the names it bound."""
        memory = self._run.policy.memory
        if memory is None or memory.fallback is None:
            raise PolicyError("fallback: there is none")
        function: Any = memory.fallback  # bound to its object before the run began
        return cell_memory.fall_back(function, self._run.namespace)

    def run_ends(self, phase: str) -> None:
        """The run is over: inputs that were made smaller have their old values again."""
        for name, before in self._halved.items():
            worked = self._run.namespace.get(name)
            if phase == "ok":
                self._run.notes.append(f"worked with {name}={worked}; {name} is {before} again")
            self._run.namespace[name] = before
        self._halved = {}
        for device, need in self._promised:
            LEDGER.release(device, need)
        self._promised = []
        bus.flush()
        self._unsubscribe()
        if self._cache is not None:
            note = self._cache.keep(self._run.clock.wall(), self._run.meter.elapsed()) if phase == "ok" else None
            self._run.notes += [note] if note else []
            self._cache.close()
        if self._run.policy.monitor is not None and phase in _OUTCOMES:
            last = self._run.attempts[-1].error if self._run.attempts else None
            outcome = _OUTCOMES[phase]
            bus.emit(
                events.CallFinished(
                    function=self.name,
                    outcome=outcome,
                    duration_seconds=self._run.meter.elapsed(),
                    error=last if outcome == "error" else None,
                )
            )

    def _heard(self, event: events.Event) -> None:
        word = _COUNTED.get(type(event).__name__)
        if word is not None and event.function != self.name:
            self._counts[word] = self._counts.get(word, 0) + getattr(event, "count", 1)

    def holders(self) -> tuple[Holder, ...]:
        """Who holds the memory that was short."""
        return self._holders

    def calls_inside(self) -> tuple[tuple[str, int], ...]:
        """What guarded functions did inside the cell: retries, cache hits and so on, counted."""
        return tuple(sorted(self._counts.items()))
