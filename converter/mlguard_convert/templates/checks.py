"""The tests of an exported package: importing runs nothing, running gives what the notebook gave."""

from __future__ import annotations

from pathlib import PurePosixPath

from mlguard_convert.package import Package
from mlguard_convert.verify import STAND_IN

__all__ = ["data_folder", "recorded_path", "test_module", "test_path"]


def test_path(part: Package) -> str:
    """Where the tests of one notebook's package lie."""
    return f"tests/test_{part.name.rpartition('.')[2]}.py"


def recorded_path(part: Package) -> str:
    """Where its recorded values lie."""
    _, dot, last = part.name.rpartition(".")
    return f"tests/recorded_{last}.json" if dot else "tests/recorded.json"


def data_folder(package: Package) -> str:
    """Where the packed data lies: "tests" when the notebook reads below `data/` only, else "tests/data"."""
    below = all(PurePosixPath(path).parts[0] == "data" for path, _ in package.data)
    return "tests" if below and package.data else "tests/data"


def test_module(package: Package, whole: Package) -> str:
    """tests/test_PACKAGE.py, for the one notebook of `whole` whose package is `package`.

    The run works on a copy of the data, so what it writes stays out of the package.
    """
    recorded = package.recorded is not None
    call = "asyncio.run(run(base_dir=tmp_path))" if package.is_async else "run(base_dir=tmp_path)"
    copy = 'shutil.copytree(HERE / "data", tmp_path, dirs_exist_ok=True)'
    if data_folder(whole) == "tests":
        copy = 'shutil.copytree(HERE / "data", tmp_path / "data")'
    needed = [name for name, is_needed in package.secrets.items() if is_needed]
    given = "tmp_path: Path, monkeypatch: pytest.MonkeyPatch" if needed else "tmp_path: Path"
    lines = ['"""The package does what the notebook did."""', ""]
    lines += ["import asyncio"] if package.is_async else []
    lines += ["import os"] if needed else []
    lines += ["import shutil"] if whole.data else []
    lines += ["import subprocess", "import sys", "from pathlib import Path"]
    lines += [""] if needed or recorded else []
    lines += ["import pytest"] if needed else []
    lines += ["from mlguard_nb.testing import assert_recorded"] if recorded else []
    lines += ["", f"from {package.name} import {'run' if recorded else 'Results, run'}"]
    lines += ["", "HERE = Path(__file__).parent", "", "", *_import_test(package), "", ""]
    if recorded:
        lines += [f"def test_run_reproduces_the_notebook({given}) -> None:"]
        lines += ['    """Every name the notebook ended with has the recorded value."""']
    else:
        lines += [f"def test_run_gives_every_result({given}) -> None:"]
        lines += [
            '    """The notebook was not run at export: its values are not recorded, only their names are known."""'
        ]
    lines += [f"    {copy}"] if whole.data else []
    lines += [f'    monkeypatch.setenv("{name}", os.environ.get("{name}") or "{STAND_IN}")' for name in needed]
    lines += [f'    assert_recorded({call}, HERE / "{recorded_path(package)[6:]}")'] if recorded else []
    lines += [] if recorded else [f"    assert set({call}) == set(Results.__annotations__)"]
    if not recorded and not whole.data:
        lines.remove("HERE = Path(__file__).parent")
    return "\n".join(lines) + "\n"


def _import_test(package: Package) -> list[str]:
    return [
        "def test_import_runs_nothing(tmp_path: Path) -> None:",
        '    """Importing prints nothing and writes nothing."""',
        f'    command = [sys.executable, "-c", "import {package.name}.__main__"]',
        "    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)",
        '    assert done.stdout == done.stderr == ""',
        "    assert not list(tmp_path.iterdir())",
    ]
