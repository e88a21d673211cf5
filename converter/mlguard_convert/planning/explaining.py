"""The README's lines about what the steps do differently: paths, figures, names that stay inside."""

from __future__ import annotations

import ast

from mlguard_convert.plan import Step
from mlguard_convert.planning.draft import Draft

__all__ = ["explain"]


def explain(draft: Draft, steps: list[Step], files: tuple[str, ...]) -> None:
    """Note, with its cells, each change that follows from how steps are made; `files` are the data files it names."""
    _paths(draft, files)
    _figures(draft)
    _inner_names(draft, steps)


def _paths(draft: Draft, files: tuple[str, ...]) -> None:
    for path in files:
        cells = [
            cell.number
            for cell in draft.cells
            if any(isinstance(node, ast.Constant) and node.value == path for node in ast.walk(cell.tree))
        ]
        draft.change(cells, f"names `{path}`, a relative path: found below `base_dir`")


def _figures(draft: Draft) -> None:
    telling = ["show()" in cell.source for cell in draft.cells]
    cells = [
        unit.number
        for unit in draft.units
        if telling[unit.position] and unit.text.rstrip(";") in ("plt.show()", "pyplot.show()")
    ]
    if cells:
        draft.change(cells, "`plt.show()` saves the figure")


def _inner_names(draft: Draft, steps: list[Step]) -> None:
    """Targets of loops that no later cell reads."""
    given = {name for step in steps for name in step.outputs}
    for unit in draft.of_fate("step"):
        node = unit.node
        if isinstance(node, (ast.For, ast.AsyncFor)) and isinstance(node.target, ast.Name):
            name = node.target.id
            if name not in given and not name.startswith("_"):
                draft.change((unit.number,), f"`{name}`, the loop's variable, stays inside the step")
