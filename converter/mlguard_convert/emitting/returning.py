"""The end of a function: its last assignment, where that is all it gives, is its return."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

import libcst as cst

from mlguard_convert.rewriting.statements import Body, Statement

__all__ = ["returned_at_once"]


def returned_at_once(body: Body, outputs: Sequence[str]) -> Body:
    """`table = read()` before `return table` becomes `return read()`, where `table` is the only output and no function
    above may be closed over it.
    """
    if len(outputs) != 1 or len(body.statements) < 2:
        return body
    last = body.statements[-2]
    if not isinstance(last, cst.SimpleStatementLine) or not isinstance(last.body[0], cst.Assign):
        return body
    assign = last.body[0]
    target = assign.targets[0].target
    if len(assign.targets) != 1 or not isinstance(target, cst.Name) or target.value != outputs[0]:
        return body
    value = assign.value
    before = body.statements[:-2]
    if any(isinstance(one, (cst.FunctionDef, cst.ClassDef)) for one in before):
        return body
    if _is_stored_before(before, target.value, value) or _reads_itself_later(target.value, value):
        return body
    spaced = (
        value.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        if isinstance(value, cst.Tuple) and not value.lpar
        else value
    )
    returned = last.with_changes(body=[cst.Return(spaced)])
    return Body([*before, returned], body.footer)


def _is_stored_before(before: Sequence[Statement], name: str, value: cst.BaseExpression) -> bool:
    """Whether an earlier store would lose its only reader, the return."""
    earlier = cst.Module(body=before).code
    stored = re.search(rf"\b{re.escape(name)}\b", earlier) is not None
    return stored and re.search(rf"\b{re.escape(name)}\b", cst.Module([]).code_for_node(value)) is None


def _reads_itself_later(name: str, value: cst.BaseExpression) -> bool:
    """`fact = lambda n: n * fact(n - 1)` needs its own name when it is called."""
    tree = ast.parse(cst.Module([]).code_for_node(value), mode="eval")
    later = (node for node in ast.walk(tree) if isinstance(node, (ast.Lambda, ast.GeneratorExp)))
    return any(isinstance(part, ast.Name) and part.id == name for node in later for part in ast.walk(node))
