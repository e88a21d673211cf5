"""Rejected inputs kept in a folder, so that a person can see later what was refused and why."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlguard_nb import clock
from mlguard_nb.errors import Violation
from mlguard_nb.runtime.arrays import as_numpy, is_array
from mlguard_nb.runtime.frames import is_frame

__all__ = ["MOST_KEPT", "keep"]

# A caller that sends nothing but bad input must not fill the disk.
MOST_KEPT = 1_000
_numbers = itertools.count(1)
_log = logging.getLogger("mlguard.validate")


def keep(
    folder: str | Path, function: str, arguments: Mapping[str, Any], violations: Sequence[Violation]
) -> Path | None:
    """Write one rejected call to a new folder below `folder` and return it.

    Arrays are written as .npy, frames as .csv, other values by their text; violations.json says what was wrong.
    None, with a warning in the log, when MOST_KEPT calls lie there already or the folder cannot be written: the
    caller gets its InputRejected all the same.
    """
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if sum(1 for _ in itertools.islice(root.iterdir(), MOST_KEPT)) >= MOST_KEPT:
            _log.warning("quarantine %s holds %d calls already; this one is not kept", root, MOST_KEPT)
            return None
        place = root / f"{_safe(function)}-{int(clock.current().wall())}-{os.getpid()}-{next(_numbers)}"
        place.mkdir()
        told = [{"argument": v.argument, "rule": v.rule, "expected": v.expected, "found": v.found} for v in violations]
        values = {name: _kept(place, name, value) for name, value in arguments.items()}
        body = {"function": function, "violations": told, "arguments": values}
        (place / "violations.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        return place
    except OSError as error:
        _log.warning("quarantine %s cannot be written: %s", root, error)
        return None


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)


def _kept(place: Path, name: str, value: Any) -> str:
    """Where the value went, or its text; why not, where it can be neither written nor told: the caller must get its
    InputRejected, not an error of ours.
    """
    try:
        return _write(place, name, value)
    except OSError:
        raise
    except Exception as error:
        _log.warning("quarantine %s: %s cannot be kept: %s: %s", place, name, type(error).__name__, error)
        return f"not kept: {type(error).__name__}: {error}"


def _write(place: Path, name: str, value: Any) -> str:
    """Where the value went, or its text."""
    if is_frame(value):
        file = place / f"{name}.csv"
        if type(value).__module__.partition(".")[0] == "polars":
            value.write_csv(file)
        else:
            value.to_csv(file)
        return file.name
    if is_array(value):
        import numpy as np

        file = place / f"{name}.npy"
        numbers = as_numpy(value)
        if numbers.dtype.kind != "O":
            np.save(file, numbers, allow_pickle=False)
            return file.name
    return repr(value)[:10_000]
