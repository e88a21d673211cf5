"""What cells only show: it goes, or is printed where displays are kept."""

from __future__ import annotations

import ast

from mlguard_convert.ipython_syntax import edited
from mlguard_convert.planning.draft import Draft, Unit
from mlguard_convert.planning.fragile import acting_names, fragile_names
from mlguard_convert.planning.purity import is_shown

__all__ = ["drop_displays", "print_displays"]

_PRINTING = frozenset({"display", "help", "print"})


def print_displays(draft: Draft) -> None:
    """Under --keep-displays a cell whose last expression only shows a value hands it to display()."""
    if not draft.options.keep_displays or "display" in draft.shadowed:
        return
    told = []
    for position, cell in enumerate(draft.cells):
        last = cell.tree.body[-1] if cell.tree.body else None
        if not isinstance(last, ast.Expr) or not is_shown(last) or cell.cell.source.rstrip().endswith(";"):
            continue
        called = last.value.func if isinstance(last.value, ast.Call) else None
        if getattr(called, "id", "") in _PRINTING:
            continue
        text = ast.get_source_segment(cell.source, last.value) or ""
        if isinstance(last.value, ast.Tuple):  # `x, y` has no brackets of its own
            text = ast.unparse(last.value)
        source = edited(cell.source, [(last.value, f"display({text})")])
        draft.rewrite(position, source)
        told.append(cell.number)
    if told:
        draft.change(told, "what the cell shows is printed")
        draft.fill()


def drop_displays(draft: Draft) -> None:
    """Pure expressions only showed a value: they go, unless displays are kept."""
    acting = acting_names(draft)
    fragile = fragile_names(draft)
    where: dict[int, list[str]] = {}
    for unit in draft.of_fate("step"):
        if not is_shown(unit.node, acting) or unit.cell.may_raise:
            continue
        whole = isinstance(unit.node, ast.Expr) and isinstance(unit.node.value, ast.Name)
        if fragile & (unit.facts.uses | unit.facts.late_reads) and not whole:
            continue
        if draft.options.keep_displays and _is_last(unit) and not isinstance(unit.node, ast.Pass):
            continue
        unit.fate = "shown"
        if isinstance(unit.node, ast.Expr) and not isinstance(unit.node.value, ast.Constant):
            where.setdefault(unit.number, []).append(unit.text)
    if where:
        shown = list(
            dict.fromkeys(text for texts in where.values() for text in texts if "\n" not in text and len(text) < 40)
        )
        some = ", ".join(f"`{text}`" for text in shown[:3]) + (", ..." if len(shown) > 3 else "")
        draft.change(where, f"{some or 'expressions'} only showed a value: dropped")


def _is_last(unit: Unit) -> bool:
    return unit.place == len(unit.cell.tree.body) - 1
