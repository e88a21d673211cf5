"""`with out:` of an ipywidgets Output: while IPython runs, an error of its block is shown, and the cell goes on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mlguard_convert.ipython_syntax import edited
from mlguard_convert.magics import SHOWN_ERRORS
from mlguard_convert.planning.draft import Draft

__all__ = ["go_on_after_errors"]


def go_on_after_errors(draft: Draft) -> None:
    """`with out:` becomes `with shown_errors(out):` for every place that the notebook gives an Output."""
    modules = {one.module.partition(".")[0] for unit in draft.units for one in unit.facts.imports}
    if "ipywidgets" not in modules:
        return
    nodes = [(at, node) for at, cell in enumerate(draft.cells) for node in ast.walk(cell.tree)]
    places = {place for _, node in nodes for place in _places(node)}
    edits: dict[int, list[tuple[ast.expr, str]]] = {}
    for at, node in nodes:
        for item in node.items if isinstance(node, ast.With) else ():
            asked = item.context_expr
            if _is_output(asked) or _place(asked) in places:
                edits.setdefault(at, []).append((asked, f"{SHOWN_ERRORS}({ast.unparse(asked)})"))
    for at, changes in edits.items():
        draft.rewrite(at, edited(draft.cells[at].source, changes))
    if edits:
        numbers = [draft.cells[at].number for at in edits]
        draft.change(
            numbers, "an error below `with` an Output is printed and ends only that block, as IPython shows it"
        )
        draft.fill()


def _places(node: ast.AST) -> Iterator[str]:
    """Where an assignment puts an Output, or something that holds some."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) or node.value is None:
        return
    if any(map(_is_output, ast.walk(node.value))):
        for target in node.targets if isinstance(node, ast.Assign) else (node.target,):
            yield _place(target)


def _is_output(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Output"


def _place(node: ast.expr) -> str:
    """ "out" of `out` and `out[0]`, ".out" of `self.out`: in another method the object has another name."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return f".{node.attr}" if isinstance(node, ast.Attribute) else ast.unparse(node)
