"""`%guard export`: the converter, run as a command of its own on the notebook's saved file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlguard_nb import clock
from mlguard_nb.errors import ConversionError, Diagnostic, PolicyError, Remedy

if TYPE_CHECKING:
    from mlguard_nb.notebook.session import Session

__all__ = ["ON_THE_LINE", "export_saved", "notebook_path"]

ON_THE_LINE: dict[Remedy, str] = {
    "skip_bad_cells": "add --skip-bad-cells to this line",
    "order": "add --order=executed to this line",
    "allow_shell": "add --allow-shell to this line",
    "pack_data": "add --pack-data to this line to take data of any size along",
    "output": "name another folder",
    "force": "add --force to this line to write into it",
}


def notebook_path(namespace: dict[str, Any]) -> Path | None:
    """The file of the notebook that this kernel belongs to, None where nobody says."""
    named = namespace.get("__vsc_ipynb_file__") or os.environ.get("JPY_SESSION_NAME") or ""
    found = Path(str(named))
    if named and not found.is_file():
        found = Path.cwd() / found.name
    return found if named and found.suffix == ".ipynb" and found.is_file() else None


def export_saved(session: Session, rest: str, say: Callable[[str], None]) -> None:
    """Convert the saved notebook into the folder that `rest` names (a second word names another notebook).

    Says how old the saved file is, then the converter's progress. ConversionError with the converter's findings.
    """
    words = rest.split()
    if not words:
        raise PolicyError("name a folder, such as: %guard export build/churn")
    named = len(words) > 1 and not words[1].startswith("--")
    path = Path(words[1]) if named else notebook_path(session.namespace)
    if named and path is not None and not path.is_file():
        raise PolicyError(f"there is no {path}")
    if path is None:
        raise PolicyError("this kernel does not know its notebook: write %guard export DIR NOTEBOOK.ipynb")
    age = max(0.0, clock.current().wall() - path.stat().st_mtime)
    say(f"exporting {path.name} as saved {_spoken_age(age)} ago")
    options = [word for word in words[1:] if word.startswith("--")]
    command = [sys.executable, "-m", "mlguard_convert", "export", str(path), "--output", words[0], "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            _tell(str(path), line, say)
        told = process.stderr.read()
    if process.returncode not in (0, 1):
        raise PolicyError(told.strip().splitlines()[-1] if told.strip() else "the converter failed without a word")


def _tell(path: str, line: str, say: Callable[[str], None]) -> None:
    try:
        message = json.loads(line)
    except ValueError:
        say(line.rstrip())
        return
    if "progress" in message:
        say(f"  {message['progress']} ({message.get('done', 0)} of {message.get('of', 0)})")
    elif "error" in message:
        found = message["error"].get("findings", [])
        raise ConversionError(path, [_diagnostic(item) for item in found]).spelt(ON_THE_LINE)
    elif "result" in message:
        result = message["result"]
        say(f"wrote {result.get('folder', 'the package')}")
        for path in result.get("kept", ()):
            say(f"kept {path}, which was changed by hand; the new text is beside it as {path}.new")
        for path in result.get("left", ()):
            say(f"kept {path}, which was changed by hand; the notebook no longer makes such a file")


def _diagnostic(item: dict[str, Any]) -> Diagnostic:
    return Diagnostic(
        str(item.get("code", "")), str(item.get("level", "error")), item.get("cell"), item.get("line"),
        str(item.get("message", "")), str(item.get("next_step", "")), tuple(item.get("remedies", ())),
    )  # fmt: skip


def _spoken_age(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.0f} h"
