"""A policy as Python source, as JSON, bound to a namespace, and in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from mlguard_nb import guard, retry
from mlguard_nb.errors import PolicyError, UnboundName
from mlguard_nb.policy import (
    CachePolicy,
    GuardPolicy,
    MemoryPolicy,
    MonitorPolicy,
    NameRef,
    RetryPolicy,
    ValidatePolicy,
)
from mlguard_nb.policy.as_json import cell_from_json, from_json, to_json
from mlguard_nb.policy.binding import bind
from mlguard_nb.policy.describe import badge, phrases
from mlguard_nb.policy.directive import parse
from mlguard_nb.policy.render import decorators, imported_names
from mlguard_nb.policy.schemas import Array, Col, Frame
from tests.policy.test_directive import POLICIES


@given(POLICIES)
def test_json_reads_back(policy: GuardPolicy) -> None:
    assert from_json(to_json(policy)) == policy


def test_json_carries_cell_options_and_schemas() -> None:
    directive = parse("retry=2 view=off")
    data = to_json(directive.policy, directive.cell)
    assert cell_from_json(data) == directive.cell
    policy = GuardPolicy(
        validate=ValidatePolicy(
            schemas=(("f", Frame({"a": Col("int64", ge=0)}, extra="forbid")), ("x", Array("b 3", "float32")))
        )
    )
    assert from_json(to_json(policy)) == policy


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"rety": {}}, "unknown part 'rety'"),
        ({"retry": {"attemps": 3}}, "unknown field 'attemps'"),
        ({"validate": {"schemas": [["x", {"schema": "No"}]]}}, "unknown schema 'No'"),
    ],
)
def test_json_with_unknown_words_is_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        from_json(data)


def test_decorators_come_outermost_first_and_write_main_fields_always() -> None:
    policy = parse(
        "retry=3 wait=1s..30s cache=1h mem=0.8 gpu=0.9 monitor name=train validate=batch:Features fallback=fit"
    ).policy
    assert [decorator.source for decorator in decorators(policy)] == [
        'monitor(name="train")',
        "validate_input(batch=Features)",
        "cache_result(ttl=3600.0)",
        "memory_guard(ram=0.8, gpu=0.9, fallback=fit)",
        "retry(attempts=3, wait_initial=1.0, wait_max=30.0)",
    ]
    assert imported_names(policy) == ("cache_result", "memory_guard", "monitor", "retry", "validate_input")
    assert decorators(policy)[3].mentions == ("fit",)


def test_schemas_are_written_as_source() -> None:
    frame = Frame({"visits": Col(int, seen=(1, 11)), "spent": Col(float, ge=0)})
    policy = GuardPolicy(validate=ValidatePolicy(schemas=(("f", frame),)))
    (decorator,) = decorators(policy)
    assert decorator.source == 'validate_input(f=Frame({"visits": Col(int, seen=(1, 11)), "spent": Col(float, ge=0)}))'
    assert eval(decorator.source, {"validate_input": lambda **kw: kw, "Frame": Frame, "Col": Col}) == {"f": frame}


def test_a_callable_has_no_spelling() -> None:
    with pytest.raises(PolicyError, match="no spelling in source"):
        decorators(GuardPolicy(memory=MemoryPolicy(fallback=lambda: None)))


def test_binding_finds_names_dotted_names_builtins_and_tuples() -> None:
    class Http:
        Error = ConnectionError

    def fit() -> None: ...

    both = (KeyError, IndexError)
    policy = parse("retry on=ValueError,http.Error,both mem=0.8 fallback=fit").policy
    bound = bind(policy, {"http": Http, "fit": fit, "both": both})
    assert bound.retry == RetryPolicy(on=(ValueError, ConnectionError, KeyError, IndexError))
    assert bound.memory is not None
    assert bound.memory.fallback is fit
    assert not bound.references()


def test_an_unbound_name_is_named_with_the_nearest() -> None:
    policy = parse("mem=0.8 fallback=fit_cpu").policy
    with pytest.raises(UnboundName, match="did you mean fit_on_cpu") as caught:
        bind(policy, {"fit_on_cpu": print})
    assert caught.value.name == "fit_cpu"
    with pytest.raises(UnboundName) as caught:  # what Jupyter puts there is nobody's fallback
        bind(parse("mem=0.8 fallback=nope").policy, {"open": open})
    assert caught.value.nearest is None
    with pytest.raises(UnboundName):
        bind(parse("retry on=os.nothing").policy, {"os": object()})
    with pytest.raises(PolicyError, match="must name exception types"):
        bind(parse("retry on=x,y").policy, {"x": 3, "y": 4})


def test_a_policy_in_words() -> None:
    policy = GuardPolicy(
        name="train",
        retry=RetryPolicy(attempts=3, wait_initial=1, wait_max=30),
        memory=MemoryPolicy(gpu=0.9, fallback=NameRef("fit")),
        cache=CachePolicy(ttl=3600),
        monitor=MonitorPolicy(),
    )
    assert badge(policy) == ("3 attempts", "RAM stop 80 %", "GPU stop 90 %", "cache 1 h", "monitored as train")
    assert phrases(policy) == (
        "cache 1 h", "3 attempts, waits of 1 to 30 s", "RAM up to 80 %, GPU up to 90 %, else `fit`", "monitored as `train`",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: MemoryPolicy(ram=90), "memory: ram=90 has no unit: write a share such as 0.8, or '90GB'"),
        (lambda: retry(attempts=2, wait="1ms"), "wait= is wait_initial= and wait_max= here"),
        (lambda: retry(attemps=2), "did you mean attempts?"),
        (lambda: retry(3), "write retry(attempts=3)"),
        (lambda: guard(retry=3), "on a line it is guard('retry=3')"),
        (lambda: parse("retry=3 name=my step"), 'write name="my step"'),
        (lambda: parse("retry 3"), "write retry=3"),
        (lambda: parse("production"), "%guard set NAME makes a profile"),
    ],
)
def test_a_slip_is_answered_with_what_to_write(ask: Callable[[], object], said: str) -> None:
    """Each was made by somebody who read the docs for the first time."""
    with pytest.raises(PolicyError, match=re.escape(said)):
        ask()
