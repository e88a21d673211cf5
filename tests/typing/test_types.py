"""The types of the decorators hold under mypy and pyright: the programs beside this file check without a word."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PROGRAMS = sorted((HERE / "programs").glob("*.py"))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed; `make test` installs it")
def test_mypy_agrees_with_every_assertion_and_refuses_what_it_should() -> None:
    """Strict mode reports an ignore that is not needed, so each marked line is proven to be an error."""
    done = run("mypy", "--config-file", "pyproject.toml", *map(str, PROGRAMS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"no issues found in {len(PROGRAMS)} source files" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed; `make test` does it")
def test_pyright_agrees_with_every_assertion_and_refuses_what_it_should() -> None:
    done = run("pyright", "--project", str(HERE / "pyrightconfig.json"), "--pythonpath", sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed; `make test` installs it")
def test_a_wrong_assertion_would_be_noticed(tmp_path: Path) -> None:
    """The planted mistake: were a decorator typed as Any, both programs would pass and prove nothing."""
    program = tmp_path / "planted.py"
    program.write_text(
        "from typing_extensions import assert_type\nfrom mlguard_nb import retry\n"
        "@retry\ndef f(x: int) -> str:\n    return str(x)\nassert_type(f(1), int)\n"
    )
    done = run("mypy", "--config-file", "pyproject.toml", str(program))
    assert 'Expression is of type "str", not "int"' in done.stdout
