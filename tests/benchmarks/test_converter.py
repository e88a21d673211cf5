"""The notebooks that the converter is timed with are what they say, and cost no more than in proportion."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import converter
from mlguard_convert.plan import make_plan
from mlguard_convert.reader import read_notebook


def test_a_timed_notebook_has_so_many_cells_and_becomes_steps(tmp_path: Path) -> None:
    path = converter.notebook_of(100, tmp_path / "n.ipynb")
    cells = json.loads(path.read_text())["cells"]
    assert sum(cell["cell_type"] == "code" for cell in cells) == 100
    plan = make_plan(read_notebook(path))
    assert len(plan.steps) >= 10
    assert "value_99" in plan.results


def test_a_command_that_fails_has_no_figure(tmp_path: Path) -> None:
    """It is shown as not done, never as fast."""
    failing = [converter.sys.executable, "-c", "raise SystemExit(1)"]
    assert converter._spoken(converter._seconds(failing, tmp_path / "n.ipynb", tmp_path / "out")) == "not done"
    working = [converter.sys.executable, "-c", "pass"]
    assert converter._spoken(converter._seconds(working, tmp_path / "n.ipynb", tmp_path / "out")).endswith(" s")
