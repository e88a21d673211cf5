"""Whether memory allows a cell to begin, and what its line says is to be done where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlguard_nb.errors import DeviceUnavailable, MemoryPressure
from mlguard_nb.notebook import cell_memory
from mlguard_nb.notebook.interrupts import in_one_line

if TYPE_CHECKING:
    from mlguard_nb.notebook.running import CellRun

__all__ = ["admit", "check_device"]

_LOOK_SECONDS = 0.1


def check_device(run: CellRun) -> None:
    """A device that is not there cannot run out of memory: the cell runs, and its view says what is not guarded."""
    try:
        run.meter.check_device()
    except DeviceUnavailable as error:
        run.notes.append(f"no device is guarded: {error}")


def admit(run: CellRun) -> bool:
    """Whether memory allows the cell to begin; raises MemoryPressure, waits, warns, skips or falls back."""
    __tracebackhide__ = True
    memory = run.policy.memory
    pressure = run.parts.pressure()
    if memory is None or pressure is None:
        return True
    if memory.on_pressure == "warn":
        run.notes.append(f"warned: {pressure}")
        run.parts.tell_pressure(pressure, "warn")
        return True
    run.pressure = pressure
    if memory.on_pressure == "wait" and not cell_memory.is_hopeless(memory, pressure):
        pressure = _wait_for_memory(run, pressure, memory.wait_timeout)
        if pressure is None:
            run.pressure = None
            return True
        run.pressure = pressure
    if memory.fallback is not None:
        run.parts.tell_pressure(pressure, "fallback")
        return run.fall_back()
    if memory.on_pressure == "skip":
        run.parts.tell_pressure(pressure, "skip")
        run.end("skipped")
        return False
    run.parts.tell_pressure(pressure, "stop")
    run.end("refused")
    raise in_one_line(pressure)


def _wait_for_memory(run: CellRun, pressure: MemoryPressure, patience: float) -> MemoryPressure | None:
    run.phase = "waiting_memory"
    run.memory_wait_began = began = run.clock.now()
    if run.directive.cell.view == "live":
        run.show_view()
    still: MemoryPressure | None = pressure
    while still is not None and run.clock.now() - began < patience:
        run.clock.sleep(min(_LOOK_SECONDS, patience))
        still = run.parts.pressure()
        run.pressure = still or run.pressure
    run.phase = "running" if still is None else run.phase
    run.parts.tell_waited(pressure, run.clock.now() - began)
    return still
