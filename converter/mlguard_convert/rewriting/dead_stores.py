"""Stores that nobody reads: the statement goes where its value is pure, else only the name."""

from __future__ import annotations

import ast
from collections.abc import Collection

import libcst as cst

from mlguard_convert.planning.purity import is_literal, is_pure

__all__ = ["DropDeadStores", "value_alone"]

_TAKING = frozenset({"all", "any", "dict", "frozenset", "list", "max", "min", "next", "set", "sorted", "sum", "tuple"})


class DropDeadStores(cst.CSTTransformer):
    """`hits = 0` goes, `fig = plt.figure()` becomes `plt.figure()`, an import of a dead name goes, and `except E as e`
    loses an e that nobody reads. Functions and classes inside are left alone. A value stays that calls an `acting`
    name, or goes into a `fragile` one (`counts[key]` of a defaultdict). `is_tried`: an error in these statements is
    caught, so a value stays that may raise one.
    """

    def __init__(
        self,
        dead: Collection[str],
        unread: Collection[str] = (),
        *,
        acting: frozenset[str] = frozenset(),
        fragile: frozenset[str] = frozenset(),
        is_tried: bool = False,
    ) -> None:
        super().__init__()
        self.dead = frozenset(dead)
        self.unread = frozenset(unread) | self.dead
        self.acting, self.fragile = acting, fragile
        self._tries = int(is_tried)

    def visit_Try(self, node: cst.Try) -> None:
        """What it catches, or sees in passing, must still be raised."""
        self._tries += 1

    def leave_Try(self, original_node: cst.Try, updated_node: cst.Try) -> cst.Try:
        """Back out."""
        self._tries -= 1
        return updated_node

    def visit_With(self, node: cst.With) -> None:
        """It may swallow an error."""
        self._tries += 1

    def leave_With(self, original_node: cst.With, updated_node: cst.With) -> cst.With:
        """Back out."""
        self._tries -= 1
        return updated_node

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        """Its names are its own."""
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        """Its names are its own."""
        return False

    def visit_Lambda(self, node: cst.Lambda) -> bool:
        """Its names are its own."""
        return False

    def leave_Assign(
        self, original_node: cst.Assign, updated_node: cst.Assign
    ) -> cst.Assign | cst.Expr | cst.Pass | cst.RemovalSentinel:
        """One plain target; `a = b = f()` and unpacking stay."""
        if len(updated_node.targets) != 1 or not self._is_dead(updated_node.targets[0].target):
            return updated_node
        return self._value_alone(updated_node.value)

    def leave_AnnAssign(
        self, original_node: cst.AnnAssign, updated_node: cst.AnnAssign
    ) -> cst.AnnAssign | cst.Expr | cst.Pass | cst.RemovalSentinel:
        """An annotated store is a store."""
        if updated_node.value is None or not self._is_dead(updated_node.target):
            return updated_node
        return self._value_alone(updated_node.value)

    def leave_Import(
        self, original_node: cst.Import, updated_node: cst.Import
    ) -> cst.Import | cst.Pass | cst.RemovalSentinel:
        """Every name dead: nobody asked for it."""
        names = [
            alias.asname.name.value if alias.asname is not None and isinstance(alias.asname.name, cst.Name) else ""
            for alias in updated_node.names
        ]
        return cst.Pass() if not self._tries and all(name in self.dead for name in names) else updated_node

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom | cst.Pass | cst.RemovalSentinel:
        """Every name dead: nobody asked for it."""
        if isinstance(updated_node.names, cst.ImportStar):
            return updated_node
        names = [
            alias.asname.name.value if alias.asname is not None and isinstance(alias.asname.name, cst.Name)
            else alias.name.value
            for alias in updated_node.names
        ]  # fmt: skip
        return cst.Pass() if not self._tries and all(name in self.dead for name in names) else updated_node

    def leave_AsName(self, original_node: cst.AsName, updated_node: cst.AsName) -> cst.AsName:
        """Handled where it stands."""
        return updated_node

    def leave_ExceptHandler(
        self, original_node: cst.ExceptHandler, updated_node: cst.ExceptHandler
    ) -> cst.ExceptHandler:
        """`except E as e` with an e that nobody reads."""
        name = updated_node.name.name if updated_node.name is not None else None
        return (
            updated_node.with_changes(name=None)
            if isinstance(name, cst.Name) and name.value in self.unread
            else updated_node
        )

    def leave_WithItem(self, original_node: cst.WithItem, updated_node: cst.WithItem) -> cst.WithItem:
        """`with open(...) as f` with an f that nobody reads."""
        name = updated_node.asname.name if updated_node.asname is not None else None
        return updated_node.with_changes(asname=None) if self._is_dead(name) else updated_node

    def _value_alone(self, value: cst.BaseExpression) -> cst.Expr | cst.Pass:
        return value_alone(value, acting=self.acting, fragile=self.fragile, is_tried=self._tries > 0)

    def _is_dead(self, target: cst.CSTNode | None) -> bool:
        return isinstance(target, cst.Name) and target.value in self.dead


def value_alone(
    value: cst.BaseExpression,
    *,
    acting: frozenset[str] = frozenset(),
    fragile: frozenset[str] = frozenset(),
    is_tried: bool,
) -> cst.Expr | cst.Pass:
    """What is left of a store without its name: the call, or nothing where the value is pure.

    `is_tried`: somebody may catch what it raises (`float(text)`), so only a literal or a lambda goes.
    """
    node = ast.parse(f"({cst.Module([]).code_for_node(value)}\n)", mode="eval").body
    cannot_raise = is_literal(node) and not any(isinstance(one, ast.BinOp) for one in ast.walk(node))
    is_looked_into = not isinstance(node, ast.Name) and any(
        isinstance(one, ast.Name) and one.id in fragile for one in ast.walk(node)
    )
    quiet = is_pure(node, acting) and not is_looked_into and not _uses_up(node)
    goes = quiet and (not is_tried or cannot_raise or isinstance(node, ast.Lambda))
    return cst.Pass() if goes else cst.Expr(value)


def _uses_up(node: ast.expr) -> bool:
    """Whether it goes through something that may be an iterator, which is at its end then: `list(rows)`."""
    calls = (one for one in ast.walk(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name))
    return any(one.func.id in _TAKING and not all(map(is_literal, one.args)) for one in calls)  # type: ignore[attr-defined]
