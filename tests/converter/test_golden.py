"""Notebooks in tests/golden beside the modules they become: `MLGUARD_ACCEPT=1 pytest -k golden` writes them anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.converter.running import convert

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/notebook.ipynb"))


def formatted(folder: Path, modules: dict[str, str]) -> dict[str, str]:
    """The modules as ruff formats them, by their path below the package."""
    for name, text in modules.items():
        target = folder / Path(*Path(name).parts[2:])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for command in (["check", "--select=I", "--fix", "--quiet"], ["format", "--quiet"]):
        done = [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", "--line-length=120", str(folder)]
        subprocess.run(done, check=True)
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str, tmp_path: Path) -> None:
    """Every module is, character for character, what a person has read and accepted."""
    pytest.importorskip("ruff")
    _, modules = convert(GOLDEN / case / "notebook.ipynb", name=case)
    found = formatted(tmp_path / "out", modules)
    expected = GOLDEN / case / "expected"
    if os.environ.get("MLGUARD_ACCEPT") == "1":
        for old in expected.rglob("*.py"):
            old.unlink()
        for name, text in found.items():
            (expected / name).parent.mkdir(parents=True, exist_ok=True)
            (expected / name).write_text(text, encoding="utf-8")
        return
    wanted = {str(path.relative_to(expected)): path.read_text(encoding="utf-8") for path in expected.rglob("*.py")}
    assert found == dict(sorted(wanted.items()))


def test_there_are_golden_cases() -> None:
    """An empty folder would hold nothing to anything."""
    assert len(CASES) >= 3
