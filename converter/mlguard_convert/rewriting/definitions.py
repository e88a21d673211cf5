"""Function definitions: the guards of their cell above them, and notebook variables as keyword-only parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libcst as cst

__all__ = ["AddGuards", "TakeVariables"]


class AddGuards(cst.CSTTransformer):
    """Put the planned decorators on the functions that came from a guarded cell; nested namesakes are left alone."""

    def __init__(self, decorators: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.decorators = decorators

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        """Only the definitions at the top."""
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        """No methods."""
        return False

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        """The planned decorators come outermost, in their canonical order."""
        planned = [
            cst.Decorator(cst.parse_expression(source)) for source in self.decorators.get(original_node.name.value, ())
        ]
        return updated_node.with_changes(decorators=(*planned, *updated_node.decorators))


class TakeVariables(cst.CSTTransformer):
    """`def score(batch)` becomes `def score(batch, *, model)`."""

    def __init__(self, takes: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.takes = takes

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        """Only the definitions at the top."""
        return False

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        """Add the parameters behind those that are keyword-only already."""
        names = self.takes.get(original_node.name.value, ())
        if not names:
            return updated_node
        params = updated_node.params
        star = params.star_arg
        if isinstance(star, cst.MaybeSentinel):
            star = cst.ParamStar() if not params.kwonly_params else star
        added = [cst.Param(cst.Name(name), star="") for name in names]
        changed = params.with_changes(kwonly_params=[*params.kwonly_params, *added], star_arg=star)
        return updated_node.with_changes(params=changed)
