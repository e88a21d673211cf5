"""Which cells must stay in one function: late binding that can be seen, and functions that write notebook variables."""

from __future__ import annotations

import ast

from mlguard_convert.planning.draft import Draft, Unit
from mlguard_convert.planning.lifetimes import lifetime_spans
from mlguard_nb.dataflow import CellFacts, combine, free_names, statement_facts
from mlguard_nb.dataflow.scopes import arguments, class_names

__all__ = ["find_regions"]

_Def = (ast.FunctionDef, ast.AsyncFunctionDef)
# Methods that keep a function, to call it when something happens.
_KEEPING = frozenset({
    "add_callback", "add_done_callback", "add_handler", "add_listener", "attach", "bind", "connect", "listen",
    "observe", "on", "on_change", "on_click", "on_event", "register", "route", "schedule", "subscribe",
})  # fmt: skip
# What they make calls the function that they are given.
_HOLDING = frozenset({
    "FuncAnimation", "FunctionTransformer", "MethodType", "Thread", "Timer", "defaultdict", "filter", "map", "partial",
    "property", "vectorize",
})  # fmt: skip


def find_regions(draft: Draft, facts: list[CellFacts]) -> list[int]:
    """For each cell, in run order, the number of its region: cells with one number are one function.

    A function that reads a variable is closed over it, so it would not see a later cell bind it anew. That matters
    only where the function, or another that uses it, is used in or after that cell.
    """
    count = len(facts)
    fixed = draft.module_names
    units: list[list[Unit]] = [[] for _ in range(count)]
    for unit in draft.of_fate("step"):
        units[unit.position].append(unit)
    binders: dict[str, list[int]] = {}
    for position, one in enumerate(facts):
        for name in one.bound:
            binders.setdefault(name, []).append(position)
    spans = lifetime_spans(draft)
    for position, one in enumerate(facts):
        for name in one.late_reads - fixed:
            later = [other for other in binders.get(name, ()) if other > position]
            if (
                later
                and not _only_passed(units[position], name)
                and _used_after(draft, units, position, name, later[0])
            ):
                spans.append((position, _last_use(draft, units, facts, position, name, later)))
                again = draft.cells[later[0]].number
                message = f"a function reads {name}, bound again in cell {again}: these cells stay one step"
                draft.findings.info("late-binding", draft.cells[position].number, message)
        for name in one.written_globals:
            binding = {
                bound for unit in units[position] if name in unit.facts.written_globals for bound in unit.facts.bound
            }
            touching = [
                other
                for other, two in enumerate(facts)
                if name in two.bound or ({name} | binding) & (two.uses | two.late_reads)
            ]
            spans.append((min([*touching, position]), max([*touching, position])))
    regions = list(range(count))
    end = start = -1
    for first, last in sorted(spans):
        if first > end:
            start = first
        end = max(end, last)
        for position in range(first, last + 1):
            regions[position] = start
    return regions


def _used_after(draft: Draft, units: list[list[Unit]], position: int, name: str, first: int) -> bool:
    """Whether a function of cell `position` that reads `name` is used, itself or through another, from `first` on."""
    here = [unit for unit in units[position] if name in unit.facts.late_reads]
    if any(not unit.facts.bound for unit in here):
        return True
    names = _callers(draft, units, here, name)
    return any(names & (unit.facts.uses | unit.facts.late_reads) for cell in units[first:] for unit in cell)


def _callers(draft: Draft, units: list[list[Unit]], here: list[Unit], name: str) -> set[str]:
    """What the statements `here` bind, but for `name`, and whatever is built from that: each may call it."""
    names = {bound for unit in here for bound in unit.facts.bound} - {name}
    everything = [unit for cell in units for unit in cell]
    for unit in here:  # a decorator is handed the function
        names |= {kept for mark in getattr(unit.node, "decorator_list", ()) for kept in _changed(draft, _root(mark))}
    fresh = set(names)
    while fresh:
        built = [unit for unit in everything if fresh & (unit.facts.late_reads | unit.facts.uses)]
        given = {other for unit in built if _hands_on(unit.node, fresh) for other in _keepers(draft, unit, fresh)}
        fresh = (given | {bound for unit in built for bound in unit.facts.bound}) - names - {name}
        names |= fresh
    return names - {name}


def _keepers(draft: Draft, unit: Unit, names: set[str]) -> set[str]:
    """Where a statement may put what it hands on: what it changes, what a function of the notebook that gets it
    changes, and objects that are told to call it.
    """
    found = set(unit.facts.mutated)
    for call in (node for node in ast.walk(unit.node) if isinstance(node, ast.Call)):
        parts = [one.id for part in (*call.args, *call.keywords) for one in ast.walk(part) if isinstance(one, ast.Name)]
        if names.isdisjoint(parts):
            continue
        root = _root(call.func)
        if isinstance(call.func, ast.Attribute) and call.func.attr in _KEEPING:
            found.add(root)
        changed = _changed(draft, root)
        found |= changed - {""}
        found |= set(parts) if "" in changed else set()
    return found


def _changed(draft: Draft, function: str) -> frozenset[str]:
    """The variables that a function of the notebook changes in place, "" for a parameter; none for another name."""
    found: set[str] = set()
    for node in (one.node for one in draft.binders.get(function, ())):
        if isinstance(node, _Def):
            own = {one.arg for one in arguments(node.args)}
            changed = {name for part in node.body for name in statement_facts(part).mutated}
            found |= (changed & free_names(node).names) | ({""} if changed & own else set())
    return frozenset(found)


def _root(node: ast.AST) -> str:
    """The name at the bottom of `a.b[c].d(e)`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _hands_on(node: ast.AST, names: set[str]) -> bool:
    """Whether one of the names is more than called, as in `hooks.append(name)`."""
    called = {id(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)}
    return any(isinstance(one, ast.Name) and one.id in names and id(one) not in called for one in ast.walk(node))


def _last_use(
    draft: Draft, units: list[list[Unit]], facts: list[CellFacts], position: int, name: str, later: list[int]
) -> int:
    """The last cell that binds `name` anew while a function of cell `position` that reads it may still be called."""
    names = _callers(draft, units, [unit for unit in units[position] if name in unit.facts.late_reads], name)
    uses = [other for other in range(position, len(facts)) if names & (facts[other].uses | facts[other].late_reads)]
    last = max(uses, default=position)
    if not names:
        return max(later)
    binding = [other for other in later if other <= last]
    return max(binding) if binding else later[0]


def _only_passed(units: list[Unit], name: str) -> bool:
    """Whether every late read of `name` in these statements sits in a lambda that is passed straight to a call."""
    for unit in units:
        for node in ast.walk(unit.node):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and name in free_names(node).names:
                return False
            if isinstance(node, ast.ClassDef) and name in class_names(node).names:
                return False
            held = getattr(node, "value", None)
            if isinstance(node, (ast.Assign, ast.AnnAssign)) and held is not None:
                kept = [held, *(held.elts if isinstance(held, (ast.List, ast.Tuple)) else ())]
                kept += [one for one in held.values if one] if isinstance(held, ast.Dict) else []
                kept += _held_by(held)
                for one in kept:
                    if isinstance(one, ast.Lambda) and name in free_names(one).names:
                        return False
    return True


def _held_by(value: ast.expr) -> list[ast.expr]:
    """The arguments of a call whose result calls them later: `partial(f, 3)`."""
    function = value.func if isinstance(value, ast.Call) else None
    if not isinstance(value, ast.Call) or getattr(function, "attr", getattr(function, "id", "")) not in _HOLDING:
        return []
    return [*value.args, *(one.value for one in value.keywords)]


def cell_facts_of(units: list[Unit], *, may_raise: bool) -> CellFacts:
    """The facts of a cell's remaining statements; where the cell may raise, nothing is sure to be bound."""
    from dataclasses import replace

    found = combine(unit.facts for unit in units)
    return replace(found, definite=frozenset(), certain=frozenset()) if may_raise else found
