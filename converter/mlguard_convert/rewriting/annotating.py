"""Annotations on the functions of the notebook, where it has none and their types were seen."""

from __future__ import annotations

import ast
from collections.abc import Callable

import libcst as cst

__all__ = ["AnnotateFunctions"]


class AnnotateFunctions(cst.CSTTransformer):
    """`def score(batch)` becomes `def score(batch: pd.DataFrame) -> np.ndarray`; what is annotated stays as it is.

    `known` gives the type of a parameter, as (function, parameter), or of a result, as (function, "return"); None:
    not known. A parameter whose default is of another type, such as None, gets none.
    """

    def __init__(self, known: Callable[[str, str], str | None]) -> None:
        super().__init__()
        self.known = known

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        """Only the definitions at the top."""
        return False

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        """No methods."""
        return False

    def leave_FunctionDef(self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef) -> cst.FunctionDef:
        """Parameters by position and by keyword, and the result."""
        name = updated_node.name.value
        params = updated_node.params
        changed = params.with_changes(
            params=[self._annotated(name, one) for one in params.params],
            kwonly_params=[self._annotated(name, one) for one in params.kwonly_params],
            posonly_params=[self._annotated(name, one) for one in params.posonly_params],
        )
        result = self.known(name, "return") if updated_node.returns is None else None
        returns = updated_node.returns if result is None else _annotation(result)
        return updated_node.with_changes(params=changed, returns=returns)

    def _annotated(self, function: str, param: cst.Param) -> cst.Param:
        seen = self.known(function, param.name.value) if param.annotation is None else None
        if seen is None or (param.default is not None and not _fits(param.default, seen)):
            return param
        return param.with_changes(annotation=_annotation(seen))


def _annotation(source: str) -> cst.Annotation:
    return cst.Annotation(cst.parse_expression(source))


def _fits(default: cst.BaseExpression, seen: str) -> bool:
    """Whether a literal default is of the type seen; any other default is not looked into."""
    try:
        value = ast.literal_eval(cst.Module([]).code_for_node(default))
    except (ValueError, SyntaxError):
        return False
    return type(value).__name__ == seen
