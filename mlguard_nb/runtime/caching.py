"""cache_result: the result of a call, kept under the content of its arguments and the code that made it."""

from __future__ import annotations

import logging
import math
import os
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, overload

from mlguard_nb import clock
from mlguard_nb.errors import PolicyError
from mlguard_nb.policy.values import CachePolicy
from mlguard_nb.runtime import fingerprint
from mlguard_nb.runtime.behind import Behind
from mlguard_nb.runtime.cache_keys import KeyMaker, settled
from mlguard_nb.runtime.cache_telling import CacheTelling
from mlguard_nb.runtime.handing_out import ATOMS, kept_and_hand
from mlguard_nb.runtime.identity import Identities
from mlguard_nb.runtime.options import decorate, policy_from
from mlguard_nb.runtime.single_flight import Flight, Flights, TaskFlights
from mlguard_nb.runtime.steps import Call, Steps, run, run_async
from mlguard_nb.runtime.stores.choosing import backend_of, shelf_of
from mlguard_nb.runtime.stores.memory import FRESH, HAND, HITS, KEPT, Held, MemoryStore, size_of
from mlguard_nb.runtime.surroundings import Surroundings
from mlguard_nb.runtime.wrapping import Guard, Kind, guards_of, wrap
from mlguard_nb.telemetry import bus

if TYPE_CHECKING:
    from mlguard_nb.runtime.stores.entry import Entry
    from mlguard_nb.runtime.stores.leases import Lease

__all__ = ["CacheInfo", "cache_result"]

_log = logging.getLogger("mlguard.cache")
F = TypeVar("F", bound=Callable[..., Any])


class CacheInfo(NamedTuple):
    """What a cache did. `hits` counts without a lock, so under threads it can miss a few; sizes are bytes."""

    hits: int
    misses: int
    stale_hits: int
    entries: int
    used_bytes: int
    max_bytes: int
    evictions: int
    backend_failures: int


@overload
def cache_result(function: F, /) -> F: ...
@overload
def cache_result(policy: CachePolicy, /, *, name: str | None = None) -> Callable[[F], F]: ...
@overload
def cache_result(
    *,
    ttl: float | str | None = ...,
    key: str | tuple[str, ...] | Callable[..., Any] | None = ...,
    backend: str = ...,
    stale_while_revalidate: float | str = ...,
    stale_if_error: float | str = ...,
    max_bytes: int | str = ...,
    maxsize: int | None = ...,
    ignore: str | tuple[str, ...] = ...,
    version: str | None = ...,
    watch_files: bool = ...,
    hand_out: str = ...,
    store: Any = ...,
    name: str | None = None,
) -> Callable[[F], F]: ...
def cache_result(given: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Keep what a function returns for `ttl` seconds (300; None: for ever), under the content of its arguments.

    Bare, with the fields of CachePolicy as keywords, or with a CachePolicy. Equal content is the same call: arrays and
    frames count by their values, 1, True and 1.0 differ, and an argument without readable content is a PolicyError
    that names it. The code of the function and of the user's functions it reaches is part of the key, and so are the
    globals they read; what a closure holds counts as it was at the first call. With `watch_files` every name of an
    existing file, among arguments, globals and in the code, counts with that file's size and time of change.

    Concurrent callers of one key share one computation, on Redis those of all processes too. Hits are read-only views
    of arrays and copies of what else can be changed (`hand_out`). Of a method each object has its own results, and is
    not kept alive by them.
    The function gets `cache_info()`, `cache_clear()`, `invalidate(*args)` and `refresh(*args)`; of a method, the
    object is the first argument of the latter two. Generator functions are a PolicyError.
    """
    is_function = callable(given) or isinstance(given, (staticmethod, classmethod))
    policy = policy_from(CachePolicy, None if is_function else given, options, "cache_result")
    return decorate(given, lambda function: _cached(function, CacheGuard(policy, name)))


def _cached(function: Any, guard: CacheGuard) -> Any:
    wrapper = wrap(function, guard)
    target: Any = wrapper.__func__ if isinstance(wrapper, (staticmethod, classmethod)) else wrapper
    target.cache_info = guard.info
    target.cache_clear = guard.clear
    target.invalidate = guard.invalidate
    target.refresh = guard.refresh
    return wrapper


_HIT = """\
_mlguard_key = {key}
_mlguard_held = _mlguard_guard.front.get(_mlguard_key)
if (
    _mlguard_held is not None
    and (_mlguard_guard.is_constant or _mlguard_guard.is_unmoved())
    and _mlguard_held[1] > _mlguard_clock.now()
):
    _mlguard_held[2] += 1
    if _mlguard_bus._subscribers:
        _mlguard_guard.telling.hit_counts.one()
    return _mlguard_held[0] if _mlguard_held[3] is None else _mlguard_held[3](_mlguard_held[0])
"""
# The miss of a key that nobody has, where nothing but the arguments counts and memory is the only store: what such a
# miss costs comes on top of every computation.
_MISS = """\
if _mlguard_held is None and _mlguard_guard.is_direct and ({settled}):
    _mlguard_flight = _mlguard_guard.take_off(_mlguard_key)
    if _mlguard_flight is not None:
        try:
            _mlguard_box = [<call>]
        except BaseException as _mlguard_error:
            _mlguard_guard.crash(_mlguard_key, _mlguard_flight, _mlguard_error)
            raise
        return _mlguard_guard.land(_mlguard_key, _mlguard_flight, _mlguard_box)
return _mlguard_guard.call(_mlguard_key, <args>, <kwargs>)
"""
_MISS_ASYNC = "return await _mlguard_guard.call_async(_mlguard_key, <args>, <kwargs>)\n"


class CacheGuard(Guard):
    """The cache of one function."""

    part = "cache"
    decorator = "cache_result"
    policy: CachePolicy

    def reset(self) -> None:
        """An empty cache: results do not travel with the function."""
        policy = self.policy
        self._ttl = math.inf if policy.ttl is None else policy.ttl
        self._stale_seconds = max(policy.stale_while_revalidate, policy.stale_if_error)
        self.telling = CacheTelling(self, policy.backend.partition(":")[0])
        self.shelf = shelf_of(policy, self.telling.evicted)
        self.front: dict[Any, Held] = self.shelf.front
        self.is_constant = self.is_direct = False
        self._epoch = 0  # goes up when results, and computations that are under way, are declared void
        self._flights, self._task_flights = Flights(), TaskFlights()
        self._identities = Identities()
        self.behind = Behind()
        self.backend = backend_of(policy, self.telling.failed)
        if self.function is not None:
            self._prepare()
        _ALL.add(self)

    def attach(self, function: Callable[..., Any], kind: Kind) -> None:
        """Generators are refused: a hit could not honour send and throw."""
        super().attach(function, kind)
        if kind in ("generator", "asyncgen"):
            raise PolicyError(
                f"cache_result cannot keep {self.label}: it is a generator, and a hit could not honour send and throw. "
                "Return a list, or cache the function that makes the items"
            )
        self._prepare()

    def _prepare(self) -> None:
        number = None if self.backend is not None else self._identities.number
        self.keys = KeyMaker(self.function, self.policy, number)
        self._around = Surroundings(self.function, self.policy.watch_files, number)
        target = fingerprint.unwrapped(self.function) or self.function
        where = (getattr(target, "__module__", None), getattr(target, "__qualname__", self.label))
        self._prefix = fingerprint.of(where)

    def template(self, kind: Kind) -> str:
        """The hit path and, of sync functions, the plainest miss; everything else is out of line."""
        hit = _HIT.format(key=self.keys.source())
        return hit + (_MISS_ASYNC if kind == "coroutine" else _MISS.format(settled=self.keys.settled_source()))

    def objects(self, kind: Kind) -> Mapping[str, Any]:
        """What the two paths name."""
        return {
            "_mlguard_plain": self.keys.plain,
            "_mlguard_clock": clock.NOW,
            "_mlguard_bus": bus,
            "_mlguard_float": float,
            "_mlguard_settled": settled,
        }

    # What the result rests on beside the arguments.

    def is_unmoved(self) -> bool:
        """Whether a look at the globals that the code names says that nothing has changed."""
        return self._around.is_unmoved()

    def _whole_key(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        """The key with all that counts beside the arguments; forgets everything when the code has changed."""
        if not self.is_constant:
            if self._around.look():
                self._declare_void()
                self.shelf.clear()
            self.is_constant = self._around.is_constant
            self.is_direct = self.is_constant and self.backend is None and isinstance(self.shelf, MemoryStore)
        extra = self._around.part_of_key()
        return (*settled(key), extra) if extra else settled(key)

    def _stored_key(self, key: tuple[Any, ...]) -> bytes:
        return self._prefix + fingerprint.of((self._around.digest, self.policy.version, self.keys.meaning, key))

    def _declare_void(self, key: tuple[Any, ...] | None = None) -> None:
        """What is being computed now (None: under any key) rests on what was; nothing of it is kept or joined."""
        self._epoch += 1
        self.behind.forget(key)
        for flights in (self._flights, self._task_flights):
            if key is None:
                flights.forget_all()
            else:
                flights.forget(key)

    # The plainest miss: the wrapper itself makes the call, between these.

    def take_off(self, key: tuple[Any, ...]) -> Flight | None:
        """The right to compute `key`; None where another caller has it, or has just used it."""
        flight = Flight()
        flight.leader = get_ident()
        try:
            if self._flights.under_way.setdefault(key, flight) is not flight:
                return None
            held = self.front.get(key)
            if held is not None:
                self._flights.land(key, flight, held)
                return None
            self.telling.misses += 1  # `telling.miss()`, without its two calls
            if bus._subscribers:
                self.telling.miss_counts.one()
            flight.epoch = self._epoch
        except BaseException as error:  # an interrupt: nobody may wait for this flight
            self.crash(key, flight, error)
            raise
        return flight

    def land(self, key: tuple[Any, ...], flight: Flight, box: list[Any]) -> Any:
        """Keep the one value in `box`, and hand it to all who asked for it."""
        made = self._made(box)
        try:
            held = self._keep(key, box, flight.epoch)
        except BaseException as error:
            self._flights.land(key, flight, None, error)
            raise
        self._flights.land(key, flight, held)
        return made[0] if made else _handed(held)

    def _made(self, box: list[Any]) -> list[Any]:
        """What the caller of a miss gets in place of what a hit would be: copies are for the callers after it."""
        return [*box] if self.policy.hand_out == "copy" else []

    def crash(self, key: tuple[Any, ...], flight: Flight, error: BaseException) -> None:
        """The call failed with `error`, which is everybody's."""
        self._flights.land(key, flight, None, error)

    # Calls that the wrapper did not answer.

    def call(self, key: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer from what is kept, fresh or stale, else compute; sync."""
        key = self._whole_key(key)
        held = self.shelf.find(key)
        answer = self._answer(held)
        if answer is not None:
            if answer is _STALE:
                self._refresh_behind(key, args, kwargs)
                return self._hand_stale(held)
            return self._hand(held)
        made: list[Any] = []
        held, _mine = self._flights.run(key, lambda: run(self._filled(key, args, kwargs, made)))
        return made[0] if made else _handed(held)

    async def call_async(self, key: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The same for coroutine functions; the backend is asked in a thread."""
        key = self._whole_key(key)
        held = self.shelf.find(key)
        answer = self._answer(held)
        if answer is not None:
            if answer is _STALE:
                self._refresh_behind_async(key, args, kwargs)
                return self._hand_stale(held)
            return self._hand(held)
        made: list[Any] = []
        held, _mine = await self._task_flights.run(key, lambda: _awaited(self._filled(key, args, kwargs, made)))
        return made[0] if made else _handed(held)

    def _answer(self, held: Held | None) -> str | None:
        if held is None:
            return None
        now = clock.current().now()
        if held[FRESH] > now:
            return _FRESH
        return _STALE if now < held[FRESH] + self.policy.stale_while_revalidate else None

    def _hand(self, held: Held | None) -> Any:
        assert held is not None
        held[HITS] += 1
        self.telling.hit()
        return _handed(held)

    def _hand_stale(self, held: Held | None) -> Any:
        assert held is not None
        self.telling.stale()
        return _handed(held)

    def _filled(
        self, key: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any], made: list[Any] | None = None
    ) -> Steps[Held]:
        """Read the backend, else call the function, and keep the result; where it can, in one process of many.

        `made` gets what the function returned, where the caller is to have that and no copy.
        """
        epoch = self._epoch
        stored = None if self.backend is None else (yield partial(self.backend.get, self._stored_key(key)))
        if (found := self._found_meanwhile(key, stored, epoch)) is not None:
            return found
        lease = self._lease(key)
        if lease is None:
            return (yield from self._computed(key, args, kwargs, made))
        try:
            for seconds in lease.waits():
                is_mine, stored = yield lease.ask
                if (found := self._found_meanwhile(key, stored, epoch)) is not None:
                    return found
                if is_mine:
                    break
                yield seconds
            with lease.held():
                return (yield from self._computed(key, args, kwargs, made, lease))
        finally:
            yield lease.release

    def _computed(
        self,
        key: tuple[Any, ...],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        made: list[Any] | None = None,
        lease: Lease | None = None,
    ) -> Steps[Held]:
        epoch = self._epoch
        self.telling.miss()
        before = self.shelf.find(key)
        try:
            box = yield Call(self.function, args, kwargs)
        except Exception as error:
            return self._stale_or_raise(key, before, epoch, error, lease)
        if made is not None:
            made += self._made(box)
        held = self._keep(key, box, epoch)
        if self.backend is not None and epoch == self._epoch:
            is_stored = yield partial(self.backend.put, self._stored_key(key), _entry(held))
            if lease is not None and not is_stored:
                lease.has_failed = True
        return held

    def _lease(self, key: tuple[Any, ...]) -> Lease | None:
        """The right to compute `key`, which processes share; None where the backend has none, or it is here already."""
        if self.backend is None:
            return None
        from mlguard_nb.runtime.stores.leases import is_held_here

        stored_key = self._stored_key(key)
        return None if is_held_here(stored_key) else self.backend.lease(stored_key)

    def _found_meanwhile(self, key: tuple[Any, ...], stored: Entry | None, epoch: int) -> Held | None:
        """What another caller, or another process, has computed since."""
        held = self.shelf.find(key)
        if self._answer(held) == _FRESH:
            return held
        wall = clock.current().wall()
        if stored is None or stored.kept_until <= wall:
            return None
        held = self._keep(key, [stored.value], epoch, stored.fresh_until - wall)
        if stored.fresh_until <= wall:
            return None  # kept, in case that computing it anew fails
        held[HITS] += 1
        self.telling.hit()
        return held

    def _keep(self, key: tuple[Any, ...], box: list[Any], epoch: int, fresh_seconds: float | None = None) -> Held:
        """Keep the one value in `box`, unless what was computed in that epoch has been declared void since."""
        now = clock.NOW.now()
        until = now + (self._ttl if fresh_seconds is None else min(self._ttl, fresh_seconds))
        value = box[0]
        if type(value) in ATOMS:
            held = [value, until, 0, None, until + self._stale_seconds, value.__sizeof__(), 0]
        else:
            del value
            value, hand = kept_and_hand(box, self.policy.hand_out)
            held = [value, until, 0, hand, until + self._stale_seconds, size_of(value), 0]
        if epoch != self._epoch:
            return held
        if not self.shelf.put(key, held, now):
            _log.warning(
                "cache of %s: a result is larger than max_bytes (%d) and is not kept",
                self.label,
                self.policy.max_bytes,
            )
        if epoch != self._epoch:  # while it was being put
            self.shelf.drop(key)
        return held

    def _stale_or_raise(
        self, key: tuple[Any, ...], held: Held | None, epoch: int, error: Exception, lease: Lease | None
    ) -> Held:
        """The last result, found before the call: a call short of memory empties the caches before it fails."""
        until = None if held is None else held[FRESH] + self.policy.stale_if_error
        if held is None or until is None or clock.current().now() >= until or epoch != self._epoch:
            raise error
        if lease is not None:
            lease.has_failed = True
        if self.shelf.find(key) is None:
            self.shelf.put(key, held)
        _log.warning("%s failed, its last result is served instead: %s: %s", self.label, type(error).__name__, error)
        self.telling.stale()
        return held

    def _refresh_behind(self, key: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Compute anew on a thread of its own, once a key."""
        self.behind.on_thread(
            key, self.label, lambda: self._flights.run(key, lambda: run(self._filled(key, args, kwargs)))
        )

    def _refresh_behind_async(self, key: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.behind.in_task(
            key, self.label, lambda: self._task_flights.run(key, lambda: _awaited(self._filled(key, args, kwargs)))
        )

    # What the function offers.

    def info(self) -> CacheInfo:
        """What the cache did so far."""
        shelf = self.shelf
        failures = 0 if self.backend is None else self.backend.failures
        return CacheInfo(
            shelf.hits, self.telling.misses, self.telling.stale_hits, len(shelf),
            shelf.used_bytes, self.policy.max_bytes, shelf.evictions, failures,
        )  # fmt: skip

    def clear(self) -> None:
        """Forget every result, also on the backend; what is being computed now is not kept."""
        self._declare_void()
        self.shelf.clear()
        if self.backend is not None:
            self.backend.clear(self._prefix)

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Forget the result of this call, also one that is being computed now; whether there was one."""
        key = self._whole_key(self.keys.of_call(args, kwargs))
        self._declare_void(key)
        was_there = self.shelf.drop(key)
        if self.backend is not None:
            was_there = self.backend.drop(self._stored_key(key)) or was_there
        return was_there

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Compute this call anew and keep it; what the call returns (an awaitable, of a coroutine function)."""
        key = self._whole_key(self.keys.of_call(args, kwargs))
        if self.kind == "coroutine":
            return self._refreshed(key, args, kwargs)
        return _handed(run(self._computed(key, args, kwargs)))

    async def _refreshed(self, key: tuple[Any, ...], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _handed(await _awaited(self._computed(key, args, kwargs)))

    def after_fork(self) -> None:
        """A child inherits results, and no computation that is under way."""
        self._flights, self._task_flights, self.behind = Flights(), TaskFlights(), Behind()
        self._identities.after_fork()
        self.shelf.after_fork()


async def _awaited(steps: Steps[Held]) -> Held:
    """What `steps` returns; the backend is asked in the loop's own threads, so that it is asked by a few at a time."""
    from asyncio import to_thread

    return await run_async(steps, to_thread)


_FRESH, _STALE = "fresh", "stale"


def _entry(held: Held) -> Entry:
    """What a backend keeps: the same, by the time of day, which other processes know too."""
    from mlguard_nb.runtime.stores.entry import Entry

    ticking = clock.current()
    wall = ticking.wall()
    to_wall = wall - ticking.now()
    return Entry(held[0], wall, held[FRESH] + to_wall, held[KEPT] + to_wall)


def _handed(held: Held) -> Any:
    return held[0] if held[HAND] is None else held[HAND](held[0])


_ALL: weakref.WeakSet[CacheGuard] = weakref.WeakSet()


def _after_fork() -> None:
    for guard in list(_ALL):
        guard.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def cache_of(function: Any) -> CacheGuard:
    """The cache around `function`, for tests and tools; PolicyError where there is none."""
    for guard in guards_of(function):
        if isinstance(guard, CacheGuard):
            return guard
    raise PolicyError(f"{function!r} has no cache")
