"""Runs a page of the docs as a reader would: its cells as a notebook, its Python as a script, its shell lines in a shell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

__all__ = ["LANGUAGES", "blocks", "run_page"]

RUN = ("ipython", "python", "sh")
SHOWN = ("", "text", "yaml", "pycon")  # outputs, and what belongs to other programs
LANGUAGES = (*RUN, *SHOWN)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, text) of each fenced block."""
    return _BLOCK.findall(text)


def run_page(text: str, folder: Path) -> str:
    """Run every block of a page in `folder`; "" when all went well, else what a reader would see.

    The cells (`ipython`) come first, as one notebook that is saved under the name the page gives it ("saved as
    `NAME.ipynb`"). Then the others in order; Python blocks are one script, run up to where the page has come.
    """
    cells = [source for language, source in blocks(text) if language == "ipython"]
    if cells and (wrong := _run_cells(cells, folder / _name_of(text))):
        return wrong
    script, is_new = "", False
    for language, source in [*blocks(text), ("sh", "")]:
        if language == "python":
            script, is_new = f"{script}{source}\n", True
        elif language == "sh":
            python = [sys.executable, "-c", script] if is_new else []
            for command in (python, [shutil.which("sh") or "sh", "-e", "-c", source] if source else []):
                if command and (wrong := _run(command, folder)):
                    return wrong
            is_new = False
    return ""


def _name_of(text: str) -> str:
    found = re.search(r"save(?:d)?(?: it)? as `(\w+\.ipynb)`", text)
    return found.group(1) if found else "page.ipynb"


def _run_cells(cells: list[str], path: Path) -> str:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.rstrip()) for source in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    try:
        NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    except CellExecutionError as error:
        return str(error)
    nbformat.write(notebook, path)
    return ""


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=_environment(folder), capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"{command[-1]}\n{done.stdout}{done.stderr}"


def _environment(folder: Path) -> dict[str, str]:
    """The commands of this interpreter first, and a `pip` that installs into a folder of the page instead of into it."""
    site, commands = folder / ".site", folder / ".commands"
    if not commands.is_dir():
        commands.mkdir()
        pip = commands / "pip"
        uv = os.environ.get("UV") or shutil.which("uv")
        missing = "uv is needed to install what a page exports: run `make test`, or put uv on the PATH"
        install = (
            f'"{Path(uv).absolute()}" pip install --python "{sys.executable}"' if uv else f"echo '{missing}'; exit 1;"
        )
        pip.write_text(f'#!/bin/sh\nshift\n{install} --quiet --no-deps --target "{site}" "$@"\n')
        pip.chmod(0o755)
    path = [str(commands), str(site / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {
        **os.environ, "PATH": os.pathsep.join(path), "PYTHONPATH": str(site), "MLGUARD_CACHE_DIR": str(folder / ".cache"),
    }  # fmt: skip
