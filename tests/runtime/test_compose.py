"""guard(...) stacks the five in one order, and a stack by hand in another order is warned of."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from mlguard_nb import (
    CachePolicy,
    GuardPolicy,
    InputRejected,
    MemoryPolicy,
    MonitorPolicy,
    PolicyError,
    RetryPolicy,
    UnboundName,
    ValidatePolicy,
    cache_result,
    guard,
    memory_guard,
    monitor,
    retry,
    validate_input,
)
from mlguard_nb.policy.render import decorators
from mlguard_nb.policy.values import PARTS
from mlguard_nb.runtime.wrapping import OrderWarning, guards_of
from mlguard_nb.telemetry import bus
from mlguard_nb.testing import FakeDevices, no_wait

WHOLE = GuardPolicy(
    name="whole",
    retry=RetryPolicy(attempts=2),
    memory=MemoryPolicy(ram=0.9),
    cache=CachePolicy(ttl=60),
    validate=ValidatePolicy(schemas=(("x", int),)),
    monitor=MonitorPolicy(),
)


def fit_cpu(x: int) -> str:
    return "on the cpu"


def test_line_policy_and_parts_mean_the_same() -> None:
    def function(x: int) -> int:
        return x

    by_line = guard("retry=2 mem=0.9 cache=1m validate=x:int monitor name=whole")(function)
    by_policy = guard(WHOLE)(function)
    by_parts = guard(
        name="whole",
        retry=WHOLE.retry,
        memory=WHOLE.memory,
        cache=WHOLE.cache,
        validate=WHOLE.validate,
        monitor=WHOLE.monitor,
    )(function)
    assert by_line.__mlguard__ == by_policy.__mlguard__ == by_parts.__mlguard__ == WHOLE  # type: ignore[attr-defined]
    assert [g.part for g in guards_of(by_line)] == list(PARTS)
    assert {g.label for g in guards_of(by_line)} == {"whole"}


def test_the_emitted_decorators_carry_the_policy_of_the_line() -> None:
    """What the converter writes, executed, is the policy of the notebook's line."""
    lines = "".join(f"@{decorator.source}\n" for decorator in decorators(WHOLE))
    space: dict[str, Any] = {
        "retry": retry, "memory_guard": memory_guard, "cache_result": cache_result,
        "validate_input": validate_input, "monitor": monitor,
    }  # fmt: skip
    exec(f"{lines}def function(x: int) -> int:\n    return x\n", space)
    assert space["function"].__mlguard__ == WHOLE


def test_a_name_on_the_line_is_looked_up_in_the_functions_module() -> None:
    @guard("mem=0.5 fallback=fit_cpu")
    def fit(x: int) -> str:
        return "on the gpu"

    with no_wait(), FakeDevices(ram_used="15GB", ram_limit="16GB"):
        assert fit(1) == "on the cpu"
    with pytest.raises(UnboundName, match="did you mean fit_cpu"):
        guard("mem=0.5 fallback=fit_cpuu")(fit)


CONSEQUENCES = {
    (retry(attempts=2), monitor()): "every attempt as a call",
    (retry(attempts=2), cache_result()): "asked again for every attempt",
    (cache_result(), monitor()): "not counted",
    (memory_guard(), cache_result()): "does not need",
}


@pytest.mark.parametrize(("pair", "consequence"), CONSEQUENCES.items(), ids=CONSEQUENCES.values())
def test_another_order_by_hand_is_warned_of_once_with_its_consequence(pair: Any, consequence: str) -> None:
    outer, inner = pair
    with pytest.warns(OrderWarning, match=consequence) as warned:
        outer(inner(lambda x: x))
    assert len(warned) == 1
    assert warned[0].filename == __file__


def test_the_canonical_order_by_hand_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        monitor(validate_input(x=int)(cache_result(memory_guard(retry(lambda x: x)))))


def test_the_order_does_what_it_is_for() -> None:
    """One call for the caller, bad input never retried, a hit without an attempt."""
    calls: list[int] = []

    @guard("retry=3 wait=0.1s..1s cache=1m validate=x:int monitor")
    def flaky(x: int) -> int:
        calls.append(x)
        if len(calls) < 3:
            raise ConnectionError
        return x

    heard: list[Any] = []
    stop = bus.subscribe(heard.append)
    try:
        with no_wait():
            assert flaky(1) == flaky(1) == 1
            with pytest.raises(InputRejected):
                flaky("1")  # type: ignore[arg-type]
        bus.flush()
    finally:
        stop()
    assert calls == [1, 1, 1]
    ours = [event for event in heard if event.function.endswith("flaky")]
    kinds = [type(event).__name__ for event in ours]
    assert kinds.count("RetryScheduled") == 2
    assert kinds.count("CacheHit") == 1
    assert kinds.count("InputRefused") == 1
    finished = [event.outcome for event in ours if type(event).__name__ == "CallFinished"]
    assert sorted(finished) == ["error", "ok", "ok"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((), {}, "nothing was asked for"),
        (("",), {}, "nothing was asked for"),
        (("retry=3",), {"retry": RetryPolicy()}, "not several"),
        ((3,), {}, "takes a line"),
        ((len,), {}, "write @guard"),
        ((), {"retry": 3}, "must be RetryPolicy"),
        ((), {"rety": RetryPolicy()}, "one of"),
        (("retry=3 view=off",), {}, "for cells only"),
        (("rety=3",), {}, "retry"),
    ],
)
def test_mistakes_are_named(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        guard(*arguments, **options)
