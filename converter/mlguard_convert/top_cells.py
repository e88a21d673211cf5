"""The guarded cells of a notebook by their peak, as the file that was last saved tells them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CellPeak", "cells_of"]

_MIME = "application/vnd.mlguard.view+json"
_LARGEST_FILE = 50_000_000  # bytes; a larger notebook would hold up the picture


@dataclass(frozen=True, slots=True)
class CellPeak:
    """One cell: its number among the code cells; for RAM ("ram") and each device its peak in GiB, "~" if sampled."""

    number: int
    name: str
    peaks: Mapping[str, str]
    time: str
    ram_bytes: float


def cells_of(path: Path) -> tuple[CellPeak, ...]:
    """The guarded cells of the notebook at `path`, largest first; none where there is no readable notebook."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return ()
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # saved this moment, or no notebook at all
        return ()
    return tuple(sorted(_read(notebook), key=lambda cell: cell.ram_bytes, reverse=True))


def _read(notebook: Any) -> Iterator[CellPeak]:
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    code = [cell for cell in _dicts(cells) if cell.get("cell_type") == "code"]
    for number, cell in enumerate(code, 1):
        for output in _dicts(cell.get("outputs")):
            data = output.get("data")
            view = data.get(_MIME) if isinstance(data, dict) else None
            if isinstance(view, dict):
                yield _cell(number, view)


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _cell(number: int, view: Mapping[str, Any]) -> CellPeak:
    devices = _dicts(view.get("devices"))
    peaks = {str(device.get("key")): _peak(device) for device in devices}
    ram = next((device.get("peak_bytes") for device in devices if device.get("key") == "ram"), None)
    seconds = view.get("elapsed_seconds")
    time = f"{seconds:.1f} s" if isinstance(seconds, (int, float)) else ""
    return CellPeak(number, str(view.get("name") or "cell"), peaks, time, float(ram or 0))


def _peak(device: Mapping[str, Any]) -> str:
    peak = device.get("peak_bytes")
    if not isinstance(peak, (int, float)):
        return "–"
    return f"{'' if device.get('peak_kind') == 'exact' else '~'}{peak / 2**30:.1f}"
