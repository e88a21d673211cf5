"""What a reader of the notebook should know: order of execution, names that nobody binds, data files."""

from __future__ import annotations

import ast

from mlguard_convert.planning.draft import BUILTINS, Draft

__all__ = ["check_names", "check_order", "check_shell_object", "data_files"]


def check_order(draft: Draft) -> None:
    """Cells that were last executed in another order than they stand in."""
    order = [cell.number for cell in draft.cells]
    if order != sorted(order):
        draft.change((), f"the cells run as they were executed last: {', '.join(map(str, order))}")
    last, before = 0, 0
    for cell in draft.cells:
        count = cell.cell.execution_count
        if count is None:
            continue
        if count < last and draft.options.order == "file":
            draft.findings.warning(
                "order", cell.number,
                f"executed as [{count}], before cell {before} which stands above it ([{last}]); the package runs the "
                "cells as they stand in the file",
                remedies=("order",),
            )  # fmt: skip
        else:
            last, before = count, cell.number
    known: set[str] = {param.name for param in draft.params} | draft.module_names
    for unit in draft.of_fate("step"):
        for name in sorted(unit.facts.certain - known - BUILTINS):
            later = [one for one in draft.binders.get(name, ()) if one.position > unit.position]
            earlier = [one for one in draft.binders.get(name, ()) if one.position <= unit.position]
            if later and not earlier and not unit.cell.may_raise:
                is_file = draft.options.order == "file"
                draft.findings.warning(
                    "order", unit.number,
                    f"reads {name}, which only cell {later[0].number} {'below' if is_file else 'behind'} it binds",
                    f"Run {'from top to bottom' if is_file else 'in the order of execution'} the notebook fails here "
                    "too: move the cell.", unit.node.lineno, ("order",) if is_file else (),
                )  # fmt: skip
        known |= unit.facts.bound


def check_shell_object(draft: Draft) -> None:
    """`ip = get_ipython()` is None in a package: whatever the notebook asks of it cannot be kept."""
    names = {name for cell in draft.cells for name in cell.shells}
    for unit in draft.units if names else ():
        for node in ast.walk(unit.node):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            if node.value.id in names and not unit.cell.may_raise:
                draft.findings.error(
                    "get-ipython", unit.number, f"{ast.unparse(node)} asks something of IPython: a package has none",
                    "Write it in Python.", line=node.lineno,
                )  # fmt: skip
                break


def check_names(draft: Draft) -> None:
    """Names that are read although no cell, no import and no builtin binds them."""
    known = draft.module_names | BUILTINS | set(draft.binders) | {param.name for param in draft.params} | {"display"}
    for unit in draft.units:
        if unit.fate not in ("step", "function", "constant"):
            continue
        needed = unit.facts.reads | unit.facts.late_reads
        for name in sorted(needed - known):
            if name.startswith("__mlguard_") or unit.cell.may_raise:
                continue
            draft.findings.warning("unknown-name", unit.number, f"{name} is bound by no cell", line=unit.node.lineno)


def data_files(draft: Draft) -> tuple[str, ...]:
    """Relative paths, written as literals, of files that exist beside the notebook."""
    folder = draft.notebook.path.parent
    found: dict[str, None] = {}
    for cell in draft.cells:
        for node in ast.walk(cell.tree):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            text = node.value
            if (
                not (0 < len(text) < 250)
                or "\n" in text
                or "\0" in text
                or text.startswith(("/", "~"))
                or "." not in text
            ):
                continue
            try:
                inside = (folder / text).resolve().is_relative_to(folder.resolve())
                if inside and (folder / text).is_file():
                    found[text] = None
            except (OSError, ValueError):
                continue
    return tuple(found)
