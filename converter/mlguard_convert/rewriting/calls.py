"""Calls of functions that took over notebook variables: each passes the current value by keyword."""

from __future__ import annotations

from collections.abc import Mapping

import libcst as cst

__all__ = ["PassVariables"]


class PassVariables(cst.CSTTransformer):
    """`score(x)` becomes `score(x, model=model)` for each function in `takes`."""

    def __init__(self, takes: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.takes = takes

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """Add the keywords that the function takes and the call does not give."""
        if not isinstance(updated_node.func, cst.Name) or updated_node.func.value not in self.takes:
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
