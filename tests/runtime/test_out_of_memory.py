"""retry where memory ran out: what failed is freed, and the call made again, maybe with half as much."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import numpy as np
import pytest

from mlguard_nb import PolicyError, retry
from mlguard_nb.runtime.dead_frames import clear_frames
from mlguard_nb.testing import FakeClock, no_wait
from tests.runtime.flaky import Flaky, of

pytestmark = pytest.mark.usefixtures("clock")


def test_clear_frees_what_failed_and_tries_at_once(clock: FakeClock) -> None:
    class Held:
        pass

    held: list[weakref.ref[Held]] = []

    @retry(on_oom="clear", attempts=3)
    def fit() -> str:
        assert all(ref() is None for ref in held)
        big = Held()
        big.itself = big  # type: ignore[attr-defined]  # a cycle, which only the collector frees
        held.append(weakref.ref(big))
        if len(held) < 3:
            raise MemoryError
        return "fitted"

    assert fit() == "fitted"
    assert clock.slept == [0, 0]


def test_out_of_memory_of_a_framework_is_known_by_its_class() -> None:
    """As torch raises it, without torch."""
    out_of_memory = type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})
    flaky = Flaky(2, lambda: out_of_memory("CUDA out of memory"))
    assert of(flaky, on_oom="clear")() == 3
    with pytest.raises(RuntimeError):
        of(Flaky(1, lambda: out_of_memory("CUDA out of memory")))()


def test_halve_finds_the_size_that_fits_and_keeps_everything_else() -> None:
    tried = []

    @retry(attempts=9, on_oom="halve:batch_size")
    def fit(data: str, batch_size: int = 64, *, epochs: int = 1) -> tuple[str, int, int]:
        tried.append(batch_size)
        if batch_size > 10:
            raise MemoryError
        return data, batch_size, epochs

    assert fit("rows", epochs=3) == ("rows", 8, 3)
    assert tried == [64, 32, 16, 8]


def test_halve_takes_numpy_s_numbers_too() -> None:
    @retry(attempts=9, on_oom="halve:n")
    def fit(n: Any) -> Any:
        if n > 10:
            raise MemoryError
        return n

    assert fit(np.int64(64)) == 8
    assert fit(np.float32(24)) == 6


def test_halve_stops_at_one() -> None:
    @retry(attempts=99, on_oom="halve:n")
    def fit(n: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError) as caught:
        fit(4)
    assert any("n=1 cannot be halved" in note for note in caught.value.__notes__)


def test_halve_of_a_parameter_that_is_not_there_is_refused_at_decoration() -> None:
    with pytest.raises(PolicyError, match="names no parameter"):
        retry(on_oom="halve:batch")(lambda size: size)
    with pytest.raises(PolicyError, match="names no parameter"):
        retry(on_oom="halve:sizes")(lambda *sizes: sizes)  # there is no half of them


def test_clear_frees_the_frames_of_every_error_behind_and_inside_the_error() -> None:
    """Before the framework's caches are emptied, or they could not let go of what a frame still holds."""
    held: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    def allocate(then: BaseException) -> None:
        big = np.zeros(1000)
        held.append(weakref.ref(big))
        raise then

    def caught(error: BaseException) -> BaseException:
        try:
            allocate(error)
        except BaseException as kept:
            return kept
        raise AssertionError

    class Several(MemoryError):  # the shape of an ExceptionGroup, which Python 3.10 has not
        exceptions: tuple[BaseException, ...] = ()

    error = Several()
    error.exceptions = (caught(KeyError()), caught(ValueError()))
    error.__cause__, error.__context__ = caught(OSError()), caught(TypeError())
    assert all(ref() is not None for ref in held)
    clear_frames(error)
    alive = [ref() is not None for ref in held]
    assert alive == [False] * 4


def test_an_error_that_two_tasks_share_ends_neither() -> None:
    """A lost connection raises one error in all who use it: its traceback then has frames of tasks that still wait."""
    lost = ConnectionError("lost")

    async def main() -> list[str]:
        has_failed, go_on = asyncio.Event(), asyncio.Event()

        async def bystander() -> str:
            try:
                raise lost
            except ConnectionError:
                has_failed.set()
                await go_on.wait()
            return "went on"

        calls: list[str] = []

        @retry(attempts=3, budget=None)
        async def call(name: str) -> str:
            calls.append(name)
            await asyncio.sleep(0)
            if calls.count(name) < 3:
                raise lost
            return name

        waiting = asyncio.ensure_future(bystander())
        await has_failed.wait()
        answers = await asyncio.gather(call("one"), call("other"))
        go_on.set()
        return [*answers, await waiting]

    with no_wait():
        assert asyncio.run(asyncio.wait_for(main(), 30)) == ["one", "other", "went on"]
