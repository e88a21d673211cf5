"""Calls of functions that took over notebook variables: each passes the current value by keyword."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import libcst as cst

from mlguard_nb.dataflow.scopes import arguments, free_names, target_names

__all__ = ["PassVariables"]

_SCOPES = (cst.FunctionDef, cst.Lambda, cst.ListComp, cst.SetComp, cst.DictComp, cst.GeneratorExp)


class PassVariables(cst.CSTTransformer):
    """`score(x)` becomes `score(x, model=model)` for each function in `takes`, where `score` is no local name."""

    def __init__(self, takes: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.takes = takes
        self._local: list[frozenset[str]] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Into a scope with names of its own."""
        if isinstance(node, _SCOPES):
            self._local.append(frozenset(self.takes.keys() & _bound(node)))
        return super().on_visit(node)

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        """Back out."""
        found = super().on_leave(original_node, updated_node)
        if isinstance(original_node, _SCOPES):
            self._local.pop()
        return found

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """Add the keywords that the function takes and the call does not give."""
        if not isinstance(updated_node.func, cst.Name) or updated_node.func.value not in self.takes:
            return updated_node
        if any(updated_node.func.value in names for names in self._local):
            return updated_node
        given = {one.keyword.value for one in updated_node.args if one.keyword is not None}
        equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
        added = [
            cst.Arg(cst.Name(name), keyword=cst.Name(name), equal=equal)
            for name in self.takes[updated_node.func.value]
            if name not in given
        ]
        if not added:
            return updated_node
        args = [one.with_changes(comma=cst.MaybeSentinel.DEFAULT) if one.comma is not cst.MaybeSentinel.DEFAULT
                and at == len(updated_node.args) - 1 and not isinstance(one.comma, cst.MaybeSentinel) else one
                for at, one in enumerate(updated_node.args)]  # fmt: skip
        return updated_node.with_changes(args=[*args, *added])


def _bound(node: cst.CSTNode) -> set[str]:
    """The names that are local to a function or comprehension."""
    text = cst.Module([]).code_for_node(node).strip()
    inner = ast.parse(text if isinstance(node, cst.FunctionDef) else f"({text}\n)").body[0]
    tree = inner.value if isinstance(inner, ast.Expr) else inner
    if isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        return ({one.arg for one in arguments(tree.args)} | target_names(tree)) - free_names(tree).written
    return {name for one in getattr(tree, "generators", ()) for name in target_names(one.target)}
