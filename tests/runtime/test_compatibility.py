"""Every decorator, and all five together, leave a function what it was: one suite, which a sixth inherits."""

from __future__ import annotations

import asyncio
import inspect
import traceback
import typing
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from mlguard_nb import PolicyError
from mlguard_nb.policy import switches
from mlguard_nb.runtime.wrapping import guards_of, kind_of
from mlguard_nb.testing import FakeDevices, disabled, no_wait
from tests.runtime.every_guard import (
    DECORATORS,
    KINDS,
    Decorate,
    caching,
    every,
    every_but_caching,
    every_kind,
    finished,
)


@pytest.fixture(autouse=True)
def quiet_machine() -> Iterator[None]:
    with no_wait(), FakeDevices():
        yield


def test_no_decorator_stays_outside_the_suite() -> None:
    assert set(switches.DECORATORS) <= set(DECORATORS)
    whole = DECORATORS["all five"](lambda x: x)
    assert [guard.decorator for guard in guards_of(whole)] == [
        "monitor", "validate_input", "cache_result", "memory_guard", "retry",
    ]  # fmt: skip


def plain(x: int, /, y: float = 2.0, *rest: int, z: int = 3, **more: int) -> tuple[Any, ...]:
    """A docstring."""
    return x, y, rest, z, more


plain.attribute = "kept"  # type: ignore[attr-defined]


@every
def test_a_call_gives_what_the_function_gives(decorate: Decorate) -> None:
    guarded = decorate(plain)
    assert guarded(1) == plain(1)
    assert guarded(1, 5.0, 6, 7, z=8, w=9) == plain(1, 5.0, 6, 7, z=8, w=9)


@every
def test_the_function_looks_the_same(decorate: Decorate) -> None:
    guarded = decorate(plain)
    assert inspect.signature(guarded) == inspect.signature(plain)
    assert (guarded.__name__, guarded.__qualname__, guarded.__doc__, guarded.__module__) == (
        "plain", "plain", "A docstring.", __name__,
    )  # fmt: skip
    assert guarded.__annotations__ == plain.__annotations__
    assert guarded.attribute == "kept"
    assert inspect.unwrap(guarded) is plain
    assert inspect.getsource(guarded).startswith("def plain")
    assert inspect.getdoc(guarded) == "A docstring."
    assert typing.get_type_hints(guarded) == typing.get_type_hints(plain)
    assert inspect.getfile(inspect.unwrap(guarded)) == __file__
    assert guarded.__defaults__ == plain.__defaults__
    assert guarded.__kwdefaults__ == plain.__kwdefaults__
    assert guarded.__mlguard__.parts()


@every_kind
def test_inspect_and_tracebacks_know_the_users_function_of_every_kind(decorate: Decorate, kind: str) -> None:
    function = KINDS[kind]
    guarded = decorate(function)
    assert kind_of(guarded) == kind
    for asked in (
        inspect.iscoroutinefunction, asyncio.iscoroutinefunction, inspect.isgeneratorfunction,
        inspect.isasyncgenfunction, inspect.isfunction, inspect.isroutine,
    ):  # fmt: skip
        assert asked(guarded) == asked(function), asked
    assert inspect.getsource(guarded) == inspect.getsource(function)
    with pytest.raises(LookupError) as caught:
        finished(kind, guarded(1))
    innermost = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert innermost.line == f"raise LookupError(x)  # the line of {function.__name__}"
    assert "During handling" not in "".join(traceback.format_exception(caught.value))


@every
def test_wrong_arguments_are_pythons_own_error_naming_the_function(decorate: Decorate) -> None:
    with pytest.raises(TypeError, match=r"plain\(\) missing 1 required positional argument: 'x'"):
        decorate(plain)()


@every
def test_async_functions_stay_async(decorate: Decorate) -> None:
    @decorate
    async def function(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    assert inspect.iscoroutinefunction(function)
    assert asyncio.run(function(1)) == 2


@every
def test_cancellation_comes_through_and_no_task_is_left(decorate: Decorate) -> None:
    ended = []

    @decorate
    async def function(x: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(x)

    async def cancel() -> None:
        task = asyncio.ensure_future(function(1))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(cancel())
    assert ended == [1]


@every_but_caching
def test_generators_keep_items_send_throw_close_and_return_value(decorate: Decorate) -> None:
    closed = []

    @decorate
    def function(x: int) -> Iterator[Any]:
        try:
            got = yield x
            try:
                yield ("got", got)
            except KeyError as error:
                yield ("caught", error.args)
            return "returned"
        finally:
            closed.append(True)

    assert inspect.isgeneratorfunction(function)
    running = function(1)
    assert next(running) == 1
    assert running.send("this") == ("got", "this")
    assert running.throw(KeyError("that")) == ("caught", ("that",))
    with pytest.raises(StopIteration) as stop:
        next(running)
    assert stop.value.value == "returned"
    other = function(2)
    next(other)
    other.close()
    assert closed == [True, True]


@every_but_caching
def test_async_generators_keep_asend_athrow_and_aclose(decorate: Decorate) -> None:
    closed = []

    @decorate
    async def function(x: int) -> AsyncIterator[Any]:
        try:
            got = yield x
            try:
                yield ("got", got)
            except KeyError as error:
                yield ("caught", error.args)
        finally:
            closed.append(True)

    async def use() -> None:
        running: Any = function(1)
        assert await running.__anext__() == 1
        assert await running.asend("this") == ("got", "this")
        assert await running.athrow(KeyError("that")) == ("caught", ("that",))
        with pytest.raises(StopAsyncIteration):
            await running.__anext__()
        other: Any = function(2)
        await other.__anext__()
        await other.aclose()
        assert [item async for item in function(3)] == [3, ("got", None)]

    assert inspect.isasyncgenfunction(function)
    asyncio.run(use())
    assert closed == [True, True, True]


@caching
def test_caching_a_generator_is_refused_at_decoration(decorate: Decorate) -> None:
    with pytest.raises(PolicyError, match="generator"):

        @decorate
        def function(x: int) -> Iterator[int]:
            yield x


@every
@pytest.mark.parametrize("outside", [True, False], ids=["above", "below"])
def test_methods_class_methods_and_static_methods(decorate: Decorate, outside: bool) -> None:
    def both(kind: Any) -> Callable[[Any], Any]:
        return lambda f: decorate(kind(f)) if outside else kind(decorate(f))

    class Model:
        scale = 3

        def __repr__(self) -> str:
            return "Model()"

        @decorate
        def method(self, x: int) -> int:
            return self.scale * x

        @both(classmethod)
        def named(cls, x: int) -> tuple[str, int]:
            return cls.__name__, x

        @both(staticmethod)
        def alone(x: int) -> int:
            return x

    class Other(Model):
        pass

    assert Model().method(2) == 6
    assert Model.method(Model(), 2) == 6
    assert Other.named(1) == ("Other", 1)
    assert Model().alone(4) == Model.alone(5) - 1 == 4


def _bound_to(self: Any) -> str:
    """What a method was called on. Not the object itself, of which a cache hands out a copy."""
    return self if isinstance(self, str) else self.__name__ if isinstance(self, type) else f"a {type(self).__name__}"


def _at_once(self: Any, x: int) -> list[Any]:
    return [_bound_to(self), x]


async def _coroutine(self: Any, x: int) -> list[Any]:
    return [_bound_to(self), x]


def _items(self: Any, x: int) -> Iterator[Any]:
    yield _bound_to(self)
    yield x


async def _items_async(self: Any, x: int) -> AsyncIterator[Any]:
    yield _bound_to(self)
    yield x


@every_kind
@pytest.mark.parametrize("binding", [None, classmethod, staticmethod], ids=["method", "classmethod", "staticmethod"])
@pytest.mark.parametrize("outside", [True, False], ids=["above", "below"])
def test_methods_of_every_kind(decorate: Decorate, kind: str, binding: Any, outside: bool) -> None:
    body = {"sync": _at_once, "coroutine": _coroutine, "generator": _items, "asyncgen": _items_async}[kind]
    if binding is None:
        member = decorate(body)
    else:
        member = decorate(binding(body)) if outside else binding(decorate(body))
    model: Any = type("Model", (), {"call": member})
    one = model()
    called = one.call("nobody", 3) if binding is staticmethod else one.call(3)
    owner = {None: "a Model", classmethod: "Model", staticmethod: "nobody"}[binding]
    assert kind_of(one.call) == kind
    assert finished(kind, called) == [owner, 3]


@every
def test_a_recursive_function_and_a_lambda(decorate: Decorate) -> None:
    @decorate
    def factorial(x: int) -> int:
        return 1 if x < 2 else x * factorial(x - 1)

    assert factorial(5) == 120
    assert decorate(lambda x: x + 1)(1) == 2


@every
def test_a_functions_own_error_shows_the_users_line(decorate: Decorate) -> None:
    @decorate
    def function(x: int) -> None:
        raise TypeError("mine")  # the user's line

    with pytest.raises(TypeError, match="mine") as caught:
        function(1)
    shown = "".join(traceback.format_exception(caught.value))
    assert "the user's line" in shown
    assert "During handling" not in shown


@every
def test_switched_off_it_is_the_bare_function(decorate: Decorate) -> None:
    calls = []

    @decorate
    def function(x: Any) -> int:
        calls.append(x)
        return len(calls)

    with disabled():
        assert function("not an int") == 1
        assert function("not an int") == 2
    assert switches.disabled() == frozenset()


@every
def test_what_is_no_function_is_refused(decorate: Decorate) -> None:
    with pytest.raises(PolicyError):
        decorate(type("Model", (), {}))
