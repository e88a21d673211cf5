"""Fakes and switches for tests: a clock that nobody waits for, machines made of numbers, faults on demand.

Everything here is public, and our own tests use nothing else.
"""

from __future__ import annotations

import asyncio
import functools
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlguard_nb import chance, devices
from mlguard_nb import clock as clocks
from mlguard_nb.devices.readings import Gpu, GpuProcess, Ram, Reading, Unknown
from mlguard_nb.errors import PolicyError
from mlguard_nb.policy import switches
from mlguard_nb.policy.checks import is_number
from mlguard_nb.runtime import wrapping
from mlguard_nb.units import parse_bytes, parse_duration

__all__ = [
    "Chaos",
    "FakeClock",
    "FakeDevices",
    "assert_recorded",
    "chaos",
    "current_chaos",
    "disabled",
    "fake_gpu",
    "no_wait",
    "seeded",
]


class FakeClock:
    """A clock that moves only when somebody sleeps. `slept` lists every wait in seconds."""

    def __init__(self, epoch: float = 1_700_000_000.0) -> None:
        self.time = 0.0
        self.epoch = epoch
        self.slept: list[float] = []

    def now(self) -> float:
        """Seconds slept so far."""
        return self.time

    def wall(self) -> float:
        """`epoch` plus the seconds slept so far."""
        return self.epoch + self.time

    def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.slept.append(seconds)
        self.time += seconds

    async def sleep_async(self, seconds: float) -> None:
        """Move on at once, letting other tasks run."""
        self.sleep(seconds)
        await asyncio.sleep(0)


@contextmanager
def no_wait(clock: FakeClock | None = None) -> Iterator[FakeClock]:
    """Within the block no guard really waits; gives the FakeClock that counts the waits."""
    fake = clock or FakeClock()
    previous = clocks.install(fake)
    try:
        yield fake
    finally:
        clocks.install(previous)


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Within the block what guards draw at random (jitter, which calls are logged) is the same each time."""
    previous = chance.install(random.Random(seed))
    try:
        yield
    finally:
        chance.install(previous)


@contextmanager
def disabled(*names: str) -> Iterator[None]:
    """Within the block the named decorators (all without names) do nothing, as with MLGUARD_DISABLE."""
    before = switches.set_disabled(names or switches.DECORATORS)
    try:
        yield
    finally:
        switches.set_disabled(before)


def fake_gpu(index: int = 0, total: int | str = "80GB", used: int | str = 0, name: str = "NVIDIA Fake") -> Gpu:
    """A device with `used` of `total` bytes in use; its UUID is made from the index."""
    size, taken = _bytes(total), _bytes(used)
    uuid = f"GPU-00000000-0000-0000-0000-{index:012d}"
    return Gpu(uuid, index, name, total_bytes=size, used_bytes=taken, free_bytes=size - taken)


def _bytes(value: int | str) -> int:
    return parse_bytes(value) if isinstance(value, str) else value


class FakeDevices:
    """A machine made of numbers; put it in force with `with FakeDevices(ram_used="15GB", ram_limit="16GB"):`.

    Sizes are bytes or text. Change `ram_used`, `ram_limit` and `gpus_now` as the test goes on; `gpus_now` may be
    Unknown("no NVIDIA driver"), as on a machine without one.
    """

    def __init__(
        self,
        ram_used: int | str = "4GB",
        ram_limit: int | str = "16GB",
        gpus: tuple[Gpu, ...] | Unknown = Unknown("no NVIDIA driver in this test"),  # noqa: B008 - frozen
        processes: tuple[GpuProcess, ...] | Unknown = (),
    ) -> None:
        self.ram_used, self.ram_limit = _bytes(ram_used), _bytes(ram_limit)
        self.gpus_now, self.processes_now = gpus, processes
        self._previous: list[devices.Machine | None] = []

    def read(self) -> Reading:
        """Both at once."""
        return Reading(clocks.current().wall(), self.ram(), self.gpus())

    def ram(self) -> Ram:
        """The container as set."""
        return Ram(self.ram_limit, self.ram_used, "container", 0, self.ram_limit)

    def gpus(self) -> tuple[Gpu, ...] | Unknown:
        """The devices as set."""
        return self.gpus_now

    def gpu_processes(self) -> tuple[GpuProcess, ...] | Unknown:
        """The holders as set."""
        return self.processes_now

    def __enter__(self) -> FakeDevices:
        self._previous.append(devices.install(self))
        devices.shared().tick()
        return self

    def __exit__(self, *_: object) -> None:
        devices.install(self._previous.pop())
        devices.shared().tick()


def assert_recorded(results: Mapping[str, Any], path: str | Path) -> None:
    """AssertionError that lists every name whose value differs from what `path` (recorded.json) holds."""
    from mlguard_nb.pipeline.recording import check_recorded

    check_recorded(results, path)


# Chaos: faults injected into guarded functions and cells, deterministic by seed.


@dataclass
class Chaos:
    """What goes wrong, and how often: shares in [0, 1]; `slow` in seconds, as often as `fail` or else each time.

    Each function has a stream of random numbers of its own, so its faults do not depend on what others do meanwhile:
    the same calls meet the same faults, on one thread or on many.
    """

    fail: float = 0.0
    error: type[BaseException] = TimeoutError
    slow: float | None = None
    oom: float = 0.0
    nan: float = 0.0
    pressure: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for share in ("fail", "oom", "nan", "pressure"):
            value = getattr(self, share)
            if value is not None and not (is_number(value) and 0 <= value <= 1):
                raise PolicyError(f"chaos: {share} must be a share in [0, 1], got {value!r}")
        if not (isinstance(self.error, type) and issubclass(self.error, BaseException)):
            raise PolicyError(f"chaos: error must be an exception class, got {self.error!r}")
        if self.slow is not None and not (self.slow >= 0):
            raise PolicyError(f"chaos: slow must be a duration of at least 0, got {self.slow!r}")
        self._streams: dict[str, random.Random] = {}
        self._drawing = threading.Lock()
        self.injected = 0

    def _stream(self, label: str) -> random.Random:
        return self._streams.setdefault(label, random.Random(f"{self.seed} {label}"))

    def before(self, label: str = "") -> None:
        """What may go wrong before the body runs: a wait, an out of memory, an error."""
        delay, error = self._draw(label)
        if delay:
            clocks.current().sleep(delay)
        if error is not None:
            raise error

    async def before_async(self, label: str = "") -> None:
        """The same; while one call dawdles, other tasks run."""
        delay, error = self._draw(label)
        if delay:
            await clocks.current().sleep_async(delay)
        if error is not None:
            raise error

    def _draw(self, label: str) -> tuple[float, BaseException | None]:
        """(seconds to wait, what to raise then)."""
        with self._drawing:
            stream = self._stream(label)
            draw, out_of_memory = stream.random(), stream.random() < self.oom
            delay = self.slow if self.slow is not None and (self.fail == 0 or draw < self.fail) else 0.0
            if not out_of_memory and draw >= self.fail:
                return delay, None
            self.injected += 1
        kind = MemoryError if out_of_memory else self.error
        return delay, kind(f"injected by chaos{f' into {label}' if label else ''}")

    def after(self, result: Any, label: str = "") -> Any:
        """The result, with a share of `nan` of its numbers replaced: a float, an array or a tensor of floats, the float
        columns of a frame, and those within a tuple, list or dict. What the function returned stays as it was.
        """
        if not self.nan:
            return result
        with self._drawing:
            return self._spoiled(result, self._stream(label))

    def _spoiled(self, result: Any, stream: random.Random) -> Any:
        def hit(count: int) -> list[bool]:
            return [stream.random() < self.nan for _ in range(count)]

        library = type(result).__module__.partition(".")[0]
        if type(result) in (tuple, list):
            return type(result)(self._spoiled(item, stream) for item in result)
        if type(result) is dict:
            return {name: self._spoiled(item, stream) for name, item in result.items()}
        spoiled: Any
        if type(result) is float:
            spoiled = float("nan") if hit(1)[0] else result
        elif library == "pandas" and hasattr(result, "columns"):
            spoiled = result.copy()
            for place, kind in enumerate(result.dtypes):
                if getattr(kind, "kind", "") == "f":
                    spoiled.isetitem(place, result.iloc[:, place].mask(hit(len(result))))
        elif library == "polars" and hasattr(result, "columns"):
            spoiled = result.clone()
            for place, series in enumerate(result.get_columns()):
                if series.dtype.is_float():
                    values = [
                        float("nan") if bad else value for bad, value in zip(hit(len(series)), series, strict=True)
                    ]
                    spoiled.replace_column(place, type(series)(series.name, values, dtype=series.dtype))
        elif getattr(getattr(result, "dtype", None), "is_floating_point", False) and hasattr(result, "clone"):
            spoiled = result.detach().clone()
            spoiled.view(-1)[hit(spoiled.numel())] = float("nan")
        elif getattr(getattr(result, "dtype", None), "kind", "") == "f":
            import numpy as np

            spoiled = np.array(result)
            spoiled.reshape(-1)[hit(spoiled.size)] = np.nan
            spoiled = spoiled if isinstance(result, np.ndarray) else spoiled[()]
            if library in ("jax", "jaxlib"):
                import jax

                spoiled = jax.numpy.asarray(spoiled)
        else:
            return result
        self.injected += spoiled is not result
        return spoiled


_chaos: Chaos | None = None


def current_chaos() -> Chaos | None:
    """The chaos in force, None outside one."""
    return _chaos


@contextmanager
def chaos(
    *,
    fail: float = 0.0,
    error: type[BaseException] = TimeoutError,
    slow: float | str | None = None,
    oom: float = 0.0,
    nan: float = 0.0,
    pressure: float | None = None,
    seed: int = 0,
) -> Iterator[Chaos]:
    """Within the block every guarded function fails, dawdles or runs out of memory as often as told, those that are
    decorated within it too.

    The faults come from inside the guards, where the function itself would fail, so that one sees them work. `pressure`
    pretends that this share of the memory is in use. The same seed gives the same faults, whatever other functions and
    threads do meanwhile. PolicyError where MLGUARD_ENV=production, or where another chaos is in force.
    """
    global _chaos
    if switches.is_production():
        raise PolicyError("chaos refuses to start: MLGUARD_ENV says this is production")
    if _chaos is not None:
        raise PolicyError("chaos is in force already; end it first")
    delay = parse_duration(slow) if isinstance(slow, str) else slow
    faults = Chaos(fail, error, delay, oom, nan, pressure, seed)
    crowded = _crowded(pressure) if pressure is not None else None
    undo: list[Callable[[], None]] = []
    _chaos = faults
    end_reach = wrapping.reach_innermost(lambda wrapper, guard: undo.append(_inject(wrapper, guard, faults)))
    try:
        if crowded is not None:
            crowded.__enter__()
        yield faults
    finally:
        _chaos = None
        end_reach()
        for restore in undo:
            restore()
        if crowded is not None:
            crowded.__exit__()


def _crowded(pressure: float) -> FakeDevices:
    now = devices.current().read()
    limit = now.ram.limit_bytes
    gpus = now.gpus
    if not isinstance(gpus, Unknown):
        gpus = tuple(
            gpu if isinstance(gpu.total_bytes, Unknown) else replace(gpu, used_bytes=int(gpu.total_bytes * pressure))
            for gpu in gpus
        )
    size = 16 * 10**9 if isinstance(limit, Unknown) else limit
    return FakeDevices(int(size * pressure), size, gpus)


def _inject(wrapper: Any, guard: wrapping.Guard, faults: Chaos) -> Callable[[], None]:
    original, names = guard.function, wrapper.__globals__
    guard.function = names["_mlguard_function"] = _faulty(original, guard.label, faults)

    def restore() -> None:
        guard.function = names["_mlguard_function"] = original

    return restore


def _faulty(function: Any, label: str, faults: Chaos) -> Any:
    """The function with faults before and after; generators fail before their first item."""
    kind = wrapping.kind_of(function)
    if kind == "coroutine":

        async def faulty_async(*args: Any, **kwargs: Any) -> Any:
            await faults.before_async(label)
            return faults.after(await function(*args, **kwargs), label)

        return functools.wraps(function)(faulty_async)
    if kind == "asyncgen":

        async def faulty_items(*args: Any, **kwargs: Any) -> Any:
            await faults.before_async(label)
            async for item in function(*args, **kwargs):
                yield faults.after(item, label)

        return functools.wraps(function)(faulty_items)
    if kind == "generator":

        def faulty_generator(*args: Any, **kwargs: Any) -> Any:
            faults.before(label)
            running = function(*args, **kwargs)
            if not faults.nan:
                return (yield from running)
            sent: Any = None
            while True:
                try:
                    item = running.send(sent)
                except StopIteration as end:
                    return faults.after(end.value, label)
                sent = yield faults.after(item, label)

        return functools.wraps(function)(faulty_generator)

    def faulty(*args: Any, **kwargs: Any) -> Any:
        faults.before(label)
        return faults.after(function(*args, **kwargs), label)

    return functools.wraps(function)(faulty)
