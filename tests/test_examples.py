"""The example notebooks teach what they say: they run clean from top to bottom, and each becomes a package that agrees."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.package.conftest import environment, runtime_wheel, uv
from tests.packaging.conftest import Environment, run

__all__ = ["environment", "runtime_wheel", "uv"]

EXAMPLES = Path(__file__).resolve().parents[1] / "example_notebooks"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.ipynb"))

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]


def test_there_are_four() -> None:
    assert NAMES == ["flaky_features", "gpu_memory", "messy_research", "quickstart"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """An example exported with --verify, which runs the notebook in a real kernel and the package beside it."""
    from mlguard_convert.exporting import export

    folder = tmp_path_factory.mktemp("examples") / "notebooks"
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    return cache(lambda name: export(folder / f"{name}.ipynb", folder.parent / name, verify=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_package_of_an_example_computes_the_notebooks_values(name: str, exported: Callable[[str], Any]) -> None:
    """Every final value is equal."""
    done = exported(name)
    assert done.verification is not None
    differing = [row for row in done.verification.rows if row.equal is False]
    assert not differing
    assert done.verification.ok
    assert sum(row.equal is True for row in done.verification.rows) >= 3


@pytest.mark.parametrize("name", NAMES)
def test_the_package_of_an_example_is_clean(name: str, exported: Callable[[str], Any]) -> None:
    """By every rule of ruff but those that its pyproject names with a reason, and for a type checker."""
    folder = exported(name).folder
    run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=folder)
    run([sys.executable, "-m", "ruff", "format", "--check", "--no-cache", "."], cwd=folder)
    run([sys.executable, "-m", "mypy", "--cache-dir", str(folder.parent / "mypy")], cwd=folder)


@pytest.mark.packaging
def test_the_packages_of_the_examples_install_pass_their_tests_and_serve(
    exported: Callable[[str], Any], runtime_wheel: Path, environment: Callable[[str], Environment], tmp_path: Path
) -> None:
    """In a fresh environment without Jupyter; what each defines answers over HTTP, with what a run saved."""
    folders = {name: exported(name).folder for name in NAMES}
    venv = environment("venv")
    venv.install(str(runtime_wheel), *(f"{folder}[test,serve]" for folder in folders.values()))
    assert venv.run("-c", "import IPython", check=False).returncode != 0
    for name, folder in folders.items():
        assert " passed" in venv.run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)).stdout, name
    out = tmp_path / "out"
    assert "call `score` over HTTP" in (folders["quickstart"] / "README.md").read_text()
    venv.script("quickstart", "run", "--save", str(out))
    command = [str(venv.python), "-m", "quickstart", "serve", "--port", "0", "--from", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(word for word in server.stderr.readline().split() if word.startswith("http"))
        health = json.loads(urllib.request.urlopen(f"{address}/health", timeout=60).read())
        assert health["functions"] == ["score"]
        assert "mlguard" in urllib.request.urlopen(f"{address}/metrics", timeout=60).read().decode()
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_stored_without_outputs(name: str) -> None:
    """Outputs belong to whoever runs it; a stored one would be another machine's."""
    import nbformat

    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
