"""What a page may ask the export for: a notebook and a folder, both inside the one that this server shows."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ExportRefused", "ExportRequest", "read_request"]


_SHOWN = 100  # characters of a text that is no path


class ExportRefused(Exception):
    """The request makes no sense here; the text says what to do instead."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What a page asked for, with paths that were found to lie inside the server's folder."""

    notebook: Path
    output: Path | None
    name: str | None
    verify: bool
    check: bool
    force: bool
    skip_bad_cells: bool = False

    def command(self) -> list[str]:
        """The converter's command line; everything after `--` in argv is a path or an option of our own."""
        if self.check:
            words = ["check", str(self.notebook)]
        else:
            words = ["export", str(self.notebook), "--output", str(self.output)]
        if self.name is not None:
            words += ["--name", self.name]
        words += ["--verify"] if self.verify and not self.check else []
        words += ["--force"] if self.force and not self.check else []
        words += ["--skip-bad-cells"] if self.skip_bad_cells else []
        return [sys.executable, "-m", "mlguard_convert", *words, "--json"]


def read_request(body: Any, root: Path) -> ExportRequest:
    """The request in `body`, with its paths below `root`; ExportRefused says what is wrong with it."""
    if not isinstance(body, dict):
        raise ExportRefused("the request is not a JSON object")
    check = body.get("check") is True
    notebook = _inside(body.get("path"), root, "the notebook")
    if notebook.suffix != ".ipynb" or not os.path.isfile(notebook):  # Path.is_file raises where a name is too long
        raise ExportRefused(f"there is no notebook {body.get('path')}; save it first")
    name = body.get("name") or None
    if name is not None and not (isinstance(name, str) and name.isidentifier()):
        raise ExportRefused(f"{name!r} cannot be the name of a package: use letters, digits and underscores")
    output = None if check else _inside(body.get("output"), root, "the folder")
    if output is not None and output == root.resolve():
        raise ExportRefused("the package needs a folder of its own, not the server's")
    return ExportRequest(
        notebook=notebook,
        output=output,
        name=name,
        verify=body.get("verify") is True,
        check=check,
        force=body.get("force") is True,
        skip_bad_cells=body.get("skip_bad_cells") is True,
    )


def _inside(text: Any, root: Path, what: str) -> Path:
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ExportRefused(f"{what} is missing")
    root = root.resolve()
    try:
        path = (root / text.strip().lstrip("/")).resolve()  # follows links, so none leads out
    except (OSError, ValueError):  # half a character, or longer than any path
        raise ExportRefused(f"{what} cannot be one: {text[:_SHOWN]!r} is no path") from None
    if path != root and root not in path.parents:
        raise ExportRefused(f"{what} must lie inside the folder that this server shows, {text!r} does not")
    return path
