"""What a run gave, on disk: one file a name, and a manifest with type, hash and versions."""

from __future__ import annotations

import hashlib
import json
import pickle
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlguard_nb.errors import GuardError
from mlguard_nb.pipeline.portable import type_name
from mlguard_nb.version import __version__

__all__ = ["MANIFEST", "ResultsError", "load_results", "save_results"]

MANIFEST = "results.json"
_PLAIN = (type(None), bool, int, float, str)


class ResultsError(GuardError):
    """A folder of saved results cannot be used: `folder`, and why."""

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(folder, reason)
        self.folder, self.reason = folder, reason

    def __str__(self) -> str:
        return f"{self.folder}: {self.reason}"


def save_results(results: Mapping[str, Any], folder: str | Path, *, source: str = "") -> dict[str, str]:
    """Write every value of `results` below `folder`; the names that could not be written, with the reason.

    Plain values and lists of them become JSON, arrays .npy, everything else a pickle. The manifest `results.json`
    holds for each name its type, file, SHA-256 and the version of the library that made it, so that loading can
    refuse a file that was changed. `source` says what the results came from.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    entries: dict[str, dict[str, Any]] = {}
    refused: dict[str, str] = {}
    for name, value in results.items():
        try:
            suffix, data = _encode(value)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError, ValueError) as error:
            refused[name] = f"{type(value).__name__} cannot be written: {error}"
            continue
        file = f"{name}{suffix}"
        (target / file).write_bytes(data)
        entries[name] = {
            "type": type_name(type(value), ()),
            "file": file,
            "sha256": hashlib.sha256(data).hexdigest(),
            **_library(type(value)),
        }
    manifest = {"source": source, "mlguard_nb": __version__, "python": sys.version.split()[0], "results": entries}
    (target / MANIFEST).write_text(json.dumps({**manifest, "refused": refused}, indent=1) + "\n", encoding="utf-8")
    return refused


def load_results(folder: str | Path, names: Iterable[str] | None = None) -> dict[str, Any]:
    """The saved values of `names` (None: all). Loads pickles: only from folders that you trust.

    ResultsError when the folder has no manifest, lacks a name, or holds a file that is not the one written.
    """
    source = Path(folder)
    try:
        entries = json.loads((source / MANIFEST).read_text(encoding="utf-8"))["results"]
    except (OSError, ValueError, KeyError) as error:
        raise ResultsError(str(source), f"no readable {MANIFEST}; write one with `run --save {source}`") from error
    loaded: dict[str, Any] = {}
    for name in entries if names is None else names:
        if name not in entries:
            raise ResultsError(str(source), f"{name!r} was not saved here; there are {', '.join(sorted(entries))}")
        file = source / Path(entries[name]["file"]).name
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != entries[name]["sha256"]:
            raise ResultsError(str(source), f"{file.name} is not the file that was saved (its hash differs)")
        loaded[name] = _decode(file.suffix, data)
    return loaded


def _encode(value: Any) -> tuple[str, bytes]:
    if _is_plain(value):
        return ".json", json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    np = sys.modules.get("numpy")
    if np is not None and type(value) is np.ndarray and not value.dtype.hasobject:
        from io import BytesIO

        buffer = BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return ".npy", buffer.getvalue()
    return ".pkl", pickle.dumps(value, protocol=5)


def _decode(suffix: str, data: bytes) -> Any:
    if suffix == ".json":
        return json.loads(data.decode("utf-8", "surrogatepass"))
    if suffix == ".npy":
        from io import BytesIO

        import numpy as np

        return np.load(BytesIO(data), allow_pickle=False)
    return pickle.loads(data)


def _is_plain(value: Any) -> bool:
    """Whether JSON gives back exactly this value."""
    if type(value) in _PLAIN:
        return True
    if type(value) is list:
        return all(_is_plain(item) for item in value)
    return type(value) is dict and all(type(key) is str and _is_plain(item) for key, item in value.items())


def _library(kind: type) -> dict[str, str]:
    top = kind.__module__.partition(".")[0]
    version = getattr(sys.modules.get(top), "__version__", None)
    return {"library": top, "version": str(version)} if version is not None and top != "builtins" else {}
