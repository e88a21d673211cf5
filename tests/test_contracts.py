"""The import contracts hold, and each of them catches a planted breach."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# contract (a piece of its name) -> (file to append to, the import that must not be)
BREACHES = {
    "everything imports downwards": ("mlguard_nb/devices/readings.py", "import mlguard_nb.runtime.backoff"),
    "reached as a subprocess": ("mlguard_nb/notebook/extension.py", "def late():\n    import mlguard_convert.cli"),
    "without Jupyter and libcst": ("mlguard_nb/pipeline/stepping.py", "def late():\n    import IPython"),
    "NVIDIA driver": ("mlguard_nb/notebook/extension.py", "def late():\n    import pynvml"),
    "five guards": ("mlguard_nb/runtime/retrying.py", "import mlguard_nb.runtime.caching"),
}


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("import-linter is not installed here; `make test` installs it")
    paths = {"PYTHONPATH": f"{folder}:{folder / 'converter'}", "PATH": "", "COLUMNS": "300"}
    return subprocess.run([str(lint), "--no-cache"], cwd=folder, env=paths, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in ("mlguard_nb", "converter"):
        ignore = shutil.ignore_patterns("__pycache__", "labextension")
        shutil.copytree(ROOT / package, folder / package, ignore=ignore)
    return folder


def test_every_contract_holds(copy: Path) -> None:
    done = check(copy)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("contract", BREACHES)
def test_a_planted_breach_is_caught(contract: str, copy: Path) -> None:
    name, breach = BREACHES[contract]
    file = copy / name
    text = file.read_text()
    try:
        file.write_text(f"{text}\n\n{breach}\n")
        done = check(copy)
    finally:
        file.write_text(text)
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert done.returncode != 0
    assert any(contract in line for line in broken), done.stdout
