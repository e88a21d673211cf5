"""The export as this server offers it: the converter in a process of its own, inside the server's folder only."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["ExportRefused", "ExportRequest", "lines_of", "read_request"]

_KEPT_ERRORS = 4000
_PATIENCE_SECONDS = 5.0


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
    if notebook.suffix != ".ipynb" or not notebook.is_file():
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
    path = (root / text.strip().lstrip("/")).resolve()  # follows links, so none leads out
    if path != root and root not in path.parents:
        raise ExportRefused(f"{what} must lie inside the folder that this server shows, {text!r} does not")
    return path


async def lines_of(request: ExportRequest, root: Path) -> AsyncGenerator[dict[str, Any], None]:
    """The converter's messages as they come; the last one holds "result" or "error". Closing this ends the process."""
    with tempfile.TemporaryFile() as errors:
        # A plain process read from a thread: the event loop of a Jupyter server on Windows cannot start one itself.
        process = subprocess.Popen(
            request.command(),
            cwd=request.notebook.parent,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        assert process.stdout is not None
        ended = False
        try:
            while line := await asyncio.to_thread(process.stdout.readline):
                message = _message(line)
                if message is not None:
                    ended = ended or "result" in message or "error" in message
                    yield _relative(message, root)
            status = await asyncio.to_thread(process.wait)
            if not ended:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()[-_KEPT_ERRORS:]
                yield {"error": {"message": said or f"the converter ended with status {status} and said nothing"}}
        finally:
            await _end(process)


async def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the process, so that it ends its kernel; kill it when it does not listen."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        process.send_signal(signal.SIGINT)
    else:
        process.terminate()
    try:
        await asyncio.to_thread(process.wait, _PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)


def _message(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None  # a print of the notebook's own, while it is verified
    return message if isinstance(message, dict) else None


def _relative(message: dict[str, Any], root: Path) -> dict[str, Any]:
    """`folder` of a result as the page names it: relative to the server's folder."""
    result = message.get("result")
    if isinstance(result, dict) and isinstance(result.get("folder"), str):
        folder = Path(result["folder"])
        if folder.is_absolute() and folder.resolve().is_relative_to(root.resolve()):
            return {**message, "result": {**result, "folder": folder.resolve().relative_to(root.resolve()).as_posix()}}
    return message
