"""Calls that mean something only in a notebook: shell lines, plt.show(), display()."""

from __future__ import annotations

from collections.abc import Collection

import libcst as cst

from mlguard_convert.magics import SHELL

__all__ = ["NameHelper", "PrintDisplays", "RunShell", "SaveFigures"]


class NameHelper(cst.CSTTransformer):
    """A stand-in becomes the name chosen for the helper."""

    def __init__(self, stand_in: str, helper: str) -> None:
        super().__init__()
        self.stand_in, self.helper = stand_in, helper

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        """Nothing else has that name."""
        return updated_node.with_changes(value=self.helper) if updated_node.value == self.stand_in else updated_node


class RunShell(cst.CSTTransformer):
    """Shell lines call the helper under the name chosen for it, allowed only where the export allowed them."""

    def __init__(self, helper: str, allowed: bool) -> None:
        super().__init__()
        self.helper, self.allowed = helper, allowed

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """Rename, and add `allowed=True`."""
        if not isinstance(updated_node.func, cst.Name) or updated_node.func.value != SHELL:
            return updated_node
        equal = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
        extra = [cst.Arg(cst.Name("True"), keyword=cst.Name("allowed"), equal=equal)] if self.allowed else []
        return updated_node.with_changes(func=cst.Name(self.helper), args=[*updated_node.args, *extra])


class SaveFigures(cst.CSTTransformer):
    """`plt.show()` becomes `save_figures("name")`; `pyplot` are the notebook's names for the module."""

    def __init__(self, helper: str, pyplot: Collection[str], name: str | None) -> None:
        super().__init__()
        self.helper, self.pyplot, self.name = helper, pyplot, name

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """Only show() of the module itself; a figure's own show() is left alone."""
        func = updated_node.func
        if not (isinstance(func, cst.Attribute) and func.attr.value == "show"):
            return updated_node
        if not (isinstance(func.value, cst.Name) and func.value.value in self.pyplot):
            return updated_node
        args = [cst.Arg(cst.SimpleString(f'"{self.name}"'))] if self.name else []
        return updated_node.with_changes(func=cst.Name(self.helper), args=args)


class PrintDisplays(cst.CSTTransformer):
    """`display(x)` becomes `print(x)`, `display(Markdown(text))` becomes `print(text)`; `printer` means print."""

    def __init__(self, printer: str) -> None:
        super().__init__()
        self.printer = cst.parse_expression(printer)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """Unwrap what only IPython can show; a call with keywords asks IPython for more and stays."""
        if not isinstance(original_node.func, cst.Name) or original_node.func.value != "display":
            return updated_node
        if any(one.keyword is not None for one in updated_node.args):  # a handle that is updated later
            return updated_node.with_changes(func=cst.Name("display"))
        args = [self._unwrapped(one) for one in updated_node.args]
        return updated_node.with_changes(func=self.printer.deep_clone(), args=args)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        """`display` handed on as a function."""
        return self.printer.deep_clone() if updated_node.value == "display" else updated_node

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.Attribute:
        """An attribute of that name is something else."""
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        """So is a keyword: `glue("rows", 3, display=True)`."""
        return updated_node.with_changes(keyword=original_node.keyword)

    def visit_FunctionDef(self, node: cst.FunctionDef) -> bool:
        """A function with a parameter of that name shows nothing by it."""
        return not _takes_display(node.params)

    def visit_Lambda(self, node: cst.Lambda) -> bool:
        """Nor does a lambda."""
        return not _takes_display(node.params)

    @staticmethod
    def _unwrapped(argument: cst.Arg) -> cst.Arg:
        value = argument.value
        if isinstance(value, cst.Call) and len(value.args) == 1 and value.args[0].keyword is None:
            named = value.func.value if isinstance(value.func, cst.Name) else ""
            if named in ("Markdown", "HTML", "Latex", "Pretty"):
                return argument.with_changes(value=value.args[0].value)
        return argument


def _takes_display(params: cst.Parameters) -> bool:
    return any(one.name.value == "display" for one in (*params.posonly_params, *params.params, *params.kwonly_params))
