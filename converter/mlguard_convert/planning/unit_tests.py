"""`unittest.main()` and `doctest.testmod()` look for tests in `__main__`, which a package is not."""

from __future__ import annotations

import ast

from mlguard_convert.ipython_syntax import edited
from mlguard_convert.planning.draft import Draft, Unit
from mlguard_convert.planning.evaluated_texts import dict_of

__all__ = ["hand_over_test_cases"]


def hand_over_test_cases(draft: Draft) -> None:
    """`unittest.main(exit=False)` becomes `unittest.main(module=type("tests", (), {...}), exit=False)`.

    Without a module it looks into `__main__`, which is the notebook only while that runs; any object will do whose
    attributes are the test cases. Those are the classes above the call that come from a `TestCase`. What doctest wants
    is the module where the functions are, so its call finds nothing: a warning says so.
    """
    told: list[int] = []
    for position, cell in enumerate(draft.cells):
        nodes = list(ast.walk(cell.tree)) if "unittest" in cell.source or "doctest" in cell.source else []
        for call in _calls(nodes, "doctest.testmod", "m"):
            said = "doctest.testmod() looks into __main__, and finds no tests in a package"
            draft.findings.warning("ipython", cell.number, said, "Name the module that holds them.", call.lineno)
        edits: list[tuple[ast.expr, str]] = []
        for call in _calls(nodes, "unittest.main", "module"):
            cases = _test_cases(draft.above(position, call.lineno))
            given = [f'module=type("tests", (), {dict_of(cases)})']
            given += [ast.get_source_segment(cell.source, one) or "" for one in call.keywords]
            edits.append((call, f"{ast.unparse(call.func)}({', '.join(given)})"))
        if edits:
            draft.rewrite(position, edited(cell.source, edits))
            told.append(cell.number)
    if told:
        draft.change(told, "`unittest.main` is given the test cases that it found among the names")
        draft.fill()


def _calls(nodes: list[ast.AST], function: str, module: str) -> list[ast.Call]:
    """The calls of `function` without its argument `module`, the first one."""
    return [
        node
        for node in nodes
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == function
        and not node.args
        and all(one.arg not in (None, module) for one in node.keywords)
    ]


def _test_cases(units: list[Unit]) -> list[str]:
    """The classes that come from a `TestCase`, by another class of the notebook as well."""
    found: list[str] = []
    for unit in units:
        node = unit.node
        if isinstance(node, ast.ClassDef) and node.name not in found:
            bases = [ast.unparse(base) for base in node.bases]
            if any(base.rpartition(".")[2].endswith("TestCase") or base in found for base in bases):
                found.append(node.name)
    return found
