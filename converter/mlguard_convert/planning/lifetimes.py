"""Notebooks that watch when objects end: the caller of a step holds what it hands over, so such objects stay in one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mlguard_convert.planning.draft import Draft

__all__ = ["lifetime_spans"]

_COUNTERS = frozenset({"getrefcount", "getreferrers", "get_referrers", "get_objects"})


def lifetime_spans(draft: Draft) -> list[tuple[int, int]]:
    """Spans of cells, as positions (first, last), from where a variable is bound to where it is last deleted or bound
    anew; none where nothing watches (weakref, a method `__del__`, sys.getrefcount).
    """
    counted, watches = set(), False
    for node in _nodes(draft):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [getattr(node, "module", "") or "", *(one.name for one in node.names)]
            watches |= "weakref" in names
        elif isinstance(node, ast.FunctionDef):
            watches |= node.name == "__del__"
        elif isinstance(node, ast.Call) and _called(node) in _COUNTERS:
            counted |= {one.id for one in node.args if isinstance(one, ast.Name)}
    ended = set(draft.deleted) | {name for name, units in draft.binders.items() if len(units) > 1} if watches else set()
    spans = []
    for name in sorted((ended | counted) & draft.binders.keys() - draft.module_names):
        uses = [*draft.binders[name], *(unit for unit in draft.readers.get(name, ()) if name in counted)]
        uses += [unit for unit in draft.readers.get(name, ()) if name in unit.facts.deleted]
        positions = sorted(unit.position for unit in uses if unit.fate == "step")
        if positions and positions[0] < positions[-1]:
            spans.append((positions[0], positions[-1]))
            message = f"the notebook watches when objects end, and {name} has its end here: these cells stay one step"
            draft.findings.info("lifetime", draft.cells[positions[-1]].number, message)
    return spans


def _nodes(draft: Draft) -> Iterator[ast.AST]:
    for cell in draft.cells:
        if any(word in cell.source for word in ("weakref", "__del__", "referrers", "getrefcount", "get_objects")):
            yield from ast.walk(cell.tree)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
