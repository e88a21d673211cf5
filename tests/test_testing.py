"""The public fakes: a clock that nobody waits for, machines made of numbers, faults that the guards must meet."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlguard_nb import (
    InputRejected,
    MemoryPressure,
    PolicyError,
    cache_result,
    devices,
    guard,
    memory_guard,
    monitor,
    retry,
    validate_input,
)
from mlguard_nb import clock as clocks
from mlguard_nb.devices.readings import Unknown
from mlguard_nb.pipeline.portable import portable
from mlguard_nb.pipeline.recording import recorded_text
from mlguard_nb.policy import switches
from mlguard_nb.telemetry import bus
from mlguard_nb.testing import (
    FakeClock,
    FakeDevices,
    assert_recorded,
    chaos,
    current_chaos,
    disabled,
    fake_gpu,
    no_wait,
    seeded,
)

# The clock.


def test_the_clock_moves_only_when_somebody_sleeps() -> None:
    clock = FakeClock(epoch=100.0)
    assert (clock.now(), clock.wall()) == (0.0, 100.0)
    clock.sleep(2)
    asyncio.run(clock.sleep_async(3))
    assert (clock.now(), clock.wall(), clock.slept) == (5.0, 105.0, [2, 3])


def test_no_wait_puts_a_clock_in_force_and_the_old_one_back() -> None:
    before = clocks.current()
    with no_wait() as clock:
        assert clocks.current() is clock
        with no_wait() as inner:
            assert clocks.current() is inner
        assert clocks.current() is clock
    assert clocks.current() is before

    with pytest.raises(ZeroDivisionError), no_wait():
        raise ZeroDivisionError
    assert clocks.current() is before


def test_no_wait_counts_the_waits_of_a_retry() -> None:
    with no_wait() as clock, pytest.raises(ConnectionError):
        retry(attempts=3, jitter=None, wait_initial="1m", wait_max="10m")(_refused)()
    assert clock.slept == [60, 120]


def _refused() -> None:
    raise ConnectionError


# The switches.


def _waits() -> list[float]:
    @retry(attempts=6, jitter="full", budget=None)
    def down() -> None:
        raise ConnectionError

    with no_wait() as clock, pytest.raises(ConnectionError):
        down()
    return clock.slept


def test_seeded_draws_the_same_each_time_and_only_within_the_block() -> None:
    with seeded(7):
        first = _waits()
    with seeded(7):
        again = _waits()
    with seeded(8):
        other = _waits()
    assert again == first
    assert _waits() != first != other


def test_seeded_chooses_the_same_calls_to_log(caplog: pytest.LogCaptureFixture) -> None:
    @monitor(name="sampled", logs=0.3)
    def f(x: int) -> int:
        return x

    def logged() -> list[int]:
        found = []
        with seeded(3):
            for x in range(20):
                caplog.clear()
                f(x)
                bus.flush()
                found += [x] * len(caplog.records)
        return found

    with caplog.at_level(logging.INFO, logger="mlguard"):
        first, again = logged(), logged()
    assert again == first
    assert 0 < len(first) < 20


def test_a_guard_neither_follows_nor_disturbs_the_seeds_of_the_program() -> None:
    """A worker that seeds itself would else wait as all the others do, and a retried cell would compute other values."""
    random.seed(42)
    before, first = random.getstate(), _waits()
    assert random.getstate() == before
    random.seed(42)
    assert _waits() != first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_children_draw_apart() -> None:
    """Workers of one parent must not come back together."""
    program = """if True:
        import os
        from mlguard_nb import chance
        for _ in range(2):
            if not os.fork():
                print(chance.current().random(), flush=True)
                os._exit(0)
            os.wait()
    """
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert len(set(ran.stdout.split())) == 2


def test_disabled_nests_and_ends_with_an_error_too() -> None:
    assert switches.disabled() == frozenset()
    with disabled("retry"):
        assert switches.disabled() == {"retry"}
        with disabled():
            assert switches.disabled() == set(switches.DECORATORS)
        assert switches.disabled() == {"retry"}
        with pytest.raises(PolicyError, match="rety"), disabled("rety"):
            pass
    with pytest.raises(ZeroDivisionError), disabled():
        raise ZeroDivisionError
    assert switches.disabled() == frozenset()


# Machines.


def test_a_machine_made_of_numbers_is_what_the_guards_see() -> None:
    @memory_guard(ram=0.8)
    def fit() -> str:
        return "fitted"

    with no_wait(), FakeDevices(ram_used="4GB", ram_limit="16GB"):
        assert fit() == "fitted"
        with FakeDevices(ram_used="15GB", ram_limit="16GB"), pytest.raises(MemoryPressure) as short:
            fit()
        assert fit() == "fitted"
    assert short.value.limit == int(0.8 * 16e9)


def test_gpus_are_read_as_set_and_absence_is_a_reason_not_a_zero() -> None:
    with FakeDevices(gpus=(fake_gpu(0, "80GB", "20GB"), fake_gpu(1, "80GB"))) as machine:
        first, second = devices.current().gpus()  # type: ignore[misc]
        assert (first.used_bytes, first.free_bytes, second.used_bytes) == (20 * 10**9, 60 * 10**9, 0)
        assert first.uuid != second.uuid
        machine.gpus_now = Unknown("the GPU is lost")
        assert devices.current().gpus() == Unknown("the GPU is lost")
    with FakeDevices():
        assert isinstance(devices.current().gpus(), Unknown)


# What was recorded.


def test_recorded_values_are_compared_name_by_name(tmp_path: Path) -> None:
    path = tmp_path / "recorded.json"
    results = {"score": 0.75, "table": np.arange(6.0), "name": "ridge"}
    values = {name: portable(value, ()) for name, value in results.items()}
    path.write_text(recorded_text(values, notebook="a.ipynb"))
    assert_recorded(results, path)
    with pytest.raises(AssertionError) as wrong:
        assert_recorded({**results, "score": 0.5, "name": "lasso"}, path)
    assert "score" in str(wrong.value)
    assert "name" in str(wrong.value)
    assert "table" not in str(wrong.value)


# Chaos.


def outcomes(seed: int, calls: int = 200) -> list[str]:
    @monitor(name="victim")
    def function(x: int) -> int:
        return x

    found = []
    with no_wait(), chaos(fail=0.2, oom=0.1, seed=seed):
        for number in range(calls):
            try:
                function(number)
                found.append("ok")
            except (TimeoutError, MemoryError) as error:
                found.append(type(error).__name__)
    return found


def test_the_same_seed_gives_the_same_faults() -> None:
    assert outcomes(7) == outcomes(7)
    assert outcomes(7) != outcomes(8)


def test_the_faults_of_a_function_do_not_depend_on_others_or_on_threads() -> None:
    """A test that found something is repeatable, although the machine schedules otherwise the next time."""

    @monitor(name="victim")
    def function(x: int) -> int:
        return x

    @monitor(name="neighbour")
    def other() -> None: ...

    def fails(call: Any, *args: Any) -> bool:
        try:
            call(*args)
        except (TimeoutError, MemoryError):
            return True
        return False

    alone = [outcome != "ok" for outcome in outcomes(7, calls=400)]
    with no_wait(), chaos(fail=0.2, oom=0.1, seed=7):
        beside = []
        for number in range(400):
            beside.append(fails(function, number))
            fails(other)
    with no_wait(), chaos(fail=0.2, oom=0.1, seed=7) as faults, ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda number: fails(function, number), range(400)))
    assert beside == alone
    assert sum(threaded) == sum(alone) == faults.injected


def test_numbers_that_are_none_reach_frames_items_and_what_is_within_others() -> None:
    @monitor
    def make() -> Any:
        return {"a": [np.ones(1000), 3], "b": (1.0, "text")}, pl.DataFrame({"x": np.ones(1000), "n": range(1000)})

    @monitor
    def items() -> Any:
        got = yield np.ones(1000)
        yield got
        return np.ones(10)

    @monitor
    async def items_async() -> AsyncIterator[Any]:
        yield np.ones(1000)

    async def first() -> Any:
        (item,) = [item async for item in items_async()]
        return item

    with chaos(nan=0.1, seed=4) as faults:
        told, frame = make()
        running = items()
        assert 50 < np.isnan(next(running)).sum() < 150
        assert running.send("sent") == "sent"
        with pytest.raises(StopIteration) as end:
            next(running)
        assert 50 < np.isnan(asyncio.run(first())).sum() < 150
        assert faults.injected >= 4
    assert 50 < np.isnan(told["a"][0]).sum() < 150
    assert told["a"][1] == 3
    assert told["b"][1] == "text"
    assert end.value.value.shape == (10,)
    assert 50 < frame["x"].is_nan().sum() < 150
    assert frame["n"].to_list() == list(range(1000))


def test_faults_come_about_as_often_as_asked() -> None:
    found = outcomes(3, calls=2000)
    assert 0.15 < found.count("TimeoutError") / 2000 < 0.25
    assert 0.07 < found.count("MemoryError") / 2000 < 0.13


def test_the_guards_are_seen_at_work() -> None:
    """Faults come from where the function is, so that a retry around it survives them."""
    plain_failures = guarded_failures = 0

    @monitor
    def alone() -> int:
        return 1

    @guard("retry=6 wait=0.1s..1s monitor")
    def retried() -> int:
        return 1

    with no_wait(), chaos(fail=0.3, error=ConnectionError, seed=1) as faults:
        for _ in range(100):
            for function in (alone, retried):
                try:
                    function()
                except ConnectionError:
                    plain_failures += function is alone
                    guarded_failures += function is retried
    assert plain_failures > 10
    assert guarded_failures <= 2
    assert faults.injected > plain_failures
    assert alone() == retried() == 1


def test_every_kind_of_function_is_reached() -> None:
    @retry(attempts=1)
    async def coroutine() -> int:
        return 1

    @retry(attempts=1)
    def generator() -> Iterator[int]:
        yield 1

    @retry(attempts=1)
    async def asyncgen() -> AsyncIterator[int]:
        yield 1

    async def collect() -> list[int]:
        return [item async for item in asyncgen()]

    with no_wait(), chaos(fail=1.0, error=OSError):
        for attempt in (lambda: asyncio.run(coroutine()), lambda: list(generator()), lambda: asyncio.run(collect())):
            with pytest.raises(OSError, match="injected by chaos"):
                attempt()
    assert asyncio.run(coroutine()) == 1
    assert list(generator()) == [1]
    assert asyncio.run(collect()) == [1]


def test_slowness_numbers_that_are_none_and_crowded_memory() -> None:
    @monitor
    def make() -> Any:
        return np.ones(1000)

    with no_wait() as clock, chaos(slow="2s"):
        make()
    assert clock.slept == [2]

    with chaos(nan=0.1, seed=4):
        spoiled = make()
    assert 50 < np.isnan(spoiled).sum() < 150
    assert not np.isnan(make()).any()

    @memory_guard(ram=0.9)
    def guarded() -> Any:
        return np.ones(1000)

    with no_wait(), FakeDevices():
        with chaos(pressure=0.95), pytest.raises(MemoryPressure):
            guarded()
        assert guarded().size == 1000


def test_what_is_decorated_within_the_block_is_reached_too() -> None:
    """And is as it should be afterwards."""
    with no_wait(), chaos(fail=1.0):

        @monitor
        @retry(attempts=2)
        def late() -> int:
            return 1

        with pytest.raises(TimeoutError, match="injected by chaos into .*late"):
            late()
    assert late() == 1
    with chaos(fail=1.0), pytest.raises(TimeoutError):
        late()


def test_slow_coroutines_let_other_tasks_run() -> None:
    """They wait as coroutines do, and never block the loop."""

    class Loop(FakeClock):
        def sleep(self, seconds: float) -> None:
            raise AssertionError("blocked the loop")

        async def sleep_async(self, seconds: float) -> None:
            self.slept.append(seconds)
            await asyncio.sleep(0)

    @monitor
    async def dawdling() -> int:
        return 1

    async def both() -> list[int]:
        return list(await asyncio.gather(dawdling(), dawdling()))

    with no_wait(Loop()) as clock, chaos(slow="200ms"):
        assert asyncio.run(both()) == [1, 1]
    assert clock.slept == [0.2, 0.2]


def test_frames_and_tensors_are_spoiled_in_their_floats_only() -> None:
    frame = pd.DataFrame({"a": np.ones(1000), "n": range(1000), "b": np.ones(1000, "float32")})

    @monitor
    def make(what: Any) -> Any:
        return what

    with chaos(nan=0.1, seed=4):
        spoiled = make(frame)
        assert make([1.0]) == [1.0]
    for name in ("a", "b"):
        assert 50 < spoiled[name].isna().sum() < 150
        assert spoiled[name].dtype == frame[name].dtype
    assert (spoiled["n"] == frame["n"]).all()
    assert not frame.isna().any().any()


def test_torch_tensors_are_spoiled() -> None:
    torch = pytest.importorskip("torch")

    @monitor
    def make() -> Any:
        return torch.ones(10, 100)

    with chaos(nan=0.1, seed=4):
        assert 50 < int(torch.isnan(make()).sum()) < 150


def test_cached_results_and_refused_input_stay_what_they_were() -> None:
    """Chaos spoils the function, not what stands around it."""
    calls = []

    @validate_input(x=int)
    @cache_result(ttl=None)
    def square(x: int) -> int:
        calls.append(x)
        return x * x

    assert square(3) == 9
    with chaos(fail=1.0):
        assert square(3) == 9
        with pytest.raises(InputRejected):
            square("3")  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            square(4)
    assert square(4) == 16
    assert calls == [3, 4]


def test_chaos_refuses_production_a_second_chaos_and_impossible_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    with chaos(fail=0.1), pytest.raises(PolicyError, match="already"), chaos():
        pass
    with pytest.raises(PolicyError, match="share"), chaos(fail=20):
        pass
    with pytest.raises(PolicyError, match="share"), chaos(oom="0.1"):  # type: ignore[arg-type]
        pass
    with pytest.raises(PolicyError, match="exception class"), chaos(error=OSError("x")):  # type: ignore[arg-type]
        pass
    with pytest.raises(PolicyError, match="slow"), chaos(slow=-1.0):
        pass
    assert current_chaos() is None
    monkeypatch.setenv("MLGUARD_ENV", "production")
    with pytest.raises(PolicyError, match="production"), chaos(fail=0.1):
        pass
    assert current_chaos() is None
