"""The same `run()` on a real local Ray cluster of two workers gives the same values, whoever dies on the way."""

from __future__ import annotations

import importlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlguard_nb import memory_guard, retry
from mlguard_nb.errors import PolicyError
from mlguard_nb.pipeline import EngineFailed, Remark, StepFinished, step, watch
from mlguard_nb.pipeline.engines import using
from mlguard_nb.pipeline.on_ray import RayEngine, connect
from mlguard_nb.pipeline.resources import Request, read_requests, requested
from mlguard_nb.policy import MemoryPolicy
from mlguard_nb.telemetry import bus
from mlguard_nb.telemetry.events import RetryScheduled

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A local cluster of two workers. The steps of this file travel by value: no worker can import the tests."""
    ray = pytest.importorskip("ray", reason="ray is not installed; pip install 'mlguard-nb[ray]'")
    import sys

    connect(ray, num_cpus=2, logging_level="ERROR", log_to_driver=False)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray
    ray.shutdown()


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    told: list[Any] = []
    with watch(told.append):
        yield told


def remarks(heard: list[Any]) -> str:
    return "; ".join(one.text for one in heard if isinstance(one, Remark))


def on_cluster(ray: Any, run: Any, *given: Any, **options: Any) -> dict[str, Any]:
    engine = RayEngine(ray, options.pop("requests", {}), **options)
    with using(engine):
        return engine.gather(run(*given))


@step(cell=1, outputs=("a", "b"))
def make(size: int) -> tuple[Any, list[int]]:
    return np.ones(size), [2]


@step(cell=2, mutates=("a",))
def grow(a: Any, *, by: int) -> None:
    a += by


@step(cell=3, outputs=("total",))
def add(a: Any, b: list[int]) -> float:
    return float(a.sum()) + sum(b)


@step(cell=4, outputs=("count",))
def count(b: list[int]) -> int:
    return len(b)


def branches(size: int = 2) -> dict[str, Any]:
    a, b = make(size)
    grow(a, by=10)
    return {"a": a, "b": b, "total": add(a, b), "count": count(b), "fixed": 5}


def test_the_cluster_gives_what_this_process_gives(ray: Any, heard: list[Any]) -> None:
    """What a step changes in place is handed on to the later steps and to the results."""
    here = branches()
    assert here["total"] == 24
    heard.clear()
    there = on_cluster(ray, branches)
    assert {**there, "a": there["a"].tolist()} == {**here, "a": here["a"].tolist()}
    assert sorted(one.step for one in heard if isinstance(one, StepFinished)) == ["add", "count", "grow", "make"]
    assert "4 steps in 3 rounds, at most 2 at a time" in remarks(heard)


@step(outputs=("next",))
def after(previous: int) -> int:
    return previous + 1


def test_a_chain_says_that_it_is_one(ray: Any, heard: list[Any]) -> None:
    assert on_cluster(ray, lambda: {"x": after(after(after(0)))}) == {"x": 3}
    assert "the 3 steps are a chain" in remarks(heard)


@step(outputs=("rows", "same"), shares=True)
def aliased() -> tuple[list[int], list[int]]:
    rows = [1]
    return rows, rows


@step(mutates=("rows",), shares=True)
def append(rows: list[int]) -> None:
    rows.append(2)


@step(outputs=("seen",))
def look(same: list[int]) -> list[int]:
    return list(same)


def aliases() -> dict[str, Any]:
    rows, same = aliased()
    append(rows)
    return {"rows": rows, "same": same, "seen": look(same)}


def test_steps_that_share_state_keep_their_objects(ray: Any) -> None:
    """Two names of one list stay one list, although a step changes it through one of them."""
    assert on_cluster(ray, aliases) == aliases() == {"rows": [1, 2], "same": [1, 2], "seen": [1, 2]}


@step()
def sneaky(rows: list[int]) -> None:
    rows.append(9)


@step()
def sneaky_array(values: Any) -> None:
    values[0] = 9


@step(outputs=("values",))
def zeros() -> Any:
    return np.zeros(3)


def undeclared() -> dict[str, Any]:
    rows, _same = aliased()
    sneaky(rows)
    values = zeros()
    sneaky_array(values)
    return {"rows": rows, "first": after(0), "values": values}


def test_a_change_nobody_declared_is_found_and_not_lost(ray: Any, heard: list[Any]) -> None:
    """The run is repeated in one process, where every change is seen, as in the notebook."""
    found = on_cluster(ray, undeclared)
    assert (found["rows"], found["first"], found["values"].tolist()) == ([1, 9], 1, [9, 0, 0])
    assert "in place" in remarks(heard)
    assert "repeated with all steps in one process" in remarks(heard)


def test_an_object_of_the_driver_travels_once_and_may_be_changed(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    large = [0] * 1000
    puts: list[Any] = []
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda value: puts.append(value) or put(value))

    def run() -> dict[str, Any]:
        first, second = count(large), count(large)
        append_declared(large)
        return {"n": count(large), "first": first, "second": second, "large": large}

    found = on_cluster(ray, run)
    assert (found["first"], found["second"], found["n"]) == (1000, 1000, 1001)
    assert found["large"][-1] == 2
    assert len(puts) == 1


@step(mutates=("rows",))
def append_declared(rows: list[int]) -> None:
    rows.append(2)


def meet(pids: Path) -> None:
    """Tell the test this process, and wait to be killed; the second process that comes here goes on."""
    try:
        descriptor = os.open(pids / "first", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    os.close(descriptor)
    with (pids / "pid").open("w") as pipe:
        pipe.write(str(os.getpid()))
    with (pids / "never").open() as pipe:  # blocks until somebody writes, and nobody does
        pipe.read()


@step(outputs=("x",))
def dies_once(pids: Path) -> int:
    meet(pids)
    return 1


@step(outputs=("x",), shares=True)
def dies_once_shared(previous: int, pids: Path) -> int:
    meet(pids)
    return previous + 1


@pytest.fixture
def killer(tmp_path: Path) -> Iterator[Path]:
    """A folder for `meet`, and a thread that kills the first process that comes there."""
    os.mkfifo(tmp_path / "pid")
    os.mkfifo(tmp_path / "never")

    def kill() -> None:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    yield tmp_path
    thread.join(timeout=60)
    assert not thread.is_alive(), "no step came to be killed"


def test_a_run_completes_although_a_worker_is_killed(ray: Any, killer: Path, heard: list[Any]) -> None:
    """kill -9 in the middle of a step: Ray starts that step again, the others are not."""
    assert on_cluster(ray, lambda: {"x": after(dies_once(killer)), "y": after(5)}) == {"x": 2, "y": 6}
    assert "repeated" not in remarks(heard)


def test_a_run_completes_although_the_shared_process_is_killed(ray: Any, killer: Path, heard: list[Any]) -> None:
    """Its objects are gone, so the run is repeated from the first step."""

    def run() -> dict[str, Any]:
        return {"x": dies_once_shared(after(0), killer)}

    assert on_cluster(ray, run) == {"x": 2}
    assert "dies_once_shared died" in remarks(heard)


@step()
def always_dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_step_that_kills_every_process_ends_the_run(ray: Any) -> None:
    with pytest.raises(EngineFailed, match=r"always_dies died .*--engine local"):
        on_cluster(ray, lambda: {"x": always_dies()})


@step(cell=7, outputs=("x",))
def broken() -> int:
    raise KeyError("price")


def test_the_users_own_exception_comes_back(ray: Any, heard: list[Any]) -> None:
    """Not a wrapper of the cluster's, and the report names the step."""
    with pytest.raises(KeyError, match="price"):
        on_cluster(ray, lambda: {"x": broken()})
    assert [(one.step, one.error) for one in heard if isinstance(one, StepFinished)] == [("broken", "KeyError")]


@step(outputs=("connection",))
def opens() -> Any:
    import sqlite3

    return sqlite3.connect(":memory:")


@step(outputs=("answer",))
def asks(connection: Any) -> int:
    return int(connection.execute("select 6 * 7").fetchone()[0])


def test_what_cannot_travel_stays_in_one_process(ray: Any, heard: list[Any]) -> None:
    """An open connection goes from cell to cell in a notebook; it cannot go to another process."""
    assert on_cluster(ray, lambda: {"answer": asks(opens())}) == {"answer": 42}
    assert "cannot travel" in remarks(heard)


@step(outputs=("x",))
@retry(attempts=2, wait_initial=0.001, wait_max=0.001)
def flaky(marks: Path) -> str:
    if not (marks / "tried").exists():
        (marks / "tried").touch()
        raise ConnectionError("once")
    return os.getcwd()


def test_guards_run_where_the_step_runs_and_are_heard_here(ray: Any, tmp_path: Path) -> None:
    """The worker stands in the driver's folder, and the driver's listeners hear of the worker's retries."""
    events: list[Any] = []
    stop = bus.subscribe(events.append)
    try:
        assert on_cluster(ray, lambda: {"x": flaky(tmp_path)}) == {"x": os.getcwd()}
    finally:
        stop()
    assert [event.attempt for event in events if isinstance(event, RetryScheduled)] == [1]


@step(outputs=("x",))
async def awaited(previous: int) -> int:
    return previous + 1


def test_an_async_step_runs_there_too(ray: Any) -> None:
    """`await step(...)` in run() gives a promise, like a call."""

    async def run() -> dict[str, Any]:
        return {"x": await awaited(await awaited(0))}

    import asyncio

    engine = RayEngine(ray, {})
    with using(engine):
        results = asyncio.run(run())
    assert engine.gather(results) == {"x": 2}


def test_what_the_machine_lacks_is_said_and_not_waited_for(ray: Any, heard: list[Any]) -> None:
    """A cluster would wait for ever for a GPU that no node has; one's own machine will not get one."""
    asked = {"after": Request(num_gpus=1, num_cpus=1)}
    assert on_cluster(ray, lambda: {"x": after(0)}, requests=asked, is_local=True) == {"x": 1}
    assert "after asks for num_gpus=1; this machine has 0" in remarks(heard)


@pytest.mark.parametrize(("messages", "starts"), [(["The node timed out during startup."], 2), ([], 1)])
def test_a_busy_machine_gets_a_second_chance_to_start_a_node(messages: list[str], starts: int) -> None:
    done: list[str] = []

    def init(**options: Any) -> None:
        done.append("init")
        if messages:
            raise RuntimeError(messages.pop())

    connect(SimpleNamespace(init=init, shutdown=lambda: done.append("shutdown")))
    assert done.count("init") == starts


def test_any_other_failure_to_start_is_the_callers() -> None:
    def init(**options: Any) -> None:
        raise ConnectionError("no cluster at 10.0.0.1:6379")

    with pytest.raises(ConnectionError, match="no cluster"):
        connect(SimpleNamespace(init=init))


def test_need_becomes_a_request_and_a_limit_does_not() -> None:
    """`need=2GB` reserves memory on the cluster; `mem=0.8` is only a guard; the pyproject goes first."""

    def policy(**memory: Any) -> Any:
        return SimpleNamespace(__mlguard__=SimpleNamespace(memory=MemoryPolicy(**memory)))

    assert requested(policy(need=2 * 10**9, ram=None)).as_ray() == {"memory": 2 * 10**9}
    assert requested(policy(need=2 * 10**9, gpu=0.9)).as_ray() == {}, "that is memory of the device"
    assert requested(policy(need=None, ram=0.8)).as_ray() == {}
    assert requested(policy(need=5), Request(memory=7, num_gpus=0.5)).as_ray() == {"num_gpus": 0.5, "memory": 7}


def test_a_named_device_becomes_a_request() -> None:
    """So many that the index is there; a share of whatever device is there asks for none."""

    @memory_guard(gpu=0.9, device=1)
    def second() -> None: ...

    @memory_guard(gpu=0.9, device="GPU-7e0c")
    def one() -> None: ...

    @memory_guard(gpu=0.9)
    def any_of_them() -> None: ...

    assert requested(second).as_ray() == {"num_gpus": 2}
    assert requested(one).as_ray() == {"num_gpus": 1}
    assert requested(any_of_them).as_ray() == {}
    assert requested(second, Request(num_gpus=0.5)).as_ray() == {"num_gpus": 0.5}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the pyproject of a package in a source tree; its name."""
    name = f"tally_{tmp_path.name}"
    home = tmp_path / "src" / name
    home.mkdir(parents=True)
    (home / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "src"))

    def write(text: str) -> str:
        (tmp_path / "pyproject.toml").write_text(f"[tool.mlguard.resources]\n{text}\n")
        return name

    return write


def test_the_pyproject_says_what_a_step_asks_for(package: Any) -> None:
    name = package('train = { num_gpus = 1, memory = "8GB" }')
    assert read_requests(name) == {"train": Request(num_gpus=1, memory=8 * 10**9)}


def test_a_notebook_among_several_asks_under_its_own_name(package: Any) -> None:
    """The package's table holds every notebook's steps; an installed package carries it inside."""
    name = package('train = { num_gpus = 1 }\n"costs.train" = { num_cpus = 2 }')
    home = Path(importlib.import_module(name).__file__ or "").parent
    (home / "costs").mkdir()
    (home / "costs/__init__.py").touch()
    assert read_requests(f"{name}.costs") == {"train": Request(num_cpus=2)}
    (home / "pyproject.toml").write_text("[tool.mlguard.resources]\ntrain = { num_gpus = 3 }\n")
    assert read_requests(name) == {"train": Request(num_gpus=3)}
    assert read_requests(f"{name}.costs") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train = 1", r"resources\.train: write a table"),
        ("train = { gpus = 1 }", r"'gpus' is not known; there are num_cpus, num_gpus and memory"),
        ("train = { num_gpus = -1 }", "num_gpus must be a number of at least 0, got -1"),
        ("train = { memory = 8 }", "memory: 8 has no unit: write 8GB"),
        ("train = {", "pyproject.toml: "),
    ],
)
def test_a_request_that_cannot_be_read_is_named(package: Any, text: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        read_requests(package(text))
