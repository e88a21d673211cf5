"""The generated wrapper: any signature, any callable, one policy for the stack, and nothing of ours in the way."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import inspect
import linecache
import subprocess
import sys
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlguard_nb import GuardPolicy, MonitorPolicy, PolicyError, RetryPolicy, cache_result, memory_guard, monitor, retry
from mlguard_nb.policy import switches
from mlguard_nb.runtime import wrapping
from mlguard_nb.runtime.wrapping import guards_of, kind_of
from mlguard_nb.testing import disabled, no_wait

# Signatures.


@st.composite
def parameter_lists(draw: st.DrawFn) -> str:
    """A legal parameter list: each kind of parameter, with defaults from some place on."""
    counts = [draw(st.integers(0, 2)) for _ in range(3)]
    names = iter("abcdefghij")
    first_default = draw(st.integers(0, counts[0] + counts[1]))
    positional = [next(names) for _ in range(counts[0] + counts[1])]
    spelled = [name if place < first_default else f"{name}={place}" for place, name in enumerate(positional)]
    if counts[0]:
        spelled.insert(counts[0], "/")
    if draw(st.booleans()):
        spelled.append("*rest")
    elif counts[2]:
        spelled.append("*")
    for _ in range(counts[2]):
        name = next(names)
        spelled.append(f"{name}='{name}'" if draw(st.booleans()) else name)
    if draw(st.booleans()):
        spelled.append("**more")
    return ", ".join(spelled)


@given(parameter_lists(), st.lists(st.integers(), max_size=6), st.dictionaries(st.sampled_from("abcdefgh"), st.none()))
def test_any_call_of_any_signature_does_what_the_function_does(
    parameters: str, args: list[int], kwargs: dict[str, None]
) -> None:
    """The result, or Python's own TypeError with the same words: the wrapper neither packs nor guesses."""
    space: dict[str, Any] = {}
    exec(f"def function({parameters}):\n    return sorted(locals().items())\n", space)
    function = space["function"]
    guarded = monitor(retry(function))
    assert inspect.signature(guarded) == inspect.signature(function)

    def outcome(call: Callable[..., Any]) -> Any:
        try:
            return call(*args, **kwargs)
        except TypeError as error:
            return str(error)

    assert outcome(guarded) == outcome(function)


def test_defaults_are_the_very_objects() -> None:
    default: list[int] = []

    @retry
    def function(x: list[int] = default, *, y: list[int] = default) -> tuple[list[int], list[int]]:
        return x, y

    x, y = function()
    assert x is y is default


def test_a_private_parameter_of_a_method_is_spelled_as_python_mangles_it() -> None:
    class Model:
        @retry
        def method(self, __x: int) -> int:
            return __x

    assert Model().method(3) == 3


# What can be guarded.


def test_partials_callable_objects_bound_methods_and_builtins() -> None:
    class Scorer:
        """Scores."""

        def __call__(self, x: int, y: int = 2) -> int:
            return x * y

        def method(self, x: int) -> int:
            return x + 1

    assert retry(functools.partial(Scorer(), y=5))(3) == 15
    assert retry(Scorer())(3) == 6
    assert retry(Scorer().method)(3) == 4
    assert retry(len)([1, 2]) == 2
    assert retry(max)(1, 5) == 5


def test_a_foreign_decorator_below_keeps_its_own_say() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return ("logged", function(*args, extra=1, **kwargs))

        return inner

    @retry
    @logged
    def function(x: int, extra: int = 0) -> int:
        return x + extra

    assert function(1) == ("logged", 2)


@pytest.mark.parametrize(
    "what", [int, 3, "text", property(lambda self: 1)], ids=["class", "number", "text", "property"]
)
def test_what_cannot_be_called_is_named(what: Any) -> None:
    with pytest.raises(PolicyError):
        retry(attempts=2)(what)


async def _coroutine() -> None: ...


async def _asyncgen() -> Any:
    yield 1


def _generator() -> Any:
    yield 1


class _AsyncCall:
    async def __call__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda: 1, "sync"),
        (_coroutine, "coroutine"),
        (_asyncgen, "asyncgen"),
        (_generator, "generator"),
        (functools.partial(functools.partial(_coroutine)), "coroutine"),
        (_AsyncCall(), "coroutine"),
        (len, "sync"),
    ],
)
def test_the_kind_of_a_function(function: Any, kind: str) -> None:
    assert kind_of(function) == kind
    guarded = retry(function)
    assert kind_of(guarded) == kind
    assert inspect.unwrap(guarded) is function


def test_a_callable_object_that_is_async_is_awaited() -> None:
    assert asyncio.run(retry(_AsyncCall())()) == 1


# One policy for the stack.


def test_the_stack_carries_one_policy() -> None:
    @monitor
    @retry(attempts=2, name="train")
    def function() -> None: ...

    policy = GuardPolicy(name="train", monitor=MonitorPolicy(), retry=RetryPolicy(attempts=2))
    assert function.__mlguard__ == policy  # type: ignore[attr-defined]
    assert [guard.decorator for guard in guards_of(function)] == ["monitor", "retry"]
    assert {guard.label for guard in guards_of(function)} == {"train"}


def test_the_outermost_name_holds() -> None:
    @monitor(name="outer")
    @retry(name="inner")
    def function() -> None: ...

    assert function.__mlguard__.name == "outer"  # type: ignore[attr-defined]
    assert {guard.label for guard in guards_of(function)} == {"outer"}


def test_decorating_again_leaves_the_first_alone() -> None:
    def function() -> None: ...

    once = retry(attempts=2)(function)
    both = monitor(once)
    assert once.__mlguard__.parts() == {"retry": RetryPolicy(attempts=2)}  # type: ignore[attr-defined]
    assert set(both.__mlguard__.parts()) == {"retry", "monitor"}  # type: ignore[attr-defined]
    assert not hasattr(function, "__mlguard__")


def test_the_same_decorator_twice_is_warned_of() -> None:
    with pytest.warns(wrapping.OrderWarning, match="stands twice"):
        retry(retry(lambda: 1))


# What is seen of us.


def test_a_traceback_shows_the_wrappers_own_lines() -> None:
    @retry(attempts=2)
    def function() -> None:
        raise ValueError("x")

    with no_wait(), pytest.raises(ValueError, match="x") as caught:
        function()
    frames = traceback.extract_tb(caught.value.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith("<mlguard retry")]
    assert ours
    assert all(frame.line for frame in ours)


def test_one_compiled_wrapper_serves_every_function_of_a_signature() -> None:
    """A thousand guarded functions cost a thousand closures, not a thousand sources."""
    before = len(linecache.cache)
    made = [retry(attempts=2)(eval("lambda one_of_a_kind: one_of_a_kind")) for _ in range(100)]
    assert [function(3) for function in made] == [3] * 100
    assert len(linecache.cache) <= before + 1


def test_a_guarded_function_is_freed_with_its_last_user() -> None:
    class Payload:
        pass

    def make() -> tuple[Any, weakref.ref[Any]]:
        payload = Payload()

        @monitor
        @cache_result
        @memory_guard
        @retry
        def function(x: int) -> bool:
            return payload is not None

        assert function(1)
        return function, weakref.ref(payload)

    function, payload = make()
    assert payload() is not None
    del function
    give_up = time.monotonic() + 60
    while payload() is not None:  # a thread that drains, samples or counts hits may hold it until it is through
        assert time.monotonic() < give_up, gc.get_referrers(payload())
        gc.collect()
        time.sleep(0.001)


def test_copies_are_the_function_itself() -> None:
    guarded = retry(lambda: 1)
    assert copy.deepcopy(guarded) is guarded


# Switches.


def test_each_decorator_is_switched_off_by_its_name() -> None:
    calls = []

    @monitor
    @retry(attempts=3, on=(ValueError,))
    def failing() -> None:
        calls.append(1)
        raise ValueError

    with no_wait():
        with disabled("retry"), pytest.raises(ValueError):
            failing()
        assert len(calls) == 1
        with disabled("monitor"), pytest.raises(ValueError):
            failing()
        assert len(calls) == 4
        with pytest.raises(ValueError):
            failing()
        assert len(calls) == 7


@pytest.mark.parametrize(
    ("text", "off"),
    [
        ("", set()),
        ("retry,cache_result", {"retry", "cache_result"}),
        ("cache, memory", {"cache_result", "memory_guard"}),
        ("all", set(switches.DECORATORS)),
        ("1", set(switches.DECORATORS)),
    ],
)
def test_the_environment_switches_off(text: str, off: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGUARD_DISABLE", text)
    switches.set_disabled(None)
    try:
        assert switches.disabled() == off
        assert {name for name in switches.DECORATORS if switches.switch(name).off} == off
    finally:
        monkeypatch.delenv("MLGUARD_DISABLE")
        switches.set_disabled(None)


def test_a_misspelt_switch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLGUARD_DISABLE", "rety")
    switches.set_disabled(())
    try:
        with pytest.raises(PolicyError, match="rety"):
            switches._read("rety")
    finally:
        switches.set_disabled(())


@pytest.mark.parametrize("name", ["retry", "monitor", "cache_result", "memory_guard", "validate_input", "guard"])
def test_importing_a_decorator_loads_nothing_heavy(name: str) -> None:
    """An exported package starts as fast as Python: numpy, pydantic and the drivers come with their first use."""
    heavy = ("numpy", "pandas", "pydantic", "psutil", "pynvml", "prometheus_client", "IPython", "tornado", "libcst")
    program = f"import sys; from mlguard_nb import {name}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_importing_retry_does_not_load_asyncio() -> None:
    """Which is more than half of the time that it takes."""
    program = "import sys; from mlguard_nb import retry; print('asyncio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
