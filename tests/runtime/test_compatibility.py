"""Every decorator, and all five together, leave a function what it was: one suite, which a sixth would inherit."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from mlguard_nb import PolicyError, cache_result, guard, memory_guard, monitor, retry, validate_input
from mlguard_nb.policy import switches
from mlguard_nb.testing import FakeDevices, disabled, no_wait

Decorate = Callable[[Any], Any]
DECORATORS: dict[str, Decorate] = {
    "retry": retry(attempts=2),
    "validate_input": lambda f: validate_input(x=int)(f),
    "cache_result": cache_result(ttl=60),
    "memory_guard": memory_guard(ram=0.99),
    "monitor": monitor(),
    "all five": lambda f: guard("retry=2 mem=0.99 cache=1m validate=x:int monitor")(f),
}
# A hit could not honour send and throw, so a generator is refused at decoration (vocabulary.md).
NO_GENERATORS = {"cache_result", "all five"}

every = pytest.mark.parametrize("decorate", DECORATORS.values(), ids=DECORATORS)
every_but_caching = pytest.mark.parametrize(
    "decorate",
    [d for n, d in DECORATORS.items() if n not in NO_GENERATORS],
    ids=[n for n in DECORATORS if n not in NO_GENERATORS],
)
caching = pytest.mark.parametrize(
    "decorate", [DECORATORS[name] for name in sorted(NO_GENERATORS)], ids=sorted(NO_GENERATORS)
)


@pytest.fixture(autouse=True)
def quiet_machine() -> Iterator[None]:
    with no_wait(), FakeDevices():
        yield


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
    assert guarded.__defaults__ == plain.__defaults__
    assert guarded.__kwdefaults__ == plain.__kwdefaults__
    assert guarded.__mlguard__.parts()


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
def test_pickle_finds_a_guarded_function_of_a_module_by_name(
    decorate: Decorate, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = decorate(plain)
    monkeypatch.setattr(sys.modules[__name__], "plain", guarded)
    assert pickle.loads(pickle.dumps(guarded)) is guarded


FRESH = """
import pickle, sys
function = pickle.load(sys.stdin.buffer)
print(function(4), function(5), sorted(function.__mlguard__.parts()))
"""


@every
def test_cloudpickle_takes_a_closure_into_a_fresh_process(decorate: Decorate) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    factor = 10

    def make() -> Any:
        def function(x: int) -> int:
            return x * factor

        function.__module__ = "__main__"
        return decorate(function)

    guarded = make()
    assert guarded(1) == 10  # with locks, threads and counters in use
    done = subprocess.run(
        [sys.executable, "-c", FRESH], input=cloudpickle.dumps(guarded), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == f"40 50 {sorted(guarded.__mlguard__.parts())}\n"


@every
def test_context_variables_set_inside_are_seen_outside(decorate: Decorate) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @decorate
    def function(x: int) -> int:
        variable.set(x)
        return x

    function(7)
    assert variable.get() == 7


@every_but_caching
def test_and_in_a_coroutine_too(decorate: Decorate) -> None:
    """Not behind a cache: there one task computes for all that wait, in a context of its own."""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @decorate
    async def function(x: int) -> int:
        variable.set(x)
        return x

    async def use() -> int:
        await function(8)
        return variable.get()

    assert asyncio.run(use()) == 8


@every
def test_many_threads_at_once(decorate: Decorate) -> None:
    @decorate
    def function(x: int) -> int:
        return x * 2

    found: list[int] = []
    threads = [threading.Thread(target=lambda n=n: found.extend(function(n) for _ in range(200))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(2 * n for n in range(8) for _ in range(200))


@every
@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX only")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_goes_on(decorate: Decorate) -> None:
    @decorate
    def function(x: int) -> int:
        return x + 1

    function(1)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send([function(1), function(2)]))
    child.start()
    assert ours.poll(20)
    assert ours.recv() == [2, 3]
    child.join(20)
    assert child.exitcode == 0


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
