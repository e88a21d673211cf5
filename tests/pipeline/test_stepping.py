"""A step reports itself, keeps what its function returns and raises, and closes its figures."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlguard_nb import clock
from mlguard_nb.errors import PolicyError
from mlguard_nb.pipeline import StepFinished, StepStarted, save_figures, step, watch
from mlguard_nb.pipeline.stepping import cell_numbers


class SteppedClock(clock.SystemClock):
    """A clock that moves by two seconds each time it is read."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        self.time += 2.0
        return self.time


@pytest.fixture
def stepped() -> Iterator[None]:
    before = clock.install(SteppedClock())
    yield
    clock.install(before)


def test_a_step_keeps_name_signature_and_value() -> None:
    """To a caller and to a type checker the decorated function is the function."""

    @step(cell=5, outputs=("a", "b"))
    def split(x: int, *, y: int = 2) -> tuple[int, int]:
        """Split."""
        return x, y

    assert split(1) == (1, 2)
    assert str(inspect.signature(split)) == "(x: 'int', *, y: 'int' = 2) -> 'tuple[int, int]'"
    assert (split.__name__, split.__doc__) == ("split", "Split.")
    facts = split.__mlguard_step__  # type: ignore[attr-defined]
    assert (facts.name, facts.cells, facts.outputs) == ("split", (5,), ("a", "b"))


@pytest.mark.usefixtures("stepped")
def test_a_step_reports_its_start_and_its_time() -> None:
    """Whoever watches hears of both ends, with the cells and the seconds."""
    heard: list[Any] = []

    @step(cell="7-9")
    def train() -> None: ...

    with watch(heard.append):
        train()
    train()
    assert heard == [StepStarted("train", (7, 8, 9)), StepFinished("train", (7, 8, 9), 2.0)]


def test_what_a_step_raises_passes_through_and_is_reported() -> None:
    """The error is the function's own object."""
    heard: list[Any] = []
    error = ValueError("no")

    @step
    def fail() -> None:
        raise error

    with watch(heard.append), pytest.raises(ValueError) as caught:
        fail()
    assert caught.value is error
    assert heard[-1].error == "ValueError"


def test_a_watcher_that_fails_does_not_fail_the_run() -> None:
    """It is logged, and the value comes back."""

    def broken(_: object) -> None:
        raise RuntimeError("display is gone")

    @step
    def value() -> int:
        return 3

    with watch(broken):
        assert value() == 3


def test_an_async_step_is_awaited_inside_its_report() -> None:
    """Top-level await makes async steps; their end is the end of the coroutine."""
    heard: list[Any] = []

    @step(cell=2)
    async def fetch() -> int:
        await asyncio.sleep(0)
        heard.append("body")
        return 4

    with watch(heard.append):
        assert asyncio.run(fetch()) == 4  # type: ignore[arg-type]
    assert [type(one).__name__ for one in heard] == ["StepStarted", "str", "StepFinished"]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(5, (5,)), ("5", (5,)), ("7-9", (7, 8, 9)), ("3, 7-8", (3, 7, 8)), ((4, 6), (4, 6)), (None, ())],
)
def test_cells_are_numbers(text: Any, numbers: tuple[int, ...]) -> None:
    assert cell_numbers(text) == numbers


def test_cells_that_are_none_are_refused() -> None:
    with pytest.raises(PolicyError, match="not a range of cells"):
        step(cell="first")
    with pytest.raises(PolicyError, match="not both"):
        step(cell=1, cells=(1, 2))


def test_figures_of_a_step_are_saved_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`save_figures` writes what plt.show() showed; a figure left open at the end is saved under the step's name."""
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    plt.close("all")
    before = plt.figure()

    @step
    def plot() -> None:
        plt.figure()
        plt.plot([1, 2])
        assert save_figures("lines") == [Path("figures/lines.png")]
        plt.figure()
        plt.plot([2, 1])
        save_figures("lines")
        plt.figure()
        plt.hist([1, 1, 2])

    plot()
    assert sorted(path.name for path in tmp_path.glob("figures/*")) == ["lines-2.png", "lines.png", "plot.png"]
    assert plt.get_fignums() == [before.number]
    plt.close("all")


def test_figures_are_closed_when_the_step_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed step leaves no figure for the next one to draw on."""
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    plt.close("all")

    @step
    def plot() -> None:
        plt.plot([1, 2])
        raise ValueError

    with pytest.raises(ValueError):
        plot()
    assert plt.get_fignums() == []
    assert not list(tmp_path.iterdir())


def test_the_pipeline_is_light() -> None:
    """What an exported package imports first loads neither numpy, pydantic, matplotlib nor anything of Jupyter."""
    code = (
        "import sys\nfrom mlguard_nb.pipeline import command_line, save_figures, shell, step, working_directory\n"
        "heavy = {'numpy', 'pandas', 'pydantic', 'matplotlib', 'IPython', 'libcst', 'psutil', 'pynvml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
