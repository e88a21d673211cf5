"""The example notebooks teach what they say: they run clean from top to bottom, and each becomes a package that agrees."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "example_notebooks"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.ipynb"))

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]


def test_there_are_four() -> None:
    assert NAMES == ["flaky_features", "gpu_memory", "messy_research", "quickstart"]


@pytest.mark.parametrize("name", NAMES)
def test_the_package_of_an_example_computes_the_notebooks_values(name: str, tmp_path: Path) -> None:
    """Exported with --verify, which runs the notebook in a real kernel and the package, every final value is equal."""
    from mlguard_convert.exporting import export

    folder = tmp_path / "notebooks"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    done = export(folder / f"{name}.ipynb", tmp_path / name, verify=True)
    assert done.verification is not None
    differing = [row for row in done.verification.rows if row.equal is False]
    assert not differing
    assert done.verification.ok
    assert sum(row.equal is True for row in done.verification.rows) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_stored_without_outputs(name: str) -> None:
    """Outputs belong to whoever runs it; a stored one would be another machine's."""
    import nbformat

    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
