"""Scopes that moved: `global` means the step's variable, or the module's where code runs as text; `del list` gives the
builtin back.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

import libcst as cst

__all__ = ["DropAnnotations", "GlobalToNonlocal", "ModuleNamespace", "RestoreBuiltins"]


class GlobalToNonlocal(cst.CSTTransformer):
    """`global count` inside a function of a step becomes `nonlocal count`."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self.names = names
        self._depth = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Only inside a function is it about the step's variables."""
        self._depth += 1

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        """Back out."""
        self._depth -= 1
        return updated_node

    def leave_Global(
        self, original_node: cst.Global, updated_node: cst.Global
    ) -> cst.Nonlocal | cst.Global | cst.Pass | cst.RemovalSentinel:
        """At the top of a cell the statement says nothing; module names stay global."""
        if self._depth == 0:
            return cst.Pass()
        if all(item.name.value in self.names for item in updated_node.names):
            return cst.Nonlocal(names=updated_node.names)
        return updated_node


class ModuleNamespace(cst.CSTTransformer):
    """exec and eval get the module's globals, and locals() at the top of a cell means them too."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Inside a function locals() is the function's own."""
        self._depth += 1

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        """Back out."""
        self._depth -= 1
        return updated_node

    def leave_Global(
        self, original_node: cst.Global, updated_node: cst.Global
    ) -> cst.Global | cst.Pass | cst.RemovalSentinel:
        """At the top of a cell the step declares its names itself."""
        return cst.Pass() if self._depth == 0 else updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Say which namespace is meant."""
        name = updated_node.func.value if isinstance(updated_node.func, cst.Name) else ""
        count = len(updated_node.args)
        if name in ("exec", "eval") and count == 1 and self._depth == 0:
            return updated_node.with_changes(args=[*updated_node.args, cst.Arg(cst.parse_expression("globals()"))])
        if name in ("locals", "vars") and count == 0 and self._depth == 0:
            return updated_node.with_changes(func=cst.Name("globals"))
        if name == "dir" and count == 0 and self._depth == 0:
            return cst.parse_expression("sorted(globals())")
        return updated_node


class DropAnnotations(cst.CSTTransformer):
    """`count: int = 3` becomes `count = 3`: a variable of an outer scope takes no annotation."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self.names = names

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        """Its names are its own."""
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        """Its names are its own."""
        return False

    def leave_AnnAssign(
        self, original_node: cst.AnnAssign, updated_node: cst.AnnAssign
    ) -> cst.AnnAssign | cst.Assign | cst.Pass:
        """One without a value says nothing else."""
        target = updated_node.target
        if not isinstance(target, cst.Name) or target.value not in self.names:
            return updated_node
        if updated_node.value is None:
            return cst.Pass()
        return cst.Assign([cst.AssignTarget(target)], updated_node.value)


class RestoreBuiltins(cst.CSTTransformer):
    """`del list` becomes `list = builtins.list`: without the variable the name means the builtin again."""

    def __init__(self, names: Collection[str], module: str) -> None:
        super().__init__()
        self.names, self.module = names, module

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        """Its names are its own."""
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        """Its names are its own."""
        return False

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine:
        """Names and others in one `del` become statements of their own."""
        found: list[cst.BaseSmallStatement] = []
        for small in updated_node.body:
            target = small.target if isinstance(small, cst.Del) else None
            parts = [one.value for one in target.elements] if isinstance(target, cst.Tuple) else [target]
            own = [part for part in parts if isinstance(part, cst.Name) and part.value in self.names]
            if not own:
                found.append(small)
                continue
            found += [cst.Del(cast("cst.Name", part)) for part in parts if part is not None and part not in own]
            for part in own:
                value = cst.Attribute(cst.Name(self.module), cst.Name(part.value))
                found.append(cst.Assign([cst.AssignTarget(cst.Name(part.value))], value))
        return updated_node.with_changes(body=found)
