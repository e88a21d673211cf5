"""What works only while IPython runs: functions that are registered as magics, modules that ask for its shell."""

from __future__ import annotations

import ast
import re

from mlguard_convert.ipython_syntax import edited
from mlguard_convert.planning.draft import Draft

__all__ = ["leave_ipython"]

_REGISTERS = re.compile(r"(?:\w+\.)*register_(?:line|cell|line_cell)_magic\b")
# Modules that mean nothing to a package: what is wrong with each, and the next step.
_SHELL_ONLY = {
    # Its jobs take the formatter of tracebacks from the shell, and fail without one.
    "IPython.lib.backgroundjobs": (
        "works only while IPython runs: a package has none",
        "Use a library that does not need it (threading, concurrent.futures).",
    ),
    "__main__": ("is the notebook only while that runs: in a package it is the command", "Use the names themselves."),
}
# They call `enable_notebook` and `disable_notebook` what asks the shell to show their objects otherwise.
_SHOWN_OTHERWISE = frozenset({"mpld3", "pyLDAvis"})
_SHOWING = re.compile(r"(?:\w+\.)*(?:enable|disable)_notebook")


def leave_ipython(draft: Draft) -> None:
    """Functions that are magics too become plain functions; errors for what has no meaning outside IPython."""
    for position, cell in enumerate(draft.cells):
        lines = cell.source.split("\n")
        marks = [
            mark
            for node in (ast.walk(cell.tree) if "_magic" in cell.source else ())
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            for mark in node.decorator_list
            if _REGISTERS.match(ast.unparse(mark))
        ]
        for mark in sorted(marks, key=lambda one: -one.lineno):
            del lines[mark.lineno - 1 : mark.end_lineno]
        if marks:
            source = "\n".join(lines)
            draft.rewrite(position, source)
            draft.change((cell.number,), "a function that is registered as a magic is a plain function here")
            draft.fill()
    _drop_showing(draft)
    for unit in draft.units:
        full = {name for one in unit.facts.imports for name in (one.module, f"{one.module}.{one.attribute}")}
        for module in sorted(full & _SHELL_ONLY.keys()) if not unit.cell.may_raise else ():
            wrong, next_step = _SHELL_ONLY[module]
            draft.findings.error("ipython", unit.number, f"{module} {wrong}", next_step, line=unit.node.lineno)


def _drop_showing(draft: Draft) -> None:
    """Statements that only change how a notebook shows the objects of a library become `pass`."""
    libraries = {
        one.name
        for unit in draft.units
        for one in unit.facts.imports
        if one.module.partition(".")[0] in _SHOWN_OTHERWISE
    }
    for position, cell in enumerate(draft.cells):
        edits = [
            (node.value, "pass")
            for node in (ast.walk(cell.tree) if libraries and "able_notebook" in cell.source else ())
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            for called in (ast.unparse(node.value.func),)
            if _SHOWING.fullmatch(called) and called.partition(".")[0] in libraries
        ]
        if edits:
            draft.rewrite(position, edited(cell.source, edits))
            draft.change((cell.number,), "a call that sets up what a notebook shows is dropped")
            draft.fill()
