"""memory_guard: a call begins only where memory has room; else memory is reclaimed, waited for, or it is refused."""

from __future__ import annotations

import inspect
import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import CoroutineType
from typing import Any, TypeVar, cast, overload

from mlguard_nb import clock, devices
from mlguard_nb.devices.readings import Reading
from mlguard_nb.errors import DeviceUnavailable, MemoryPressure, PolicyError
from mlguard_nb.policy.values import MemoryPolicy
from mlguard_nb.runtime.admission import LEDGER
from mlguard_nb.runtime.fallbacks import check_fallback
from mlguard_nb.runtime.holders import holders_of
from mlguard_nb.runtime.options import decorate, policy_from
from mlguard_nb.runtime.pressure import RAM, is_hopeless, pressure, watched_gpus
from mlguard_nb.runtime.reclaim import ladder
from mlguard_nb.runtime.steps import Steps, run, run_async
from mlguard_nb.runtime.wrapping import DELEGATE, Guard, Kind, wrap
from mlguard_nb.telemetry import bus

__all__ = ["MemoryGuard", "admit", "memory_guard", "pressure"]

_log = logging.getLogger("mlguard.memory")
F = TypeVar("F", bound=Callable[..., Any])
_LOOK_SECONDS = 0.1
_NEAR = 0.1  # less than this share is left below a stop
_DRIVER_SECONDS = 1.0


@overload
def memory_guard(function: F, /) -> F: ...
@overload
def memory_guard(policy: MemoryPolicy, /, *, name: str | None = None) -> Callable[[F], F]: ...
@overload
def memory_guard(
    *,
    ram: float | str | None = ...,
    gpu: float | str | None = ...,
    need: int | str | Callable[..., int] | None = ...,
    device: int | str | None = ...,
    on_pressure: str = ...,
    wait_timeout: float | str = ...,
    fallback: Callable[..., Any] | None = ...,
    hysteresis: float = ...,
    actions: tuple[str, ...] = ...,
    name: str | None = None,
) -> Callable[[F], F]: ...
def memory_guard(given: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Call the function only while less than `ram` (0.8 of the container) and `gpu` is in use, `need` included.

    Bare, with the fields of MemoryPolicy as keywords, or with a MemoryPolicy. Where memory is short the ladder of
    `actions` is climbed first. Then `on_pressure` decides: "stop" raises MemoryPressure, "wait" waits up to
    `wait_timeout` seconds and then stops, "warn" calls all the same, "skip" returns None (no items, of a generator).
    With `fallback` that function is called instead of stopping. What needs more than the limit can never fit: unless it
    only warns, nothing is reclaimed and nobody waits. A limit nobody can read lets calls through, and is
    warned about once; so does a driver that gives no answer within `wait_timeout` (or three seconds, whichever is
    less; one at least).
    """
    is_function = callable(given) or isinstance(given, (staticmethod, classmethod))
    policy = policy_from(MemoryPolicy, None if is_function else given, options, "memory_guard")
    return decorate(given, lambda function: wrap(function, MemoryGuard(policy, name)))


_SYNC = """\
if _mlguard_guard.is_closed:
    _mlguard_stay = _mlguard_guard.enter(<args>, <kwargs>)
    try:
        _mlguard_result = <call> if _mlguard_stay.instead is None else _mlguard_stay.instead(*<args>, **<kwargs>)
    finally:
        _mlguard_stay.leave()
    if type(_mlguard_result) is not _mlguard_coroutine or _mlguard_stay.instead is not None:
        return _mlguard_result
    return _mlguard_guard.awaited(_mlguard_result, <args>, <kwargs>)
return <call>
"""
_COROUTINE = """\
if _mlguard_guard.is_closed:
    _mlguard_stay = await _mlguard_guard.enter_async(<args>, <kwargs>)
    try:
        if _mlguard_stay.instead is None:
            return await <call>
        return await _mlguard_stay.answer(<args>, <kwargs>)
    finally:
        _mlguard_stay.leave()
return await <call>
"""
_GENERATOR = """\
_mlguard_stay = _mlguard_guard.enter(<args>, <kwargs>)
try:
    if _mlguard_stay.instead is None:
        return (yield from <call>)
    return (yield from _mlguard_stay.instead(*<args>, **<kwargs>) or ())
finally:
    _mlguard_stay.leave()
"""
_ASYNCGEN = (
    """\
_mlguard_stay = await _mlguard_guard.enter_async(<args>, <kwargs>)
try:
    if _mlguard_stay.instead is not None:
        async for _mlguard_item in _mlguard_stay.items(<args>, <kwargs>):
            yield _mlguard_item
        return
"""
    + "".join(f"    {line}\n" for line in DELEGATE.splitlines())
    + "finally:\n    _mlguard_stay.leave()\n"
)


class Stay:
    """One call that was let in, or answered otherwise (`instead`). `leave` gives its reservation back."""

    __slots__ = ("_promised", "instead")

    def __init__(self, promised: tuple[tuple[str, int], ...] = (), instead: Callable[..., Any] | None = None) -> None:
        self._promised, self.instead = promised, instead

    def leave(self) -> None:
        """The call is over."""
        for device, need in self._promised:
            LEDGER.release(device, need)
        self._promised = ()

    async def answer(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What the fallback returns, sync or async."""
        assert self.instead is not None
        result = self.instead(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    async def items(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """What the fallback yields, sync or async; nothing for a skipped call."""
        assert self.instead is not None
        result = self.instead(*args, **kwargs)
        if hasattr(result, "__aiter__"):
            async for item in result:
                yield item
        else:
            for item in result or ():
                yield item


def _nothing(*_args: Any, **_kwargs: Any) -> None:
    return None


class MemoryGuard(Guard):
    """The gate before one function. `is_closed` is what the call path reads: open means that there is room."""

    part = "memory"
    decorator = "memory_guard"
    policy: MemoryPolicy

    def reset(self) -> None:
        """Closed until the first look, so that importing starts no thread."""
        self.is_closed = True
        self._is_paused = False
        self._is_watched = False

    def attach(self, function: Callable[..., Any], kind: Kind) -> None:
        """Refuse a fallback that cannot be called as the function is."""
        super().attach(function, kind)
        if self.policy.fallback is not None:
            check_fallback(function, self.policy.fallback, self.label, option="memory: fallback")

    def template(self, kind: Kind) -> str:
        """An attribute read where there is room; a generator is admitted at its first item."""
        return {"sync": _SYNC, "coroutine": _COROUTINE, "generator": _GENERATOR, "asyncgen": _ASYNCGEN}[kind]

    def objects(self, kind: Kind) -> Mapping[str, Any]:
        """What a call is told by that has not done its work yet."""
        return {"_mlguard_coroutine": CoroutineType} if kind == "sync" else {}

    # What the sampler does.

    def look(self, reading: Reading) -> bool:
        """Open or close for the calls to come; True where the next look should come soon, since a stop is near.

        With `need` every call is looked at, since it must be reserved.
        """
        try:
            is_near = self._short(reading, 0, {}, _NEAR) is not None
            self.is_closed = self.policy.need is not None or (is_near and self._short(reading, 0, {}) is not None)
        except DeviceUnavailable:  # the next call says so, to somebody who can act on it
            self.is_closed, is_near = True, False
        return is_near

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            _watch(self)

    def _short(
        self, reading: Reading, need: int, reserved: dict[str, int], margin: float = 0.0
    ) -> MemoryPressure | None:
        margin = max(margin, self.policy.hysteresis) if self._is_paused else margin
        return pressure(self.policy, reading, need=need, reserved=reserved, margin=margin)

    # What a call does that finds the gate closed.

    def enter(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Stay:
        """Let the call in, or say what to do instead; MemoryPressure where the policy stops."""
        return run(self._entering(args, kwargs))

    async def enter_async(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Stay:
        """The same, letting other tasks run while it waits, also for an answer of the driver or the system.

        Only a full collection stops the loop wherever it runs, as it stops every thread.
        """
        return await run_async(self._entering(args, kwargs))

    async def awaited(
        self, coroutine: CoroutineType[Any, Any, Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """The work of a sync function that has returned a coroutine: admitted when that is awaited, until it ends."""
        try:
            stay = await self.enter_async(args, kwargs)
            try:
                return await (coroutine if stay.instead is None else stay.answer(args, kwargs))
            finally:
                stay.leave()
        finally:
            coroutine.close()

    def _entering(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Steps[Stay]:
        """What happens at the gate: yields waits in seconds and slow questions, is sent answers, returns the stay."""
        need = self._need(args, kwargs)
        self._watch()
        found = yield from self._admit(need)
        if isinstance(found, MemoryPressure) and self.policy.on_pressure == "wait" and not is_hopeless(found):
            first, started = found, clock.current().now()
            for seconds in self._waits(started):
                yield seconds
                found = yield from self._admit(need)
                if isinstance(found, Stay):
                    break
            self._tell_wait(first, started)
        return found if isinstance(found, Stay) else (yield from self._refused(found, need))

    def _need(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
        need = self.policy.need
        if need is None or isinstance(need, int):
            return need or 0
        if not callable(need):
            raise PolicyError(f"memory: need={need!r} is a name that was never bound")
        asked = need(*args, **kwargs)
        if isinstance(asked, bool) or not isinstance(asked, int) or asked < 0:
            raise PolicyError(f"memory: need= of {self.label} must return bytes as a whole number, got {asked!r}")
        return asked

    def _admit(self, need: int) -> Steps[Stay | MemoryPressure]:
        """Look now; where it is short, and reclaiming may help, climb the ladder and look again."""
        found = self._promise(need, (yield from self._reading()))
        if isinstance(found, Stay) or (is_hopeless(found) and self.policy.on_pressure != "warn"):
            return found
        climb = partial(ladder, self.policy.actions, lambda: self._is_short(need), self.label)
        reclaimed = yield climb
        return self._promise(need, (yield from self._reading())) if reclaimed else found

    @property
    def _asks_devices(self) -> bool:
        return self.policy.gpu is not None or self.policy.device is not None

    def _reading(self) -> Steps[Reading]:
        """The machine now. The driver is asked only where a device matters: that costs a thousand times more."""
        return cast("Reading", (yield self._read)) if self._asks_devices else self._read()

    def _read(self) -> Reading:
        gpus: tuple[devices.Gpu, ...] | devices.Unknown = ()
        if self._asks_devices:
            gpus = devices.shared().devices_now(max(_DRIVER_SECONDS, self.policy.wait_timeout))
        return Reading(clock.current().wall(), devices.current().ram(), gpus)

    def _is_short(self, need: int) -> bool:
        reading = self._read()
        return self._short(reading, need, LEDGER.outstanding(reading)) is not None

    def _promise(self, need: int, reading: Reading) -> Stay | MemoryPressure:
        promised: list[tuple[str, int]] = []
        for device in self._devices(reading):
            short = LEDGER.promise(device, need, reading, lambda reserved: self._short(reading, need, reserved))
            if short is not None:
                for taken, bytes_taken in promised:
                    LEDGER.release(taken, bytes_taken)
                self._is_paused = self._is_paused or not is_hopeless(short)
                return short
            promised.append((device, need))
        self._is_paused = False
        self.is_closed = self.policy.need is not None
        return Stay(tuple(promised) if need else ())

    def _devices(self, reading: Reading) -> tuple[str, ...]:
        """Where `need` is promised: the devices the policy speaks of, else RAM."""
        if not self._asks_devices:
            return (RAM,)
        return tuple(gpu.uuid for gpu in watched_gpus(self.policy, reading.gpus)) or (RAM,)

    def _waits(self, started: float) -> Iterator[float]:
        """Seconds to sleep between two looks; they end at `wait_timeout`, whatever happens."""
        until = started + self.policy.wait_timeout
        while (left := until - clock.current().now()) > 0:
            yield min(left, _LOOK_SECONDS)

    def _refused(self, short: MemoryPressure, need: int) -> Steps[Stay]:
        policy = self.policy
        action: str = policy.on_pressure
        if action in ("stop", "wait"):
            action = "fallback" if callable(policy.fallback) else "stop"
        self._tell(short, action)
        if action == "warn":
            _log.warning("%s runs although memory is short: %s", self.label, short)
            reading = yield from self._reading()
            promised = tuple((device, need) for device in self._devices(reading)) if need else ()
            for device, asked in promised:
                LEDGER.force(device, asked, reading)
            return Stay(promised)
        if action == "skip":
            _log.warning("%s is skipped: %s", self.label, short)
            return Stay(instead=policy.fallback if callable(policy.fallback) else _nothing)
        if action == "fallback":
            assert callable(policy.fallback)
            return Stay(instead=policy.fallback)
        raise (yield partial(explained, short, policy))

    def _tell_wait(self, short: MemoryPressure, started: float) -> None:
        if bus.is_heard():
            seconds = clock.current().now() - started
            from mlguard_nb.telemetry.events import MemoryWaited

            bus.emit(MemoryWaited(function=self.label, device=short.device, wait_seconds=seconds))

    def _tell(self, short: MemoryPressure, action: str) -> None:
        if bus.is_heard():
            from mlguard_nb.telemetry.events import MemoryRefused

            bus.emit(
                MemoryRefused(
                    function=self.label, device=short.device, action=action,
                    used_bytes=short.used, limit_bytes=short.limit, needed_bytes=short.needed,
                )
            )  # fmt: skip


def explained(short: MemoryPressure, policy: MemoryPolicy) -> MemoryPressure:
    """The same pressure with who holds the memory, and when trying again may help."""
    return MemoryPressure(
        short.device, short.needed, short.free, short.limit, holders_of(short.device),
        None if is_hopeless(short) else policy.wait_timeout or None, short.used, short.next_step,
    )  # fmt: skip


@contextmanager
def admit(policy: MemoryPolicy, *, name: str = "this block", args: tuple[Any, ...] = ()) -> Iterator[Stay]:
    """Reserve what `policy` needs for the length of a block; MemoryPressure where there is no room.

    Reclaims and waits as the decorator does. Where the policy skips or has a fallback, the block gets a Stay whose
    `instead` is to be called in place of its work.
    """
    guard = MemoryGuard(policy, name)
    stay = guard.enter(args, {})
    try:
        yield stay
    finally:
        stay.leave()


# The sampler tells every gate, through one subscription that keeps none of them alive.

_gates: weakref.WeakSet[MemoryGuard] = weakref.WeakSet()
_gates_lock = threading.Lock()
_subscribed: weakref.ref[devices.Sampler] | None = None


def _watch(gate: MemoryGuard) -> None:
    global _subscribed
    sampler = devices.shared()
    with _gates_lock:
        _gates.add(gate)
        if _subscribed is None or _subscribed() is not sampler:
            sampler.subscribe(_look_all)
            _subscribed = weakref.ref(sampler)


def _look_all(reading: Reading) -> bool:
    with _gates_lock:
        gates = list(_gates)
    return sum(gate.look(reading) for gate in gates) > 0  # each one looks


def _after_fork() -> None:
    global _gates_lock
    _gates_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
