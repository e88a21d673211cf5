"""A replay sees every name that the steps end with, and the files they read, without touching the package's code."""

from __future__ import annotations

import pickle
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlguard_nb.pipeline import step
from mlguard_nb.pipeline.replaying import files_read, main
from mlguard_nb.pipeline.stepping import Step
from mlguard_nb.pipeline.watching import _WATCHED_EVENTS, step_locals

if TYPE_CHECKING:
    import pytest


def inner(start: int) -> int:
    hidden = start + 1
    return hidden * 2


@step(cell=1, outputs=("total",))
def add(first: int) -> int:
    for item in [first, 2]:
        last = item
    total = inner(last)
    return total  # noqa: RET504


@step(cell=2, outputs=("hears",))
def busy(calls: int) -> None:
    """It ends without a `return`, which those inside of it are not."""

    def done(start: int) -> int:
        return inner(start)

    for start in range(calls):
        done(start)
    hears = sys.getprofile()  # noqa: F841


INNER = Step("inner", (), ("return",))
WATCHED = [(add.__wrapped__, add.__mlguard_step__)]  # type: ignore[attr-defined]


def test_the_names_of_a_step_are_seen_and_nobody_elses() -> None:
    """Also its loop variable and its arguments; functions that it calls keep theirs."""
    types: dict[str, type | None] = {}
    with step_locals(WATCHED, types) as seen:
        assert add(1) == 6
    assert types == {"add(first)": int, "add.total": int}
    assert {name: seen[name] for name in ("first", "item", "last", "total")} == {
        "first": 1, "item": 2, "last": 2, "total": 6,
    }  # fmt: skip
    assert "hidden" not in seen
    seen.clear()
    add(5)
    assert seen == {}, "nothing is watched after the block"


def test_calls_below_a_step_are_heard_of_for_a_moment_only() -> None:
    """Hearing of every call takes three times as long on Python 3.11; the names at the end are seen all the same."""
    types: dict[str, type | None] = {}
    with step_locals([(busy.__wrapped__, busy.__mlguard_step__), (inner, INNER)], types) as seen:  # type: ignore[attr-defined]
        assert busy(_WATCHED_EVENTS) is None
    assert seen["hears"] is None
    assert types == {"busy(calls)": int, "busy.hears": type(None), "inner(start)": int, "inner.return": int}
    assert sys.getprofile() is None


def test_the_last_step_to_bind_a_name_wins() -> None:
    with step_locals(WATCHED) as seen:
        add(1)
        add(7)
    assert seen["first"] == 7


def test_types_are_the_widest_seen_and_none_once_they_differ() -> None:
    """int then bool is int, int then float is float only where one is a kind of the other."""
    types: dict[str, type | None] = {}
    with step_locals(WATCHED, types):
        add(True)
        add(1)
    assert types["add(first)"] is int
    with step_locals(WATCHED, types):
        add(1.5)  # type: ignore[arg-type]
    assert types["add(first)"] is None


def test_files_that_were_there_and_are_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those that the run writes itself, and not those of other folders."""
    base = tmp_path / "base"
    (base / "data").mkdir(parents=True)
    (base / "data" / "rows.txt").write_text("1")
    (base / "old.txt").write_text("old")
    (tmp_path / "outside.txt").write_text("x")
    monkeypatch.chdir(base)
    with files_read(str(base)) as found:
        Path("data/rows.txt").read_text()
        Path("old.txt").write_text("new")
        Path("made.txt").write_text("made")
        Path("made.txt").read_text()
        (tmp_path / "outside.txt").read_text()
    Path("old.txt").read_text()
    assert found == {"data/rows.txt"}


def test_a_replay_writes_plain_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it writes loads where the package is not installed: nothing in it refers to the package's classes."""
    package = tmp_path / "src" / "replayed"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from replayed.steps import run\n")
    (package / "steps.py").write_text(
        textwrap.dedent(
            """
            from mlguard_nb.pipeline import step

            LIMIT = 9

            class Point:
                def __init__(self, x):
                    self.x = x

            @step(cell=1, outputs=("point",))
            def make():
                helper = 4
                return Point(helper)

            async def run(base_dir=None):
                return {"point": make()}
            """
        )
    )
    monkeypatch.syspath_prepend(str(package.parent))
    out = tmp_path / "out.pickle"
    assert main(["replayed", "--out", str(out)]) == 0
    for name in [name for name in sys.modules if name.startswith("replayed")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(package.parent)])
    found: dict[str, Any] = pickle.loads(out.read_bytes())
    assert found["results"]["point"]["type"] == "Point"
    assert found["results"]["point"]["fields"]["x"] == {"type": "int", "value": 4}
    assert found["locals"]["helper"]["value"] == 4
    assert found["locals"]["LIMIT"]["value"] == 9
