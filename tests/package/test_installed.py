"""A package installs into a fresh environment with only the runtime below it: its command runs, its tests pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mlguard_convert.package_writer import package_files, place, staged
from mlguard_nb.pipeline.portable import portable
from mlguard_nb.pipeline.recording import recorded_text
from tests.package.notebooks import PACKAGE
from tests.packaging.conftest import Environment

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(600)]


def test_a_package_runs_where_only_the_runtime_is(
    runtime_wheel: Path, environment: Callable[[str], Environment], tmp_path: Path
) -> None:
    """`tally run`, `python -m tally run`, saved results, JSON logs, and its own tests on the data it carries."""
    data = tmp_path / "rows.txt"
    data.write_text("1 2 4")
    recorded = recorded_text({"rows": portable([1, 2, 4]), "total": portable(21)}, notebook="tally.ipynb")
    files = package_files(replace(PACKAGE, data=(("rows.txt", data),), recorded=recorded))
    with staged(files, tmp_path / "tally", "tally.ipynb") as folder:
        package = place(folder, tmp_path / "tally", {}).folder
    venv = environment("venv")
    venv.install(str(runtime_wheel), f"{package}[test]")
    assert venv.run("-c", "import IPython", check=False).returncode != 0
    work = tmp_path / "work"
    work.mkdir()
    (work / "rows.txt").write_text("5 5")
    done = venv.script("tally", "run", "--base-dir", str(work), "--save", str(tmp_path / "out"), "--json-logs")
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events[-1] == "run_finished"
    assert events.count("step_finished") == 2
    assert json.loads((tmp_path / "out" / "total.json").read_text()) == 30
    assert "done: 2 steps" in venv.run("-m", "tally", "run", "--base-dir", str(work)).stdout
    assert "2 passed" in venv.run("-m", "pytest", "-q", str(package)).stdout
