"""Handlers whose name is a variable too: `except E as e` would delete the step's e, so it gets another name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mlguard_convert.ipython_syntax import edited
from mlguard_convert.planning.draft import Draft
from mlguard_convert.planning.naming import free_name

__all__ = ["rename_handlers"]


def rename_handlers(draft: Draft) -> None:
    """Rename in `except E as e` every e that other statements bind. In the notebook e is gone behind such a handler:
    no later cell can have read it.
    """
    both = draft.caught & draft.binders.keys()
    if not both:
        return
    wanted = free_name("error", draft.names)
    for position, cell in enumerate(draft.cells):
        edits = [
            edit for handler in _handlers(cell.tree) if handler.name in both for edit in _edits(handler, cell.source)
        ]
        if edits:
            source = edited(cell.source, [(node, wanted) for node in edits])
            draft.rewrite(position, source)
    draft.fill()


def _handlers(node: ast.AST) -> Iterator[ast.ExceptHandler]:
    """The handlers of a cell, inner ones last; what functions and classes catch is their own."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(child, ast.ExceptHandler):
            yield child
        yield from _handlers(child)


def _edits(handler: ast.ExceptHandler, source: str) -> list[ast.expr]:
    """The places of the handler's name: behind `as`, and in its body."""
    assert handler.name is not None
    assert handler.type is not None
    line, start = handler.type.end_lineno or handler.lineno, handler.type.end_col_offset or 0
    rest = source.split("\n")[line - 1].encode()[start:].decode()
    found = re.match(rf"[\s)]*as\s+({re.escape(handler.name)})\b", rest)
    inside = [one for part in handler.body for one in ast.walk(part)]
    own = any(isinstance(one, ast.arg) and one.arg == handler.name for one in inside)
    if found is None or own or any(isinstance(one, ast.ExceptHandler) and one.name == handler.name for one in inside):
        return []
    column = start + len(rest[: found.start(1)].encode())
    place = ast.Name(handler.name, ast.Store(), lineno=line, col_offset=column)
    place.end_lineno, place.end_col_offset = line, column + len(handler.name.encode())
    return [place, *(one for one in inside if isinstance(one, ast.Name) and one.id == handler.name)]
