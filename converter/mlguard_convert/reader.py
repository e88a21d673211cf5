"""A notebook file as a frozen value: its code cells with the headings, text and outputs that belong to them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlguard_convert.diagnostics import refused

__all__ = ["Cell", "Notebook", "read_notebook"]

VIEW_MIME = "application/vnd.mlguard.view+json"
_HEADING = re.compile(r"^[ ]{0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_AGAIN = "Open it in Jupyter and save it again, or take an earlier copy."
_FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One code cell. `number` counts code cells from 1; `section` counts headings, so cells with the same one stand
    under the same `title` ("" before the first heading, `level` 0). `prose` is the text between the heading, or the
    cell before, and this cell. `views` are the mlguard data in its outputs, oldest first.
    """

    number: int
    source: str
    tags: frozenset[str] = frozenset()
    title: str = ""
    level: int = 0
    section: int = 0
    prose: str = ""
    execution_count: int | None = None
    views: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """A Python notebook as it lies on disk. `title` is its first heading, "" without any; `prose` what follows it."""

    path: Path
    cells: tuple[Cell, ...]
    sha256: str
    title: str = ""
    prose: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_notebook(path: str | Path) -> Notebook:
    """Read a notebook of any format from 3 on. ConversionError, in one line, for what is no Python notebook."""
    path = Path(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise refused(path, "unreadable", "there is no such file", "Check its name and the current folder.") from None
    except IsADirectoryError:
        raise refused(path, "unreadable", "this is a folder", "Name a notebook in it.") from None
    except OSError as error:
        raise refused(path, "unreadable", f"cannot be read: {error.strerror or error}") from None
    data = _parsed(path, raw)
    listed = data.get("cells")
    if listed is None and isinstance(data.get("worksheets"), list):
        listed = [cell for sheet in data["worksheets"] if isinstance(sheet, dict) for cell in sheet.get("cells") or ()]
    if not isinstance(listed, list) or not all(isinstance(cell, dict) for cell in listed):
        raise refused(path, "not-a-notebook", "not a notebook: it has no list of cells", _AGAIN)
    held = data.get("metadata")
    metadata: dict[str, Any] = held if isinstance(held, dict) else {}
    _check_language(path, metadata)
    cells, title, prose = _cells(listed)
    return Notebook(
        path=path, cells=cells, sha256=hashlib.sha256(raw).hexdigest(), title=title, prose=prose, metadata=metadata
    )


def _parsed(path: Path, raw: bytes) -> dict[str, Any]:
    if not raw.strip():
        raise refused(path, "not-a-notebook", "not a notebook: the file is empty", _AGAIN)
    try:
        data = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise refused(path, "not-a-notebook", f"not a notebook: byte {error.start} is not UTF-8", _AGAIN) from None
    except RecursionError:
        raise refused(path, "not-a-notebook", "not a notebook: its JSON is nested too deeply", _AGAIN) from None
    except ValueError as error:
        raise refused(path, "not-a-notebook", f"not a notebook: not JSON ({error})", _AGAIN) from None
    if not isinstance(data, dict):
        kind = "list" if isinstance(data, list) else type(data).__name__
        raise refused(path, "not-a-notebook", f"not a notebook: a JSON {kind}, not an object", _AGAIN)
    return data


def _check_language(path: Path, metadata: Mapping[str, Any]) -> None:
    def entry(part: str, key: str) -> Any:
        inner = metadata.get(part)
        return inner.get(key) if isinstance(inner, dict) else None

    language = entry("language_info", "name") or entry("kernelspec", "language") or entry("kernelspec", "name")
    if isinstance(language, str) and language and entry("kernelspec", "language") is None:
        known = entry("language_info", "name") is not None
        language = language if known or language.lower() in ("ir", "julia", "bash", "scala") else "python"
    if isinstance(language, str) and not language.lower().startswith(("python", "ipython")):
        raise refused(path, "not-python", f"its language is {language}, not Python", "Name a Python notebook.")


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else ""


def _cells(listed: list[dict[str, Any]]) -> tuple[tuple[Cell, ...], str, str]:
    """The code cells, and the notebook's title with the text below it."""
    found: list[Cell] = []
    title, level, section, prose = "", 0, 0, ""
    first_title = first_prose = ""
    for cell in listed:
        kind = cell.get("cell_type")
        text = _text(cell.get("source", cell.get("input", "")))
        if kind == "heading":
            text = f"{'#' * int(cell.get('level') or 1)} {text}"
        if kind in ("markdown", "heading"):
            plain = _FENCE.sub("", text)
            headings = list(_HEADING.finditer(plain))
            if headings:
                last = headings[-1]
                title, level, section, prose = _heading(last[2]), len(last[1]), section + 1, plain[last.end() :]
                if not first_title:
                    end = headings[1].start() if len(headings) > 1 else len(plain)
                    first_title, first_prose = _heading(headings[0][2]), plain[headings[0].end() : end]
            else:
                prose = f"{prose}\n\n{plain}"
        elif kind == "code":
            found.append(
                _cell(cell, len(found) + 1, text, title=title, level=level, section=section, prose=prose.strip())
            )
            prose = ""
    return tuple(found), first_title, first_prose.strip()


def _cell(cell: Mapping[str, Any], number: int, source: str, **place: Any) -> Cell:
    metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    count = cell.get("execution_count", cell.get("prompt_number"))
    views = []
    for output in cell.get("outputs") or ():
        data = output.get("data") if isinstance(output, dict) else None
        if isinstance(data, dict) and isinstance(data.get(VIEW_MIME), dict):
            views.append(data[VIEW_MIME])
    return Cell(
        number=number,
        source=source,
        tags=frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset(),
        execution_count=count if isinstance(count, int) else None,
        views=tuple(views),
        **place,
    )


def _heading(text: str) -> str:
    """A heading as plain text: without links, emphasis, code marks and tags."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<[^>]+>", "", text)
    return re.sub(r"[*`]+", "", text).strip()
