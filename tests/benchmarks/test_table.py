"""The table of figures says what it should, and every peer that `make bench` installs has a row."""

from __future__ import annotations

import importlib
import itertools
import sys
import time
from pathlib import Path

import pytest

from benchmarks import measure, runtime
from benchmarks.table import Row, as_text, draw, times

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]


def test_a_row_shows_ours_its_ratio_the_budget_and_each_peer_the_fastest_first() -> None:
    row = Row("retry", 80.0, 40.0, {"slow": 8000.0, "quick": 800.0}, budget_ratio=4.0)

    assert " ".join(as_text([row]).splitlines()[1].split()) == (
        "retry 80 ns 2.0x 4.0x quick 800 ns (10.0x), slow 8 µs (100x)"
    )


def test_a_row_over_its_budget_says_so_by_the_machine_s_own_base() -> None:
    assert not Row("a", 119.0, 30.0, budget_ratio=4.0).is_over
    assert Row("a", 121.0, 30.0, budget_ratio=4.0).is_over
    assert Row("import", 61e6, 8e6, budget=60e6).is_over
    assert not Row("no budget", 61e6, 8e6).is_over
    assert "OVER" in as_text([Row("a", 121.0, 30.0, budget_ratio=4.0)])


def test_ratios_keep_one_place_until_they_are_large() -> None:
    assert [times(1.04), times(57.66), times(29789.1)] == ["1.0x", "57.7x", "29,789x"]


def test_the_picture_is_written_for_rows_with_and_without_peers(tmp_path: Path) -> None:
    draw([Row("a", 80.0, 40.0, {"peer": 800.0}, budget_ratio=4.0), Row("b", 90.0, 40.0)], tmp_path / "rows.png")

    assert (tmp_path / "rows.png").read_bytes().startswith(b"\x89PNG")


def test_every_peer_that_make_bench_installs_is_measured() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    guards = "".join(path.read_text() for path in (ROOT / "benchmarks" / "guards").glob("*.py"))
    others = "".join(path.read_text() for path in (ROOT / "benchmarks").glob("*.py"))

    def is_measured(peer: str) -> bool:
        return f'has("{peer}"' in guards or f'"{peer}")' in guards or f'{peer}", "' in others  # a call, or a command

    assert [peer for peer in groups["bench"] if not is_measured(peer)] == []


def test_each_group_of_rows_has_a_file_and_is_measured_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.stem for path in (ROOT / "benchmarks" / "guards").glob("*.py")} - {"__init__", "bare"}
    assert files == set(runtime.GROUPS)
    assert all(callable(importlib.import_module(f"benchmarks.guards.{group}").rows) for group in runtime.GROUPS)

    monkeypatch.setattr(runtime, "GROUPS", ("memory",))
    guarded, tick = runtime.rows()

    assert (guarded.path, tick.path) == ("memory_guard, no pressure", "one tick of the memory sampler")
    assert set(guarded.peers) == {"psutil.virtual_memory()"}
    assert 0 < guarded.base < guarded.ours < guarded.peers["psutil.virtual_memory()"]


def test_a_slow_first_call_does_not_make_the_others_look_slow() -> None:
    """The first call imports and starts threads; a turn still holds as many calls as fit into its time."""
    calls = itertools.count()

    def call() -> None:
        if next(calls) == 0:
            time.sleep(0.05)

    measure.side_by_side({"": call}, repeat=2, seconds=0.002)

    assert next(calls) > 100
