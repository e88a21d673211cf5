"""`global count` in a function that only reads `count` says nothing; in a package it would ask for the module's."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mlguard_convert.ipython_syntax import PlainCell, edited
from mlguard_convert.planning.draft import Draft
from mlguard_nb.dataflow.scopes import arguments, free_names

__all__ = ["drop_needless_globals"]

_Def = (ast.FunctionDef, ast.AsyncFunctionDef)


def drop_needless_globals(draft: Draft) -> None:
    """Take out of `global` statements the names that their function does not bind."""
    changed = False
    for position, cell in enumerate(draft.cells):
        if "global" not in cell.source:
            continue
        edits = [(node, _statement(cell, node, kept)) for node, kept in _needless(cell.tree, frozenset())]
        if edits:
            draft.rewrite(position, edited(cell.source, edits))
            changed = True
    if changed:
        draft.fill()


def _statement(cell: PlainCell, node: ast.Global, kept: list[str]) -> str:
    """What becomes of the statement: nothing, where it has a line to itself and is not all of its block."""
    if kept:
        return f"global {', '.join(kept)}"
    lines = cell.source.split("\n")[node.lineno - 1 : node.end_lineno]
    text = " ".join(lines).partition("#")[0].strip()
    blocks = [getattr(one, part, []) for one in ast.walk(cell.tree) for part in ("body", "orelse", "finalbody")]
    block = next(block for block in blocks if isinstance(block, list) and node in block)
    alone = all(isinstance(one, ast.Global) for one in block)
    return "pass" if alone or not text.startswith("global") or ";" in text else ""


def _needless(scope: ast.AST, outer: frozenset[str]) -> Iterator[tuple[ast.Global, list[str]]]:
    """Each statement below `scope` with the names to keep, where these are fewer; `outer` is what functions around
    bind: there `global` is what makes the difference.
    """
    written = free_names(scope).written if isinstance(scope, _Def) else frozenset[str]()
    inside = outer | _own_names(scope) if isinstance(scope, _Def) else outer
    for node in _own_nodes(scope):
        if isinstance(node, ast.Global) and isinstance(scope, _Def):
            kept = [name for name in node.names if name in written or name in outer]
            if len(kept) < len(node.names):
                yield node, kept
        elif isinstance(node, (*_Def, ast.ClassDef)):
            yield from _needless(node, inside)


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """What stands in a scope itself: nested definitions are there, what is inside of them is not."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, (*_Def, ast.ClassDef, ast.Lambda)):
            yield from _own_nodes(child)


def _own_names(function: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    nodes = list(_own_nodes(function))
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    declared = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
    return frozenset(stored - declared | {one.arg for one in arguments(function.args)})
