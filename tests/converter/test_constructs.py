"""Every construct of the table: the package computes what the cells compute, and the linter is content with it."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from mlguard_convert.tidying import tidy
from mlguard_nb.pipeline.recording import equal
from tests.converter.constructs import CONSTRUCTS
from tests.converter.running import convert, make_notebook, notebook_values, surely_assigned, values_of

_KINDS = (types.ModuleType, type, types.FunctionType)


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_a_construct_keeps_its_values(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What run() returns are the notebook's values, and what the notebook surely assigns is returned; also when the
    same package runs a second time.
    """
    cells = CONSTRUCTS[name]
    for folder in ("notebook", "first", "second"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "notebook")
    wanted = notebook_values(*cells)
    kept = {one for one in surely_assigned(*cells) if one in wanted and not isinstance(wanted[one], _KINDS)}
    path = make_notebook(tmp_path, *cells, name=f"construct_{list(CONSTRUCTS).index(name)}")

    for run in ("first", "second"):
        found = values_of(path, base_dir=tmp_path / run)

        assert kept <= found.keys()
        for one, value in found.items():
            assert one in wanted, f"{one} is no name of the notebook"
            if type(wanted[one]).__module__ == "__main__":
                assert type(wanted[one]).__name__ == type(value).__name__
            else:
                assert equal(wanted[one], value).equal, f"{one}: {wanted[one]!r} became {value!r} in the {run} run"


def test_ruff_is_content_with_every_construct(tmp_path: Path) -> None:
    """No finding of F or E9 in any of the packages, once they are tidied as an export tidies them."""
    for number, cells in enumerate(CONSTRUCTS.values()):
        _, modules = convert(make_notebook(tmp_path, *cells, name=f"case_{number}"))
        for path, text in modules.items():
            target = tmp_path / "all" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    tidy(tmp_path / "all", "case_0")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=F,E9", "--output-format=concise", "."]
    done = subprocess.run(command, cwd=tmp_path / "all", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
