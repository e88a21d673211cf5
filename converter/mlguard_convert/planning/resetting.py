"""`%reset` and its kin: what they take out of the namespace is deleted."""

from __future__ import annotations

import ast
import re

from mlguard_convert.ipython_syntax import edited
from mlguard_convert.magics import RESET
from mlguard_convert.planning.draft import Draft, Unit

__all__ = ["delete_reset_names"]


def delete_reset_names(draft: Draft) -> None:
    """`%reset -f` at the top of a cell becomes `del` of the variables that the cells above have surely bound.

    What they import and define may stay: no result of a run is a module, a function or a class, and each import
    moves to the top. So may parameters, which are options. In a block the line is dropped, and a finding says so.
    """
    for position, cell in enumerate(draft.cells):
        asking = [node for node in ast.walk(cell.tree) if _pattern(node) is not None] if RESET in cell.source else []
        edits: list[tuple[ast.expr, str]] = []
        gone: set[str] = set()
        for node in asking:
            assert isinstance(node, ast.Expr)
            if node not in cell.tree.body:
                edits.append((node.value, "pass"))
                said = "%reset in a block is dropped: the names stay"
                draft.findings.warning("magic", cell.number, said, "Write del.", line=node.lineno)
                continue
            above = draft.above(position, node.lineno)
            names = [name for name in _variables(above, gone) if re.search(_pattern(node) or "", name)]
            gone |= {*names}
            edits.append((node.value, f"del {', '.join(names)}" if names else ""))
            if names:
                draft.change((cell.number,), f"`%reset` became `del` of {', '.join(f'`{name}`' for name in names)}")
        if edits:
            source = edited(cell.source, edits)
            draft.rewrite(position, source)
            draft.fill()


def _pattern(node: ast.AST) -> str | None:
    """What the names must look like that a stand-in for the magic takes away; None for any other statement."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return None
    call = node.value
    is_reset = isinstance(call.func, ast.Name) and call.func.id == RESET
    return ast.literal_eval(call.args[0]) if is_reset else None


def _variables(units: list[Unit], gone: set[str]) -> list[str]:
    """The variables that are bound for sure behind these statements, in the order in which they were bound."""
    found: dict[str, None] = {}
    for unit in units:
        facts = unit.facts
        defined = {*facts.functions, *facts.classes, *(one.name for one in facts.imports)}
        for name in facts.deleted | defined:
            found.pop(name, None)
        is_param = bool(unit.cell.cell.tags & {"parameters", "injected-parameters"})
        if not is_param and not unit.cell.may_raise:
            found.update(dict.fromkeys(sorted(facts.definite - defined)))
    return list(found)
