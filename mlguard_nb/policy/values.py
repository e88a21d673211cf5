"""The frozen policies: one value from the %%guard line to the emitted decorator.

A policy that cannot be cannot be built: every constructor checks, and raises PolicyError naming the field and the
allowed values. Defaults are frozen within a major version (a test holds the table of them), so an exported package
that asks for the same major version means what its notebook meant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from mlguard_nb.errors import PolicyError
from mlguard_nb.units import parse_bytes, parse_duration, parse_limit

__all__ = [
    "PARTS",
    "CachePolicy",
    "CellOptions",
    "GuardPolicy",
    "MemoryPolicy",
    "MonitorPolicy",
    "NameRef",
    "RetryPolicy",
    "ValidatePolicy",
]


@dataclass(frozen=True, slots=True)
class NameRef:
    """A name written on a %%guard line (dotted names allowed), bound in the namespace when the cell runs."""

    name: str

    def __post_init__(self) -> None:
        if not self.name or not all(piece.isidentifier() for piece in self.name.split(".")):
            raise PolicyError(f"{self.name!r} is not a Python name")


def _set(policy: object, field: str, value: object) -> None:
    object.__setattr__(policy, field, value)


def _need(holds: bool, part: str, field: str, allowed: str, found: object) -> None:
    if not holds:
        raise PolicyError(f"{part}: {field} must be {allowed}, got {found!r}")


def _seconds(policy: object, part: str, *names: str, allow_zero: bool = False) -> None:
    """Durations may be given as text ("30s"); kept as float seconds."""
    for name in names:
        value = getattr(policy, name)
        if value is None:
            continue
        if isinstance(value, str):
            value = parse_duration(value)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        low = "at least 0" if allow_zero else "above 0"
        _need(
            number and math.isfinite(value) and (value >= 0 if allow_zero else value > 0),
            part, name, f"a duration {low}, in seconds or as text such as '30s'", value,
        )  # fmt: skip
        _set(policy, name, float(value))


_FEWEST_BYTES = 1024  # fewer were meant as percent, or as gigabytes


def _limit(policy: object, part: str, *names: str) -> None:
    """Limits may be given as text ("12GB"); kept as a share (float) or as bytes (int)."""
    for name in names:
        value = getattr(policy, name)
        if value is None:
            continue
        if isinstance(value, str):
            value = parse_limit(value)
        if isinstance(value, int) and not isinstance(value, bool) and value == 1:
            value = 1.0
        if isinstance(value, int) and not isinstance(value, bool) and 1 < value < _FEWEST_BYTES:
            raise PolicyError(f"{part}: {name}={value} has no unit: write a share such as 0.8, or '{value}GB'")
        share = isinstance(value, float) and 0 < value <= 1
        count = isinstance(value, int) and not isinstance(value, bool) and value > 1
        _need(share or count, part, name, "a share in (0, 1], bytes as int, or a size such as '12GB'", value)
        _set(policy, name, value)


def _names(policy: object, field: str) -> None:
    value = getattr(policy, field)
    if isinstance(value, str):
        value = tuple(piece.strip() for piece in value.split(",") if piece.strip())
    if value is not None and not callable(value):
        _set(policy, field, tuple(value))


ExceptionFilter = tuple[type[BaseException] | NameRef, ...] | Callable[[BaseException], bool] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, how long and on what to try again.

    `attempts` counts calls, not repeats: 3 means one call and up to two retries. `on` holds exception types (None:
    Exception without programming errors, out-of-memory, InputRejected and CircuitOpen) or a predicate. `deadline`
    ends all attempts and is inherited by nested calls; `timeout` is of one attempt; both in seconds, None: none.
    `on_oom` is "fail", "clear" or "halve:<parameter>".
    """

    attempts: int = 3
    on: ExceptionFilter = None
    retry_on_result: Callable[[Any], bool] | NameRef | None = None
    deadline: float | None = None
    timeout: float | None = None
    wait_initial: float = 0.5
    wait_max: float = 20.0
    jitter: Literal["full", "decorrelated", "equal"] | None = "full"
    respect_retry_after: bool = True
    budget: Any = "default"  # "default", a RetryBudget, or None
    hedge_after: float | None = None
    on_oom: str = "fail"
    breaker: Any = None  # a CircuitBreaker
    on_retry: Callable[..., Any] | NameRef | None = None

    def __post_init__(self) -> None:
        whole = isinstance(self.attempts, int) and not isinstance(self.attempts, bool)
        _need(whole and self.attempts >= 1, "retry", "attempts", "a whole number of at least 1", self.attempts)
        on = self.on
        if isinstance(on, (type, NameRef)):
            on = (on,)
        if isinstance(on, (list, set)):
            on = tuple(on)
        if isinstance(on, tuple):
            for item in on:
                known = isinstance(item, NameRef) or (isinstance(item, type) and issubclass(item, BaseException))
                _need(known, "retry", "on", "exception types or a predicate", item)
            _need(bool(on), "retry", "on", "at least one exception type", on)
        else:
            _need(on is None or callable(on), "retry", "on", "exception types or a predicate", on)
        _set(self, "on", on)
        _seconds(self, "retry", "deadline", "timeout", "wait_max", "hedge_after")
        _seconds(self, "retry", "wait_initial", allow_zero=True)
        _need(
            self.wait_initial <= self.wait_max,
            "retry",
            "wait_initial",
            f"at most wait_max ({self.wait_max} s)",
            self.wait_initial,
        )
        _need(
            self.jitter in ("full", "decorrelated", "equal", None),
            "retry",
            "jitter",
            '"full", "decorrelated", "equal" or None',
            self.jitter,
        )
        oom = isinstance(self.on_oom, str) and (
            self.on_oom in ("fail", "clear") or (self.on_oom.startswith("halve:") and self.on_oom[6:].isidentifier())
        )
        _need(oom, "retry", "on_oom", '"fail", "clear" or "halve:<parameter>"', self.on_oom)
        _need(
            self.budget is None or self.budget == "default" or not isinstance(self.budget, (str, int, float)),
            "retry",
            "budget",
            '"default", a RetryBudget or None',
            self.budget,
        )


LADDER = ("gc", "trim", "evict_caches", "empty_cuda_cache", "alert")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPolicy:
    """How much memory may be in use, and what happens when it is not there.

    `ram` is a ceiling for the container's working set (else the machine's), `gpu` for each visible device's total
    use: a share in (0, 1] as float, or bytes as int. `need` is what the call will ask for, in bytes. `wait_timeout`
    bounds every wait, in seconds. `hysteresis` is the share of the limit that must come free before a paused
    guard lets calls through again.
    """

    ram: float | int | None = 0.8
    gpu: float | int | None = None
    need: int | Callable[..., int] | NameRef | None = None
    device: int | str | None = None
    on_pressure: Literal["stop", "wait", "warn", "skip"] = "stop"
    wait_timeout: float = 30.0
    fallback: Callable[..., Any] | NameRef | None = None
    hysteresis: float = 0.10
    actions: tuple[str, ...] = LADDER

    def __post_init__(self) -> None:
        _limit(self, "memory", "ram", "gpu")
        if isinstance(self.need, str):
            _set(self, "need", parse_bytes(self.need))
        need = self.need
        good = need is None or isinstance(need, NameRef) or callable(need)
        _need(
            good or (isinstance(need, int) and not isinstance(need, bool) and need > 0),
            "memory",
            "need",
            "bytes above 0, a size such as '2GB', or a callable",
            need,
        )
        _need(
            self.device is None or (isinstance(self.device, (int, str)) and not isinstance(self.device, bool)),
            "memory",
            "device",
            "an index or a UUID",
            self.device,
        )
        _need(
            not isinstance(self.device, int) or self.device >= 0,
            "memory",
            "device",
            "an index of at least 0",
            self.device,
        )
        _need(
            self.on_pressure in ("stop", "wait", "warn", "skip"),
            "memory",
            "on_pressure",
            '"stop", "wait", "warn" or "skip"',
            self.on_pressure,
        )
        _seconds(self, "memory", "wait_timeout", allow_zero=True)
        _need(
            self.fallback is None or callable(self.fallback) or isinstance(self.fallback, NameRef),
            "memory",
            "fallback",
            "a function",
            self.fallback,
        )
        _need(
            isinstance(self.hysteresis, (int, float)) and 0 <= self.hysteresis < 1,
            "memory",
            "hysteresis",
            "a share in [0, 1)",
            self.hysteresis,
        )
        _set(self, "actions", tuple(self.actions))
        for action in self.actions:
            _need(action in LADDER, "memory", "actions", f"out of {', '.join(LADDER)}", action)
        _need(
            self.ram is not None or self.gpu is not None or self.need is not None,
            "memory",
            "ram",
            "set when neither gpu nor need is",
            self.ram,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """What a result is kept under, where and for how long.

    `ttl` is in seconds (None: for ever). `key` names the parameters or live-ins that count (None: all), or is a
    callable. `backend` is "memory", "disk", "disk:<dir>" or "redis://...". `max_bytes` bounds the memory backend.
    """

    ttl: float | None = 300.0
    key: tuple[str, ...] | Callable[..., Any] | NameRef | None = None
    backend: str = "memory"
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    max_bytes: int = 256 * 10**6
    maxsize: int | None = None
    ignore: tuple[str, ...] = ("self",)
    version: str | None = None
    watch_files: bool = False
    hand_out: Literal["readonly", "copy", "same"] = "readonly"
    store: Any = None  # any cachetools cache

    def __post_init__(self) -> None:
        _seconds(self, "cache", "ttl")
        _seconds(self, "cache", "stale_while_revalidate", "stale_if_error", allow_zero=True)
        if not isinstance(self.key, NameRef):
            _names(self, "key")
        _names(self, "ignore")
        backend = isinstance(self.backend, str) and (
            self.backend in ("memory", "disk")
            or self.backend.startswith(("disk:", "redis://", "rediss://", "valkey://", "unix://"))
        )
        _need(backend, "cache", "backend", '"memory", "disk", "disk:<dir>" or "redis://..."', self.backend)
        if isinstance(self.max_bytes, str):
            _set(self, "max_bytes", parse_bytes(self.max_bytes))
        _need(
            isinstance(self.max_bytes, int) and self.max_bytes > 0,
            "cache",
            "max_bytes",
            "bytes above 0 or a size such as '256MB'",
            self.max_bytes,
        )
        _need(
            self.maxsize is None or (isinstance(self.maxsize, int) and self.maxsize > 0),
            "cache",
            "maxsize",
            "a whole number above 0",
            self.maxsize,
        )
        _need(
            self.hand_out in ("readonly", "copy", "same"),
            "cache",
            "hand_out",
            '"readonly", "copy" or "same"',
            self.hand_out,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatePolicy:
    """Which schema each argument must fit. `schemas` holds (parameter, schema) pairs; empty: every learned schema
    whose name matches a live-in or a parameter. A schema is an Array, Frame, Col, a type, a pydantic model or a
    NameRef. `on_fail` is "raise", "warn", "quarantine", "quarantine:<dir>" or a fallback function.
    """

    schemas: tuple[tuple[str, Any], ...] = ()
    stats: Any = None  # a Reference
    coerce: bool = False
    on_fail: Any = "raise"
    depth: Literal["full", "schema", "sample"] = "full"
    returns: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.schemas, Mapping):
            _set(self, "schemas", tuple(self.schemas.items()))
        _set(self, "schemas", tuple((str(name), schema) for name, schema in self.schemas))
        seen: set[str] = set()
        for name, _schema in self.schemas:
            _need(name.isidentifier(), "validate", "schemas", "keyed by parameter names", name)
            _need(name not in seen, "validate", "schemas", "one schema a parameter", name)
            seen.add(name)
        named = self.on_fail in ("raise", "warn", "quarantine") if isinstance(self.on_fail, str) else True
        folder = isinstance(self.on_fail, str) and self.on_fail.startswith("quarantine:")
        call = callable(self.on_fail) or isinstance(self.on_fail, (str, NameRef))
        _need(
            (named or folder) and call,
            "validate",
            "on_fail",
            '"raise", "warn", "quarantine", "quarantine:<dir>" or a function',
            self.on_fail,
        )
        _need(
            self.depth in ("full", "schema", "sample"), "validate", "depth", '"full", "schema" or "sample"', self.depth
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorPolicy:
    """What is measured, logged and traced about a call. `slow` in seconds; `buckets` of the duration histogram in
    seconds (None: 5 ms to 80 s); `logs` "errors", "all" or a sampling share in (0, 1].
    """

    labels: tuple[tuple[str, str], ...] = ()
    metrics: bool = True
    traces: Literal["if_configured"] | bool = "if_configured"
    logs: str | float = "errors"
    slow: float | None = None
    capture: tuple[str, ...] = ("shape", "dtype", "nan_frac", "min", "max")
    redact: tuple[str, ...] = ("password", "secret", "token", "api_key", "authorization")
    include_args: tuple[str, ...] = ()
    resources: tuple[str, ...] = ("ram", "gpu")
    buckets: tuple[float, ...] | None = None
    max_series: int = 100

    def __post_init__(self) -> None:
        if isinstance(self.labels, Mapping):
            _set(self, "labels", tuple((str(k), str(v)) for k, v in self.labels.items()))
        for field in ("capture", "redact", "include_args", "resources"):
            _names(self, field)
        _seconds(self, "monitor", "slow")
        sampled = isinstance(self.logs, (int, float)) and not isinstance(self.logs, bool) and 0 < self.logs <= 1
        _need(
            self.logs in ("errors", "all") or sampled,
            "monitor",
            "logs",
            '"errors", "all" or a share in (0, 1]',
            self.logs,
        )
        _need(
            self.traces in ("if_configured", True, False),
            "monitor",
            "traces",
            '"if_configured", True or False',
            self.traces,
        )
        for resource in self.resources:
            _need(resource in ("ram", "gpu"), "monitor", "resources", 'out of "ram", "gpu"', resource)
        if self.buckets is not None:
            _set(self, "buckets", tuple(float(edge) for edge in self.buckets))
            _need(
                bool(self.buckets) and list(self.buckets) == sorted(set(self.buckets)),
                "monitor",
                "buckets",
                "rising edges in seconds",
                self.buckets,
            )
        _need(
            isinstance(self.max_series, int) and self.max_series > 0,
            "monitor",
            "max_series",
            "a whole number above 0",
            self.max_series,
        )


# The canonical order, outer to inner (runtime.md 1): monitor counts one per visible call, validation gives coerced
# cache keys and never retries bad input, a cache hit spends no admission and no retry.
PARTS: tuple[str, ...] = ("monitor", "validate", "cache", "memory", "retry")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardPolicy:
    """Everything one %%guard line or one stack of decorators asks for. A part that is None was not asked for.

    `name` names the step everywhere: metrics, view, package; None: the function's name, or the cell's heading.
    """

    name: str | None = None
    retry: RetryPolicy | None = None
    memory: MemoryPolicy | None = None
    cache: CachePolicy | None = None
    validate: ValidatePolicy | None = None
    monitor: MonitorPolicy | None = None

    def __post_init__(self) -> None:
        _need(
            self.name is None or (isinstance(self.name, str) and bool(self.name.strip())),
            "guard",
            "name",
            "a word",
            self.name,
        )

    def parts(self) -> dict[str, Any]:
        """The parts that were asked for, by name, outermost first."""
        return {part: value for part in PARTS if (value := getattr(self, part)) is not None}

    def references(self) -> tuple[tuple[str, NameRef], ...]:
        """Every (role, NameRef) still to be bound, such as ("fallback", NameRef("fit_cpu"))."""
        found: list[tuple[str, NameRef]] = []
        for policy in self.parts().values():
            for field in fields(policy):
                value = getattr(policy, field.name)
                if isinstance(value, NameRef):
                    found.append((field.name, value))
                elif isinstance(value, tuple):
                    for item in value:
                        target = item[1] if field.name == "schemas" else item
                        if isinstance(target, NameRef):
                            found.append((field.name if field.name != "schemas" else "validate", target))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """What only a cell has, kept beside the policy and never exported."""

    scope: Literal["cell", "defs", "both"] | None = None  # None: defs when the cell only defines, else cell
    view: Literal["live", "line", "off"] = "live"
    overcommit: bool = False
    refresh: bool = False

    def __post_init__(self) -> None:
        _need(self.scope in (None, "cell", "defs", "both"), "guard", "scope", '"cell", "defs" or "both"', self.scope)
        _need(self.view in ("live", "line", "off"), "guard", "view", '"live", "line" or "off"', self.view)
