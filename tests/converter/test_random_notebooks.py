"""Random small notebooks: whatever they bind, rebind, change, delete and call, the package ends with the same values."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mlguard_nb.pipeline.recording import equal
from tests.converter.running import notebook_values, package_values

VARIABLES = ["a", "b", "c", "rows"]
FUNCTIONS = ["f", "g"]


def statement(draw: random.Random, known: set[str], functions: set[str]) -> str:
    """One statement over a handful of names; it may fail, then the notebook is drawn anew."""
    names = sorted(known) or ["1"]
    x, y, target = draw.choice(names), draw.choice(names), draw.choice(VARIABLES)
    call = f"{draw.choice(sorted(functions))}({x})" if functions else f"total({x})"
    kinds = [
        f"{target} = [{draw.randrange(9)}]",
        f"{target} = {draw.randrange(9)}",
        f"{target} = total({x}) + total({y})",
        f"{target} = {x}",
        f"{target} = {call}",
        f"{target} = [total(i) + total({x}) for i in range(3)]",
        f"{x} += {x}",
        f"if total({x}) > 9:\n    {target} = {call}",
        f"if total({x}) > 9:\n    {target} = 1\nelse:\n    {target} = {y}",
        f"for i in range(total({x}) % 3):\n    {target} = i",
        f"for i in [1, 2]:\n    {target} = i + total({x})",
        f"{target} = (lambda v: total(v) + total({x}))({y})",
        f"try:\n    {target} = 1 // (total({x}) % 2)\nexcept ZeroDivisionError:\n    {target} = -1",
        f"del {x}",
        f"def {draw.choice(FUNCTIONS)}(v):\n    return total(v) + total({x})",
        f"def {draw.choice(FUNCTIONS)}(v):\n    return {call} if total(v) > 99 else total(v) * 2",
        f"def {draw.choice(FUNCTIONS)}(v):\n    global {target}\n    {target} = total(v)\n    return {target} + 1",
        f"kept = {min(functions)}\n{target} = kept({x})" if functions else f"{target} = total({x})",
        f"isinstance({x}, list) and {x}.append(1)",
        call,
    ]  # fmt: skip
    return draw.choice(kinds)


def notebook(seed: int) -> list[str] | None:
    """Cells that run to the end, or None."""
    draw = random.Random(seed)
    cells = ["def total(v):\n    return sum(map(total, v)) if isinstance(v, list) else int(v)", "a = [1, 2]"]
    known, functions = {"a"}, set[str]()
    for _ in range(draw.randrange(3, 9)):
        lines = []
        for _ in range(draw.randrange(1, 4)):
            lines.append(statement(draw, known, functions))
            try:
                values = notebook_values(*cells, "\n".join(lines))
            except (NameError, TypeError, RecursionError, ValueError, SyntaxError):
                return None
            known = {name for name in VARIABLES if name in values}
            functions = {name for name in FUNCTIONS if name in values}
        cells.append("\n".join(lines))
    return cells


@pytest.mark.parametrize("block", range(8))
def test_random_notebooks_keep_their_values(block: int, tmp_path: Path) -> None:
    """Every value that run() returns is the notebook's, and every surely assigned name is returned."""
    tried = 0
    for seed in range(block * 100, block * 100 + 100):
        cells = notebook(seed)
        if cells is None:
            continue
        tried += 1
        wanted = notebook_values(*cells)
        folder = tmp_path / str(seed)
        folder.mkdir()
        text = "\n# ---\n".join(cells)
        try:
            found = package_values(folder, *cells)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{text}") from error
        for name, value in found.items():
            if name not in wanted:
                assert value is None, f"seed {seed}: {name} is no name of the notebook\n{text}"
                continue
            same = callable(value) or equal(wanted[name], value).equal
            assert same, f"seed {seed}: {name} is {wanted[name]!r}, became {value!r}\n{text}"
    assert tried > 10
