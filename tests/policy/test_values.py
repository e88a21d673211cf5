"""A policy that cannot be cannot be built, and its defaults are a promise within the major version."""

from __future__ import annotations

import asyncio
import concurrent.futures
import pickle
import re
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from mlguard_nb.errors import CircuitOpen, InputRejected, PolicyError
from mlguard_nb.policy import (
    CachePolicy,
    GuardPolicy,
    MemoryPolicy,
    MonitorPolicy,
    NameRef,
    RetryPolicy,
    ValidatePolicy,
)
from mlguard_nb.policy.schemas import Array, Col, Frame
from mlguard_nb.version import __version__

# May change only together with the major version: exported packages carry short decorators that rely on it.
DEFAULTS_OF_1: dict[type, dict[str, Any]] = {
    RetryPolicy: {
        "attempts": 3, "on": None, "retry_on_result": None, "deadline": None, "timeout": None, "wait_initial": 0.5,
        "wait_max": 20.0, "jitter": "full", "respect_retry_after": True, "budget": "default", "hedge_after": None,
        "on_oom": "fail", "breaker": None, "on_retry": None,
    },
    MemoryPolicy: {
        "ram": 0.8, "gpu": None, "need": None, "device": None, "on_pressure": "stop", "wait_timeout": 30.0,
        "fallback": None, "hysteresis": 0.1, "actions": ("gc", "trim", "evict_caches", "empty_cuda_cache", "alert"),
    },
    CachePolicy: {
        "ttl": 300.0, "key": None, "backend": "memory", "stale_while_revalidate": 0.0, "stale_if_error": 0.0,
        "max_bytes": 256_000_000, "maxsize": None, "ignore": ("self",), "version": None, "watch_files": False,
        "hand_out": "readonly", "store": None,
    },
    ValidatePolicy: {
        "schemas": (), "stats": None, "coerce": False, "on_fail": "raise", "depth": "full", "returns": None,
    },
    MonitorPolicy: {
        "labels": (), "metrics": True, "traces": "if_configured", "logs": "errors", "slow": None,
        "capture": ("shape", "dtype", "nan_frac", "min", "max"),
        "redact": ("password", "secret", "token", "api_key", "authorization"),
        "include_args": (), "resources": ("ram", "gpu"), "buckets": None, "max_series": 100,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", DEFAULTS_OF_1)
def test_defaults_are_those_promised_for_this_major_version(kind: Any) -> None:
    assert __version__.split(".")[0] == "1"
    assert {field.name: getattr(kind(), field.name) for field in fields(kind)} == DEFAULTS_OF_1[kind]


async def _awaited(_anything: Any) -> bool:
    """Called, and not awaited, it gives a coroutine: it would retry everything, and accept nothing."""
    return False


@pytest.mark.parametrize(
    ("build", "field", "allowed"),
    [
        (lambda: RetryPolicy(attempts=0), "attempts", "at least 1"),
        (lambda: RetryPolicy(attempts=True), "attempts", "whole number"),
        (lambda: RetryPolicy(attempts=2.5), "attempts", "whole number"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(deadline=-1), "deadline", "above 0"),
        (lambda: RetryPolicy(timeout=float("nan")), "timeout", "duration"),
        (lambda: RetryPolicy(wait_initial=30, wait_max=1), "wait_initial", "at most wait_max"),
        (lambda: RetryPolicy(jitter="some"), "jitter", "decorrelated"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(on=int), "on", "exception types"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(on=()), "on", "at least one"),
        (lambda: RetryPolicy(on_oom="halve"), "on_oom", "halve:<parameter>"),
        (lambda: RetryPolicy(budget="some"), "budget", "RetryBudget"),
        (lambda: RetryPolicy(on=_awaited), "on", "plain function"),
        (lambda: RetryPolicy(retry_on_result=_awaited), "retry_on_result", "plain function"),
        (lambda: RetryPolicy(on_retry=_awaited), "on_retry", "plain function"),
        (lambda: MemoryPolicy(need=_awaited), "need", "plain function"),  # type: ignore[arg-type]
        (lambda: CachePolicy(key=_awaited), "key", "plain function"),
        (lambda: MemoryPolicy(ram=1.5), "ram", "share"),
        (lambda: MemoryPolicy(ram=-3), "ram", "share"),
        (lambda: MemoryPolicy(gpu=0.0), "gpu", "share"),
        (lambda: MemoryPolicy(device=-1), "device", "at least 0"),
        (lambda: MemoryPolicy(on_pressure="panic"), "on_pressure", '"stop"'),  # type: ignore[arg-type]
        (lambda: MemoryPolicy(actions=("pray",)), "actions", "gc"),
        (lambda: MemoryPolicy(ram=None), "ram", "set when neither"),
        (lambda: MemoryPolicy(hysteresis=1.0), "hysteresis", "[0, 1)"),
        (lambda: MemoryPolicy(fallback=3), "fallback", "a function"),  # type: ignore[arg-type]
        (lambda: CachePolicy(ttl=0), "ttl", "above 0"),
        (lambda: CachePolicy(backend="floppy"), "backend", "redis://"),
        (lambda: CachePolicy(max_bytes=0), "max_bytes", "above 0"),
        (lambda: CachePolicy(hand_out="live"), "hand_out", "readonly"),  # type: ignore[arg-type]
        (lambda: ValidatePolicy(schemas={"no name": int}), "schemas", "parameter names"),  # type: ignore[arg-type]
        (lambda: ValidatePolicy(depth="deep"), "depth", "sample"),  # type: ignore[arg-type]
        (lambda: ValidatePolicy(on_fail="panic"), "on_fail", "quarantine"),
        (lambda: MonitorPolicy(logs=2.0), "logs", "share"),
        (lambda: MonitorPolicy(buckets=(1.0, 0.5)), "buckets", "rising"),
        (lambda: MonitorPolicy(resources=("disk",)), "resources", "ram"),
        (lambda: MonitorPolicy(capture=("shape", "median")), "capture", "nan_frac"),
        (lambda: MonitorPolicy(max_series=0), "max_series", "above 0"),
        (lambda: GuardPolicy(name=" "), "name", "a word"),
    ],
)
def test_an_impossible_policy_names_the_field_and_what_is_allowed(build: Any, field: str, allowed: str) -> None:
    with pytest.raises(PolicyError) as caught:
        build()
    assert field in str(caught.value)
    assert allowed in str(caught.value)


JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2.5, float("nan"), float("inf"), "", "x", b"x", (), (1,), [], {}, {"a": 1}, object(), int,
    ValueError, len, {1}, {"a", "b"}, ((1, 2),), ("a",), np.zeros(2),
)  # fmt: skip
EVERY_FIELD = [(kind, field.name) for kind in (*DEFAULTS_OF_1, GuardPolicy) for field in fields(kind)]


@pytest.mark.parametrize(("kind", "field"), EVERY_FIELD, ids=[f"{kind.__name__}.{name}" for kind, name in EVERY_FIELD])
def test_whatever_a_field_is_given_it_is_a_policy_or_an_error_that_names_the_field(kind: Any, field: str) -> None:
    for junk in JUNK:
        try:
            kind(**{field: junk})
        except PolicyError as error:
            assert field in str(error), f"{junk!r}: {error}"


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, InputRejected, CircuitOpen]
)
def test_what_is_never_retried_cannot_be_asked_for(kind: type[BaseException]) -> None:
    with pytest.raises(PolicyError, match=r"on must be exception types that may be retried"):
        RetryPolicy(on=(ValueError, kind))
    assert RetryPolicy(on=concurrent.futures.CancelledError).on == (concurrent.futures.CancelledError,)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RetryPolicy(deadline="soon"), "retry: deadline: 'soon' is not a duration"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(wait_max=None), "retry: wait_max must be a duration"),  # type: ignore[arg-type]
        (lambda: RetryPolicy(breaker="x"), "retry: breaker must be a CircuitBreaker"),
        (lambda: MemoryPolicy(ram="5"), "memory: ram: 5 has no unit"),  # type: ignore[arg-type]
        (lambda: CachePolicy(max_bytes="5"), "cache: max_bytes: 5 has no unit"),  # type: ignore[arg-type]
        (lambda: CachePolicy(key=""), "cache: key must be at least one name"),  # type: ignore[arg-type]
        (lambda: CachePolicy(key=("a", "b"), ignore=("b",)), "'b' stands in key and in ignore"),
        (lambda: CachePolicy(store=5), "cache: store must be a cachetools cache"),
        (lambda: CachePolicy(version=2), "cache: version must be text"),  # type: ignore[arg-type]
        (lambda: GuardPolicy(retry=3), "guard: retry must be a RetryPolicy"),  # type: ignore[arg-type]
    ],
)
def test_the_message_says_what_was_wrong(build: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=re.escape(message)):
        build()


def test_texts_are_kept_as_numbers() -> None:
    policy = MemoryPolicy(ram="12GB", gpu="0.9", need="2GiB", wait_timeout="1m")  # type: ignore[arg-type]
    assert (policy.ram, policy.gpu, policy.need, policy.wait_timeout) == (12 * 10**9, 0.9, 2 * 2**30, 60.0)
    assert CachePolicy(ttl="1h", max_bytes="1MB") == CachePolicy(ttl=3600.0, max_bytes=10**6)  # type: ignore[arg-type]
    assert RetryPolicy(on=ValueError) == RetryPolicy(on=(ValueError,))  # type: ignore[arg-type]


def test_parts_come_in_the_canonical_order() -> None:
    policy = GuardPolicy(retry=RetryPolicy(), monitor=MonitorPolicy(), memory=MemoryPolicy(), cache=CachePolicy())
    assert list(policy.parts()) == ["monitor", "cache", "memory", "retry"]


def test_policies_pickle() -> None:
    policy = GuardPolicy(
        name="x",
        retry=RetryPolicy(on=(NameRef("E"),)),
        validate=ValidatePolicy(schemas=(("x", Array("b 3")), ("f", Frame({"a": Col(int, ge=0)})))),
    )
    assert pickle.loads(pickle.dumps(policy)) == policy


@pytest.mark.parametrize("name", ["", "2x", "a b", "a..b", "a.2"])
def test_a_reference_is_a_python_name(name: str) -> None:
    with pytest.raises(PolicyError, match="not a Python name"):
        NameRef(name)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Array("b", ge=1, gt=2), "ge or gt"),
        (lambda: Array("b", le=1, lt=2), "le or lt"),
        (lambda: Col(int, ge=3, le=1), "above the upper bound"),
        (lambda: Array("b", nan=2.0), "nan must be"),
        (lambda: Frame({}), "at least one column"),
        (lambda: Frame(["a"]), "mapping"),  # type: ignore[arg-type]
        (lambda: Frame({"a": int}, min_rows=-1), "min_rows"),
        (lambda: Frame({"a": 3}), "dtype must be"),
        (lambda: Array("b", gt=1, lt=1), "no value lies between"),
        (lambda: Array("b", ge=float("nan")), "ge must be a number"),
        (lambda: Array("b", le="a"), "le must be a number"),  # type: ignore[arg-type]
        (lambda: Array((3, 4)), "shape must be text"),  # type: ignore[arg-type]
        (lambda: Array("b", 3), "dtype must be a name"),  # type: ignore[arg-type]
        (lambda: Col(int, ge=1, le="b"), "cannot be compared"),
        (lambda: Col(str, isin="abc"), "list of values"),  # type: ignore[arg-type]
        (lambda: Frame({"a": int}, extra="maybe"), "extra must be"),
    ],
)
def test_an_impossible_schema_cannot_be_built(build: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        build()
