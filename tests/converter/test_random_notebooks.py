"""Random small notebooks: whatever they bind, rebind, change, delete and call, the package ends with the same values."""

from __future__ import annotations

import itertools
import types
from pathlib import Path
from typing import Any

import pytest

from mlguard_nb.pipeline.recording import equal
from tests.converter.programs import random_notebook
from tests.converter.running import make_notebook, notebook_values, surely_assigned, values_of

_count = itertools.count()
_KINDS = (types.ModuleType, types.FunctionType, type)


def disagreement(cells: list[Any], folder: Path) -> str | None:
    """What the package of these cells does not do as they do, in a first or a second run; None: they agree."""
    wanted = notebook_values(*cells)
    path = make_notebook(folder, *cells, name=f"drawn_{next(_count)}")
    for place in ("", "in the second run: "):
        try:
            found = values_of(path)
        except Exception as error:
            return f"{place}{type(error).__name__}: {error}"
        said = _difference(cells, wanted, found)
        if said is not None:
            return f"{place}{said}"
    return None


def _difference(cells: list[Any], wanted: dict[str, Any], found: dict[str, Any]) -> str | None:
    lost = [one for one in surely_assigned(*cells) if one in wanted and not isinstance(wanted[one], _KINDS)]
    lost = [one for one in lost if one not in found]
    if lost:
        return f"run() does not return {', '.join(lost)}"
    for name, value in found.items():
        if name not in wanted:
            if name != "e":  # behind `except E as e` the notebook has none, the package may
                return f"{name} is no name of the notebook"
        elif type(wanted[name]).__module__ == "__main__":
            here, there = (getattr(one, "__dict__", {}) for one in (wanted[name], value))
            if here != there and not _holds_objects(here):
                return f"{name} is {here}, became {there}"
        elif not (callable(value) or equal(wanted[name], value).equal or _holds_objects(wanted[name])):
            return f"{name} is {wanted[name]!r}, became {value!r}"
    return None


def _holds_objects(value: Any) -> bool:
    """Objects of the notebook's own classes, which two namespaces spell differently, somewhere inside."""
    return "__main__" in repr(value)


@pytest.mark.parametrize("block", range(8))
def test_random_notebooks_keep_their_values(block: int, tmp_path: Path) -> None:
    """Every value that run() returns is the notebook's, and every surely assigned name is returned."""
    tried = 0
    for seed in range(block * 60, block * 60 + 60):
        cells = random_notebook(seed)
        if cells is None:
            continue
        tried += 1
        folder = tmp_path / str(seed)
        folder.mkdir()
        found = disagreement(cells, folder)
        assert found is None, f"seed {seed}: {found}\n" + "\n# ---\n".join(map(str, cells))
    assert tried > 40
