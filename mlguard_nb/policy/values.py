"""The frozen policies: one value from the %%guard line to the emitted decorator.

A policy that cannot be cannot be built: every constructor checks, and raises PolicyError naming the field and the
allowed values. Defaults are frozen within a major version (a test holds the table of them), so an exported package
that asks for the same major version means what its notebook meant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

from mlguard_nb.errors import CircuitOpen, InputRejected, PolicyError
from mlguard_nb.policy.checks import (
    NameRef,
    count,
    flag,
    is_number,
    limit,
    names,
    need,
    one_of,
    optional,
    pairs,
    parsed,
    plain,
    put,
    seconds,
)
from mlguard_nb.units import parse_bytes

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


_RETRYABLE = "exception types that may be retried: no cancellation, interrupt, exit, InputRejected or CircuitOpen"


def _is_final(kind: type[BaseException]) -> bool:
    """Whether an error of this type is never followed by another attempt, whatever a policy says."""
    return issubclass(kind, (KeyboardInterrupt, SystemExit, GeneratorExit, InputRejected, CircuitOpen)) or (
        kind.__name__ == "CancelledError" and not issubclass(kind, Exception)
    )


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
        need(whole and self.attempts >= 1, "retry", "attempts", "a whole number of at least 1", self.attempts)
        on = self.on
        if isinstance(on, (type, NameRef)):
            on = (on,)
        if isinstance(on, (list, set)):
            on = tuple(on)
        if isinstance(on, tuple):
            for item in on:
                known = isinstance(item, NameRef) or (isinstance(item, type) and issubclass(item, BaseException))
                need(known, "retry", "on", "exception types or a predicate", item)
                need(isinstance(item, NameRef) or not _is_final(item), "retry", "on", _RETRYABLE, item)
            need(bool(on), "retry", "on", "at least one exception type", on)
        else:
            need(on is None or callable(on), "retry", "on", "exception types or a predicate", on)
        put(self, "on", on)
        seconds(self, "retry", "deadline", "timeout", "hedge_after", optional=True)
        seconds(self, "retry", "wait_max")
        seconds(self, "retry", "wait_initial", allow_zero=True)
        need(
            self.wait_initial <= self.wait_max,
            "retry",
            "wait_initial",
            f"at most wait_max ({self.wait_max} s)",
            self.wait_initial,
        )
        one_of(self, "retry", "jitter", "full", "decorrelated", "equal", None)
        oom = isinstance(self.on_oom, str) and (
            self.on_oom in ("fail", "clear") or (self.on_oom.startswith("halve:") and self.on_oom[6:].isidentifier())
        )
        need(oom, "retry", "on_oom", '"fail", "clear" or "halve:<parameter>"', self.on_oom)
        if not (isinstance(self.budget, str) and self.budget == "default"):
            optional(self, "retry", "budget", ("take", "give_back"), '"default", a RetryBudget or None')
        optional(self, "retry", "breaker", ("enter", "succeeded", "failed", "given_up"), "a CircuitBreaker or None")
        optional(self, "retry", "retry_on_result", ("__call__",), "a function of the result, or None")
        optional(self, "retry", "on_retry", ("__call__",), "a function of the event, or None")
        flag(self, "retry", "respect_retry_after")
        plain(self, "retry", "on", "retry_on_result", "on_retry")


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
        limit(self, "memory", "ram", "gpu")
        put(self, "need", parsed("memory", "need", self.need, parse_bytes))
        asked = self.need
        good = asked is None or isinstance(asked, NameRef) or callable(asked)
        need(
            good or (isinstance(asked, int) and not isinstance(asked, bool) and asked > 0),
            "memory",
            "need",
            "bytes above 0, a size such as '2GB', or a callable",
            asked,
        )
        plain(self, "memory", "need")
        need(
            self.device is None or (isinstance(self.device, (int, str)) and not isinstance(self.device, bool)),
            "memory",
            "device",
            "an index or a UUID",
            self.device,
        )
        need(
            not isinstance(self.device, int) or self.device >= 0,
            "memory",
            "device",
            "an index of at least 0",
            self.device,
        )
        one_of(self, "memory", "on_pressure", "stop", "wait", "warn", "skip")
        seconds(self, "memory", "wait_timeout", allow_zero=True)
        need(
            self.fallback is None or callable(self.fallback) or isinstance(self.fallback, NameRef),
            "memory",
            "fallback",
            "a function",
            self.fallback,
        )
        need(
            isinstance(self.hysteresis, (int, float)) and 0 <= self.hysteresis < 1,
            "memory",
            "hysteresis",
            "a share in [0, 1)",
            self.hysteresis,
        )
        names(self, "memory", "actions")
        for action in self.actions:
            need(action in LADDER, "memory", "actions", f"out of {', '.join(LADDER)}", action)
        need(
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
        seconds(self, "cache", "ttl", optional=True)
        seconds(self, "cache", "stale_while_revalidate", "stale_if_error", allow_zero=True)
        if self.key is not None and not isinstance(self.key, NameRef) and not callable(self.key):
            names(self, "cache", "key")
            need(bool(self.key), "cache", "key", "at least one name, a function of the arguments, or None", self.key)
        plain(self, "cache", "key")
        names(self, "cache", "ignore")
        if isinstance(self.key, tuple) and (both := set(self.key) & set(self.ignore) - {"self"}):
            raise PolicyError(f"cache: {min(both)!r} stands in key and in ignore; name it in one of them")
        backend = isinstance(self.backend, str) and (
            self.backend in ("memory", "disk")
            or self.backend.startswith(("disk:", "redis://", "rediss://", "valkey://", "unix://"))
        )
        need(backend, "cache", "backend", '"memory", "disk", "disk:<dir>" or "redis://..."', self.backend)
        put(self, "max_bytes", parsed("cache", "max_bytes", self.max_bytes, parse_bytes))
        count(self, "cache", "max_bytes", "bytes above 0 or a size such as '256MB'")
        if self.maxsize is not None:
            count(self, "cache", "maxsize", "a whole number above 0, or None")
        need(self.version is None or isinstance(self.version, str), "cache", "version", "text or None", self.version)
        flag(self, "cache", "watch_files")
        optional(self, "cache", "store", ("get", "pop", "__setitem__", "__iter__"), "a cachetools cache or None")
        one_of(self, "cache", "hand_out", "readonly", "copy", "same")


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
        pairs(self, "validate", "schemas")
        seen: set[str] = set()
        for name, _schema in self.schemas:
            need(name.isidentifier(), "validate", "schemas", "keyed by parameter names", name)
            need(name not in seen, "validate", "schemas", "one schema a parameter", name)
            seen.add(name)
        flag(self, "validate", "coerce")
        named = self.on_fail in ("raise", "warn", "quarantine") if isinstance(self.on_fail, str) else True
        folder = isinstance(self.on_fail, str) and self.on_fail.startswith("quarantine:")
        call = callable(self.on_fail) or isinstance(self.on_fail, (str, NameRef))
        need(
            (named or folder) and call,
            "validate",
            "on_fail",
            '"raise", "warn", "quarantine", "quarantine:<dir>" or a function',
            self.on_fail,
        )
        one_of(self, "validate", "depth", "full", "schema", "sample")


CAPTURED = ("shape", "dtype", "nan_frac", "min", "max")


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
    capture: tuple[str, ...] = CAPTURED
    redact: tuple[str, ...] = ("password", "secret", "token", "api_key", "authorization")
    include_args: tuple[str, ...] = ()
    resources: tuple[str, ...] = ("ram", "gpu")
    buckets: tuple[float, ...] | None = None
    max_series: int = 100

    def __post_init__(self) -> None:
        pairs(self, "monitor", "labels")
        put(self, "labels", tuple((name, str(value)) for name, value in self.labels))
        flag(self, "monitor", "metrics")
        for field in ("capture", "redact", "include_args", "resources"):
            names(self, "monitor", field)
        for fact in self.capture:
            need(fact in CAPTURED, "monitor", "capture", f"out of {', '.join(CAPTURED)}", fact)
        seconds(self, "monitor", "slow", optional=True)
        named = isinstance(self.logs, str) and self.logs in ("errors", "all")
        sampled = is_number(self.logs) and 0 < float(self.logs) <= 1
        need(named or sampled, "monitor", "logs", '"errors", "all" or a share in (0, 1]', self.logs)
        one_of(self, "monitor", "traces", "if_configured", True, False)
        for resource in self.resources:
            need(resource in ("ram", "gpu"), "monitor", "resources", 'out of "ram", "gpu"', resource)
        if self.buckets is not None:
            edges = self.buckets if isinstance(self.buckets, (tuple, list)) else ()
            rising = all(is_number(edge) for edge in edges) and list(edges) == sorted(set(edges))
            need(bool(edges) and rising, "monitor", "buckets", "rising edges in seconds, or None", self.buckets)
            put(self, "buckets", tuple(float(edge) for edge in edges))
        count(self, "monitor", "max_series", "a whole number above 0")


# The canonical order, outer to inner (runtime.md 1): monitor counts one per visible call, validation gives coerced
# cache keys and never retries bad input, a cache hit spends no admission and no retry.
PARTS: tuple[str, ...] = ("monitor", "validate", "cache", "memory", "retry")
_KINDS: dict[str, type] = {
    "monitor": MonitorPolicy,
    "validate": ValidatePolicy,
    "cache": CachePolicy,
    "memory": MemoryPolicy,
    "retry": RetryPolicy,
}


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
        need(
            self.name is None or (isinstance(self.name, str) and bool(self.name.strip())),
            "guard",
            "name",
            "a word",
            self.name,
        )
        for part, kind in _KINDS.items():
            value = getattr(self, part)
            need(value is None or isinstance(value, kind), "guard", part, f"a {kind.__name__} or None", value)

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
        need(self.scope in (None, "cell", "defs", "both"), "guard", "scope", '"cell", "defs" or "both"', self.scope)
        need(self.view in ("live", "line", "off"), "guard", "view", '"live", "line" or "off"', self.view)
