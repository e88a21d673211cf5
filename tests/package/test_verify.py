"""Notebook and package are both run, and every final value is compared by name."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlguard_convert.package_writer import package_files
from mlguard_convert.verify import verify
from tests.package.notebooks import PACKAGE, SOURCES, write_notebook

pytestmark = pytest.mark.kernel

CELLS = (
    "RATE = 3",
    "from pathlib import Path\nrows = [int(line) for line in Path('rows.txt').read_text().split()]",
    "for row in rows:\n    last = row\ntotal = sum(rows) * RATE",
)


def lay_out(folder: Path, *cells: str, steps: str | None = None) -> tuple[Path, Path]:
    """The notebook with its data, and the package; `steps` replaces its steps."""
    path = write_notebook(folder / "work" / "tally.ipynb", *cells)
    (path.parent / "rows.txt").write_text("1 2 4")
    modules = {**SOURCES, "src/tally/steps.py": steps or SOURCES["src/tally/steps.py"]}
    for name, data in package_files(replace(PACKAGE, modules=modules)).items():
        file = folder / "tally" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return path, folder / "tally"


def test_equal_values_are_found_in_results_steps_and_constants(tmp_path: Path) -> None:
    """`total` is returned, `last` is a local of a step, `RATE` a constant of a module; modules are not values."""
    path, package = lay_out(tmp_path, *CELLS)
    told: list[str] = []
    found = verify(path, package, progress=lambda text, done, of: told.append(text))
    assert found.error is None
    assert {row.name: row.equal for row in found.rows} == dict.fromkeys(("RATE", "rows", "row", "last", "total"), True)
    assert found.ok
    assert found.sentence() == "5 of 5 final values are equal"
    assert told[0] == "running the notebook"
    assert found.values["total"]["value"] == 21


def test_a_kernel_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    """The export says so, and nothing else when its process ends."""
    path, _ = lay_out(tmp_path, *CELLS)
    (tmp_path / "ipykernel_launcher.py").write_text("raise SystemExit(1)")
    command = [sys.executable, "-m", "mlguard_convert", "export", str(path), "--verify", "--output", "out"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "not compared: the notebook's kernel does not start: Kernel died" in done.stdout
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


def test_differing_missing_and_unstable_names_are_told_apart(tmp_path: Path) -> None:
    """A wrong value differs, a lost name is missing, a name that no two runs agree on counts neither way."""
    steps = SOURCES["src/tally/steps.py"].replace("* 3", "* 4").replace("last = row", "token = id(row)")
    unstable = "import uuid\ntoken = uuid.uuid4().hex\n"
    path, package = lay_out(tmp_path, *CELLS[:2], unstable + CELLS[2], steps=steps)
    found = verify(path, package)
    rows = {row.name: row for row in found.rows}
    assert rows["total"].equal is False
    assert rows["total"].detail == "21, then 28"
    assert (rows["last"].equal, rows["last"].how) == (False, "missing")
    assert (rows["token"].equal, rows["token"].how) == (None, "unstable")
    assert found.unstable == ("token",)
    assert not found.ok
    assert found.sentence() == "3 of 6 final values are equal, 2 differ, 1 is not compared"
    assert [row.equal for row in found.rows] == [False, False, None, True, True, True], "what differs comes first"


def test_what_only_showing_it_changes_is_equal_until_then(tmp_path: Path) -> None:
    """A canvas keeps what was drawn when a last line shows it, a chain its limit when a line asks for that; a package
    shows nothing, and its values are those before.
    """
    canvas = "class Canvas:\n    drawn = 0\n    def _repr_html_(self):\n        self.drawn += 1\n        return '<b>'\n"
    canvas += "    @property\n    def limit(self):\n        self.kept = 1\n        return self.kept\n"
    steps = SOURCES["src/tally/steps.py"].replace("@step", f"{canvas}\n\n@step", 1)
    steps = steps.replace(
        "last = row", "last, canvas, chain, lost = row, Canvas(), [Canvas()], Canvas()\n    lost.name = 1"
    )
    made = f"{canvas}canvas, chain, lost = Canvas(), [Canvas()], Canvas()\ncanvas"
    path, package = lay_out(tmp_path, *CELLS, made, "chain[0].limit, 1", "lost", steps=steps)
    told: list[str] = []
    found = verify(path, package, progress=lambda text, done, of: told.append(text))
    rows = {row.name: row for row in found.rows}
    assert "running the notebook without its displays" in told
    assert (rows["canvas"].equal, rows["canvas"].how) == (True, "unshown")
    assert (rows["chain"].equal, rows["chain"].how) == (True, "unshown")
    assert rows["lost"].equal is False, "another difference stays one"
    assert found.values["canvas"]["fields"] == {}, "the package's test looks for the value before it was shown"
    assert found.values["lost"]["fields"].keys() == {"drawn"}


def test_time_and_memory_of_both_runs_are_told(tmp_path: Path) -> None:
    """Of the kernel as of the package's process: what a cell frees again counts, and is nobody's fault."""
    spike = "held = bytearray(300 * 2**20)\ndel held"
    path, package = lay_out(tmp_path, spike, *CELLS)
    found = verify(path, package)
    assert found.ok
    assert found.notebook_seconds > 0 < found.package_seconds
    if found.notebook_peak_bytes is None or found.package_peak_bytes is None:
        assert not Path("/proc/self/status").exists()
        return
    assert found.notebook_peak_bytes > 300 * 2**20 > found.package_peak_bytes > 2**20
    assert re.fullmatch(r"the notebook took \d+\.\d s and \d+ MiB, the package \d+\.\d s and \d+ MiB", found.costs())


def test_what_a_star_import_brings_is_no_value_until_a_cell_binds_it(tmp_path: Path) -> None:
    """`from math import *` leaves fifty names in the notebook; `tau` bound anew is the notebook's own."""
    path, package = lay_out(tmp_path, "from math import *\ntau = 6", *CELLS)
    rows = {row.name: row.equal for row in verify(path, package).rows}
    assert "pi" not in rows
    assert rows["tau"] is False


def test_neither_run_touches_the_folder_of_the_notebook(tmp_path: Path) -> None:
    """Both work on copies: a notebook that refuses to overwrite its own file runs every time."""
    writes = "from pathlib import Path\nassert not Path('out.txt').exists()\nPath('out.txt').write_text('x')\ndel Path"
    steps = SOURCES["src/tally/steps.py"].replace(
        '    lines =', '    assert not Path("out.txt").exists()\n    Path("out.txt").write_text("x")\n    lines ='
    )  # fmt: skip
    path, package = lay_out(tmp_path, CELLS[0], writes, *CELLS[1:], steps=steps)
    assert verify(path, package).ok
    assert sorted(os.listdir(path.parent)) == ["rows.txt", "tally.ipynb"]


def test_a_notebook_that_fails_is_named_by_cell(tmp_path: Path) -> None:
    path, package = lay_out(tmp_path, "x = 1", "1 / 0", "y = 2")
    found = verify(path, package)
    assert found.error == "cell 2 of the notebook fails: ZeroDivisionError: division by zero"
    assert not found.ok
    assert verify(path, package, skip={2}).error is None


def test_a_package_that_fails_is_named_by_file_and_line(tmp_path: Path) -> None:
    steps = SOURCES["src/tally/steps.py"].replace("rows.txt", "gone.txt")
    path, package = lay_out(tmp_path, *CELLS, steps=steps)
    error = verify(path, package).error
    assert error is not None
    assert error.startswith("the package fails: FileNotFoundError")
    assert "tally/steps.py, line 13, in load" in error


def test_no_kernel_is_left_behind(tmp_path: Path) -> None:
    """Neither after a run to the end nor after a failing cell: a kernel keeps everything that the notebook loaded."""
    import psutil

    before = {one.pid for one in psutil.Process().children(recursive=True)}
    path, package = lay_out(tmp_path, *CELLS)
    assert verify(path, package).ok
    failing, package = lay_out(tmp_path / "again", "1 / 0")
    assert verify(failing, package).error is not None
    left = [one for one in psutil.Process().children(recursive=True) if one.pid not in before]
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []


def test_a_package_that_does_not_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit for cells the package has one too, and nobody waits for input that never comes."""
    monkeypatch.setattr("mlguard_convert.verify._STARTING_SECONDS", 1)
    steps = SOURCES["src/tally/steps.py"] + "\n\nwhile True:\n    pass\n"
    path, package = lay_out(tmp_path, "RATE = 3", steps=steps)
    found = verify(path, package, timeout=1)
    assert found.error is not None
    assert found.error.startswith("the package runs longer than ")
