"""Local variables of the notebook's functions that nothing reads: the call stays, the name goes."""

from __future__ import annotations

import ast
from collections.abc import Collection

import libcst as cst

from mlguard_convert.rewriting.dead_stores import value_alone

__all__ = ["DropUnreadLocals", "has_unread_locals"]

_REFLECTION = frozenset({"locals", "vars", "dir", "eval", "exec"})


class DropUnreadLocals(cst.CSTTransformer):
    """`fig = draw(x)` of a function that never reads `fig` becomes `draw(x)`; a literal goes with its name.

    Other values stay, since callers may catch what they raise.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unread: list[Collection[str]] = []

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Its names are its own."""
        self._unread.append(_unread_locals(node))

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        """Back out."""
        self._unread.pop()
        return updated_node

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        """What a class binds are its attributes."""
        self._unread.append(())

    def leave_ClassDef(self, original_node: cst.ClassDef, updated_node: cst.ClassDef) -> cst.ClassDef:
        """Back out."""
        self._unread.pop()
        return updated_node

    def leave_Assign(
        self, original_node: cst.Assign, updated_node: cst.Assign
    ) -> cst.Assign | cst.Expr | cst.RemovalSentinel:
        """One plain target; `a = b = f()` and unpacking stay."""
        if len(updated_node.targets) != 1 or not self._goes(updated_node.targets[0].target):
            return updated_node
        return _without_pass(value_alone(updated_node.value, is_tried=True))

    def leave_AnnAssign(
        self, original_node: cst.AnnAssign, updated_node: cst.AnnAssign
    ) -> cst.AnnAssign | cst.Expr | cst.RemovalSentinel:
        """An annotated store is a store; without a value it is nothing."""
        if not self._goes(updated_node.target):
            return updated_node
        if updated_node.value is None:
            return cst.RemoveFromParent()
        return _without_pass(value_alone(updated_node.value, is_tried=True))

    def leave_ExceptHandler(
        self, original_node: cst.ExceptHandler, updated_node: cst.ExceptHandler
    ) -> cst.ExceptHandler:
        """`except E as e`."""
        gone = updated_node.name is not None and self._goes(updated_node.name.name)
        return updated_node.with_changes(name=None) if gone else updated_node

    def leave_WithItem(self, original_node: cst.WithItem, updated_node: cst.WithItem) -> cst.WithItem:
        """`with open(...) as f`."""
        gone = updated_node.asname is not None and self._goes(updated_node.asname.name)
        return updated_node.with_changes(asname=None) if gone else updated_node

    def _goes(self, target: cst.CSTNode) -> bool:
        return bool(self._unread) and isinstance(target, cst.Name) and target.value in self._unread[-1]


def _without_pass(left: cst.Expr | cst.Pass) -> cst.Expr | cst.RemovalSentinel:
    """A block of a function that is left empty gets its `pass` from libcst."""
    return cst.RemoveFromParent() if isinstance(left, cst.Pass) else left


def _unread_locals(node: cst.FunctionDef) -> frozenset[str]:
    """Names that the function binds itself and that neither it nor a function in it reads."""
    return _unread(ast.parse(cst.Module([node.with_changes(leading_lines=(), decorators=())]).code).body[0])


def has_unread_locals(source: str) -> bool:
    """Whether a function in `source` has one."""
    functions = (one for one in ast.walk(ast.parse(source)) if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return any(map(_unread, functions))


def _unread(function: ast.stmt) -> frozenset[str]:
    stored: set[str] = set()
    read: set[str] = set()
    for one in ast.walk(function):
        if isinstance(one, ast.Name):
            (stored if isinstance(one.ctx, ast.Store) else read).add(one.id)
        elif isinstance(one, ast.AugAssign) and isinstance(one.target, ast.Name):
            read.add(one.target.id)
        elif isinstance(one, ast.ExceptHandler) and one.name:
            stored.add(one.name)
        elif isinstance(one, (ast.Global, ast.Nonlocal)):
            read.update(one.names)
        elif isinstance(one, ast.ClassDef):
            read |= {item.id for part in one.body for item in ast.walk(part) if isinstance(item, ast.Name)}
    return frozenset() if read & _REFLECTION else frozenset(stored - read)
