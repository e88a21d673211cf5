"""A cell's statements as libcst nodes, by the same places as in its ast, each with the comments above it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import libcst as cst

from mlguard_convert.plan import Piece

__all__ = ["Body", "Statement", "code_of", "function_of", "joined", "kept", "lines_of"]

Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement
_MOVED = (cst.Import, cst.ImportFrom)


def kept(piece: Piece) -> Body:
    """The statements of `piece` that are kept, each on lines of its own, with their comments.

    A comment at the top of the cell goes to the first statement that is kept, unless it stands above an import.
    """
    statements, footer = _statements(piece.source)
    wanted = set(piece.keep)
    found = [statements[place] for place in sorted(wanted) if place < len(statements)]
    first = statements[0] if statements else None
    if found and first is not None and 0 not in wanted and not _is_import(first):
        comments = [line for line in _comments(first) if not isinstance(first, cst.FunctionDef | cst.ClassDef)]
        found[0] = _with_lines(found[0], [*comments, *found[0].leading_lines])
    ends = footer if found and len(statements) - 1 in wanted else ()
    return Body(found, list(ends))


@dataclass(slots=True)
class Body:
    """Statements, and the comments below the last of them."""

    statements: list[Statement]
    footer: list[cst.EmptyLine]

    def rewritten(self, *passes: cst.CSTTransformer) -> Body:
        """The body after `passes`, without the `pass` statements that they leave at its top."""
        found: list[Statement] = []
        for statement in self.statements:
            for one in passes:
                statement = cast("Statement", statement.visit(one))
            small = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
            if not isinstance(small, cst.Pass):
                found.append(statement)
        return Body(found, self.footer)


def joined(bodies: Iterable[Body]) -> Body:
    """One body after the other; comments at the end of one stand above the next."""
    found: list[Statement] = []
    waiting: list[cst.EmptyLine] = []
    for body in bodies:
        for statement in body.statements:
            found.append(_with_lines(statement, [*waiting, *statement.leading_lines]) if waiting else statement)
            waiting = []
        waiting += body.footer
    if found:
        lines = list(found[0].leading_lines)
        while lines and lines[0].comment is None:
            lines.pop(0)
        found[0] = _with_lines(found[0], lines)
    return Body(found, waiting)


def lines_of(*texts: str) -> Body:
    """Statements given as text."""
    module = cst.parse_module("".join(f"{text}\n" for text in texts))
    return Body(list(module.body), [])


def _is_import(statement: Statement) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(statement.body[0], _MOVED)


def _comments(statement: Any) -> list[cst.EmptyLine]:
    return [line for line in statement.leading_lines if line.comment is not None]


def _with_lines(statement: Any, lines: list[cst.EmptyLine]) -> Any:
    return statement.with_changes(leading_lines=lines)


@lru_cache(maxsize=8192)
def _statements(source: str) -> tuple[tuple[Statement, ...], tuple[cst.EmptyLine, ...]]:
    try:
        module = cst.parse_module(source)
    except (cst.ParserSyntaxError, UnicodeEncodeError, RecursionError):
        module = cst.parse_module(ast.unparse(ast.parse(source)))
    found: list[Any] = []
    for line in module.body:
        if isinstance(line, cst.SimpleStatementLine):
            last = len(line.body) - 1
            for at, small in enumerate(line.body):
                found.append(
                    cst.SimpleStatementLine(
                        body=[small.with_changes(semicolon=cst.MaybeSentinel.DEFAULT)],
                        leading_lines=line.leading_lines if at == 0 else (),
                        trailing_whitespace=line.trailing_whitespace if at == last else cst.TrailingWhitespace(),
                    )
                )
        else:
            found.append(line)
    if found and module.header:
        found[0] = _with_lines(found[0], [*module.header, *found[0].leading_lines])
    footer = tuple(line for line in module.footer if line.comment is not None)
    return tuple(found), footer


def code_of(body: Body) -> str:
    """The text of statements at the top of a module."""
    return cst.Module(body=body.statements, footer=body.footer).code.strip("\n") + "\n"


def function_of(header: str, body: Body) -> str:
    """The text of a function whose `header` (decorators, def line, docstring) is given, with `body` below it."""
    function = cst.parse_statement(header)
    assert isinstance(function, cst.FunctionDef)
    assert isinstance(function.body, cst.IndentedBlock)
    block = function.body.with_changes(body=[*function.body.body, *body.statements], footer=body.footer)
    return cst.Module(body=[function.with_changes(body=block)]).code
