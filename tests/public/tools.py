"""The converters that are measured: each turns one notebook into Python files, or says in one line why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["OURS", "TOOLS", "Product", "Refused"]

OURS = "mlguard-nb export"
_LONGEST_CONVERSION_SECONDS = 180


class Refused(Exception):
    """The converter made nothing; what it said."""


@dataclass(frozen=True, slots=True)
class Product:
    """What a converter made. `code` are its Python files; `entry` and `kind` tell replay.py how to run it."""

    code: tuple[Path, ...]
    entry: Path
    kind: str
    package: str = ""


def _ours(notebook: Path, folder: Path) -> Product:
    from mlguard_convert.exporting import export
    from mlguard_nb.errors import GuardError

    try:
        result = export(notebook, folder / "product")
    except GuardError as error:
        raise Refused(str(error)) from error
    code = tuple(sorted((folder / "product" / "src").rglob("*.py")))
    return Product(code, folder / "product", "package", result.package)


def _script(*command: str) -> Callable[[Path, Path], Product]:
    """A converter that is a command: NOTEBOOK and SCRIPT stand for the two files."""

    def convert(notebook: Path, folder: Path) -> Product:
        script = folder / "script.py"
        places = {"NOTEBOOK": str(notebook), "SCRIPT": str(script), "FOLDER": str(folder)}
        _call([places.get(word, word) for word in command], folder)
        if not script.is_file():
            raise Refused("it wrote no Python file")
        return Product((script,), script, "marimo" if command[0] == "marimo" else "script")

    return convert


def _soorgeon(notebook: Path, folder: Path) -> Product:
    """Its tasks, converted in a copy of the notebook's folder as it wants it."""
    work = folder / "pipeline"
    work.mkdir()
    shutil.copy(notebook, work / notebook.name)
    _call(["soorgeon", "refactor", notebook.name, "--file-format", "py"], work)
    code = tuple(sorted([*work.glob("tasks/*.py"), *work.glob("*.py")]))
    if not (work / "pipeline.yaml").is_file() or not code:
        raise Refused("it wrote no pipeline")
    return Product(code, work, "soorgeon")


def _call(command: list[str], folder: Path) -> None:
    program = Path(sys.executable).with_name(command[0])
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            [str(program), *command[1:]], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=_LONGEST_CONVERSION_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Refused(f"it takes longer than {_LONGEST_CONVERSION_SECONDS} s") from None
    if done.returncode:
        said = done.stderr.strip() or "it fails"
        raise Refused(said if "Traceback (most recent" in said else said.splitlines()[-1])


TOOLS: Mapping[str, Callable[[Path, Path], Product]] = {
    "nbconvert --to script": _script(
        "jupyter-nbconvert", "--to", "python", "NOTEBOOK", "--output", "script", "--output-dir", "FOLDER"
    ),
    "jupytext --to py": _script("jupytext", "--to", "py", "NOTEBOOK", "-o", "SCRIPT"),
    "soorgeon refactor": _soorgeon,
    "marimo convert": _script("marimo", "convert", "NOTEBOOK", "-o", "SCRIPT"),
    OURS: _ours,
}
