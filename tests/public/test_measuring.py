"""The table of public notebooks counts what it says it counts; no network and no peer is needed for these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.package.notebooks import write_notebook
from tests.public.__main__ import main, table
from tests.public.measuring import measure, runs_on_import
from tests.public.sources import notebooks
from tests.public.tools import OURS


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ("import a\n\nX = 3\n\n\ndef f():\n    return a.b()\n\n\nif __name__ == '__main__':\n    f()\n", False),
        ("try:\n    import a\nexcept ImportError:\n    a = None\n", False),
        ("import marimo\n\napp = marimo.App()\n", False),
        ("import logging\n\nlog = logging.getLogger(__name__)\n", False),
        ("import a\n\nx = a.load()\n", True),
        ("print('x')\n", True),
        ("for i in []:\n    pass\n", True),
        ("try:\n    import a\n    a.start()\nexcept ImportError:\n    pass\n", True),
    ],
)
def test_a_module_that_only_defines_runs_nothing(source: str, runs: bool) -> None:
    assert runs_on_import(source) is runs


def test_one_notebook_is_converted_run_and_compared(tmp_path: Path) -> None:
    """Ours alone: every column holds for a notebook that runs; one that cannot be read is refused in a line."""
    good = write_notebook(tmp_path / "good.ipynb", "import math", "total = math.sqrt(16)\nrows = [total]")
    found = measure(good, [OURS], run=True)
    assert found["runs"] == ""
    assert found["tools"][OURS] == {
        "parses": True, "ruff": True, "imports": True, "runs": True, "equal": True, "names": 2,
    }  # fmt: skip
    bad = write_notebook(tmp_path / "bad.ipynb", "y = = 2")
    refused = measure(bad, [OURS], run=True)
    assert refused["tools"][OURS]["refused"].count("\n") == 0
    other = write_notebook(
        tmp_path / "other.ipynb", "1", language_info={"name": "R"}, kernelspec={"name": "ir", "language": "R"}
    )
    lines = table([found, refused, measure(other, [OURS], run=False)], [OURS]).splitlines()
    assert lines[-1].split(" | ")[1:] == [
        "1 of 2 (50 %)", "1", "1 of 2 (50 %)", "1 of 2 (50 %)", "1 of 2 (50 %)", "1 of 1 (100 %)", "1 of 1 (100 %) |",
    ]  # fmt: skip


def test_a_notebook_whose_library_is_not_here_is_not_held_against_anyone(tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "n.ipynb", "import nowhere_to_be_found\nx = nowhere_to_be_found.y()")
    found = measure(path, [OURS], run=True)
    assert found["lacks"] == ["nowhere_to_be_found"]
    row: dict[str, Any] = found["tools"][OURS]
    assert "imports" not in row
    assert "runs" not in row


def test_copies_of_a_notebook_count_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_notebook(tmp_path / f"{name}.ipynb", "1")
    write_notebook(tmp_path / "c.ipynb", "2")
    assert [path.name for path in notebooks([tmp_path])] == ["a.ipynb", "c.ipynb"]


def test_a_run_that_was_stopped_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the file of rows holds is not measured again, and a line that was cut off is."""
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # main sets it; the fixture takes it back
    first, second = (write_notebook(tmp_path / f"{name}.ipynb", name) for name in ("1", "2"))
    rows = tmp_path / "rows.jsonl"
    kept = {"notebook": str(first), "runs": None, "lacks": [], "tools": {OURS: {"refused": "kept from before"}}}
    rows.write_text(json.dumps(kept) + "\n" + json.dumps({"notebook": str(second)})[:-9], encoding="utf-8")

    assert main([str(tmp_path), "--no-peers", "--no-run", "--json", str(rows)]) == 0

    found = [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()]
    assert found[0] == kept
    assert [row["notebook"] for row in found] == [str(first), str(second)]
    assert found[1]["tools"][OURS]["parses"]
    assert "1 of 2 (50 %)" in capsys.readouterr().out
