"""IPython's memory of what cells showed: `_`, `_3` and `Out[3]` become variables; more of it is refused."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mlguard_convert.ipython_syntax import PlainCell, edited
from mlguard_convert.planning.draft import Draft
from mlguard_convert.planning.naming import free_name

__all__ = ["bind_history"]

_HISTORY = re.compile(r"(?:In|Out|_{1,3}|_i{1,3}|_[iod]h|_\d+|_i\d+)$")
# What these give is no None.
_VALUES = (
    ast.BinOp, ast.Compare, ast.JoinedStr, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp,
    ast.SetComp, ast.GeneratorExp, ast.Lambda, ast.Constant, ast.UnaryOp,
)  # fmt: skip
_NUMBERED = re.compile(r"_(\d+)$")


def bind_history(draft: Draft) -> None:
    """Let cells whose value later cells ask for by IPython's names bind it; an error names a cell that asks for what
    cannot be told from the text.
    """
    asked = {
        name
        for unit in draft.units
        for name in unit.facts.reads | unit.facts.late_reads
        if _HISTORY.match(name) and name not in draft.binders
    }
    if not asked:
        return
    shown = free_name("_shown", draft.names)
    bound: dict[int, dict[str, bool | None]] = {}  # position: the names that the cell's value gets, as in _sources
    edits: dict[int, list[tuple[ast.expr, str]]] = {}
    for position, cell in enumerate(draft.cells):
        for node, name in _asking(cell.tree, asked):
            found = list(_sources(draft, position, name))
            if not found:
                if not cell.may_raise:
                    _refuse(draft, cell, node)
                continue
            for other, is_sure in found:
                bound.setdefault(other, {})[name] = is_sure
            edits.setdefault(position, []).append((node, name))
    for position in sorted({*bound, *edits}):
        cell = draft.cells[position]
        last = cell.tree.body[-1] if position in bound else None
        changed = list(edits.get(position, []))
        source = cell.source
        if isinstance(last, ast.Expr):
            inside = [one for one in changed if one[0] in set(ast.walk(last))]
            value = ast.get_source_segment(source, last.value) or ""
            if inside:  # the value asks for history itself
                value = ast.unparse(_Renamed(inside).visit(last.value))
            changed = [one for one in changed if one not in inside]
            sure = " = ".join(name for name, is_sure in bound[position].items() if is_sure)
            text = f"{sure or shown} = {value}"
            held = sure.partition(" ")[0] or shown
            for name, is_sure in bound[position].items():
                if is_sure is None:
                    text += f'\n{name} = "" if {held} is None else {held}'
                elif not is_sure:
                    text += f"\nif {held} is not None:\n    {name} = {held}"
            changed.append((last.value, text))
        source = edited(source, changed)
        draft.rewrite(position, source)
        draft.change((cell.number,), "what the cell shows gets a name, since a later cell asks IPython for it")
    draft.fill()


class _Renamed(ast.NodeTransformer):
    def __init__(self, edits: list[tuple[ast.expr, str]]) -> None:
        self.names = {id(node): name for node, name in edits}

    def visit(self, node: ast.AST) -> ast.AST:
        name = self.names.get(id(node))
        return self.generic_visit(node) if name is None else ast.Name(name, ast.Load())


def _asking(tree: ast.Module, asked: set[str]) -> Iterator[tuple[ast.expr, str]]:
    """Each expression that asks, and the variable that stands for its value; `Out[3]` is `_3`."""
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Out":
            if "Out" in asked and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, int):
                inner.add(id(node.value))
                yield node, f"_{node.slice.value}"
        elif isinstance(node, ast.Name) and node.id in asked and id(node) not in inner:
            yield node, node.id


def _sources(draft: Draft, position: int, name: str) -> Iterator[tuple[int, bool | None]]:
    """The cells whose value `name` may mean in the cell at `position`, and whether that is no None for sure; None:
    it may be, and no cell before it has shown anything, so that the name is an empty text.
    """
    numbered = _NUMBERED.match(name)
    if numbered:
        ran = [at for at, cell in enumerate(draft.cells) if cell.cell.source.strip()]
        count = int(numbered[1])
        if 1 <= count <= len(ran) and ran[count - 1] < position and _shows(draft.cells[ran[count - 1]]):
            yield ran[count - 1], True
    if name != "_":
        return
    found: list[tuple[int, bool | None]] = []
    for other in range(position - 1, -1, -1):
        if not _shows(draft.cells[other]):
            continue
        last = draft.cells[other].tree.body[-1]
        assert isinstance(last, ast.Expr)
        if isinstance(last.value, _VALUES):
            yield from [*found, (other, True)]
            return
        found.append((other, False))
    yield from found[:-1]
    if found:
        yield found[-1][0], None


def _shows(cell: PlainCell) -> bool:
    """Whether IPython shows, and so remembers, what the last statement of the cell gives."""
    last = cell.tree.body[-1] if cell.tree.body else None
    if not isinstance(last, ast.Expr) or cell.may_raise or cell.cell.source.rstrip().endswith(";"):
        return False
    called = last.value.func if isinstance(last.value, ast.Call) else None
    is_none = isinstance(last.value, ast.Constant) and last.value.value is None
    return not is_none and getattr(called, "id", "") not in ("print", "display")


def _refuse(draft: Draft, cell: PlainCell, node: ast.expr) -> None:
    draft.findings.error(
        "history", cell.number, f"{ast.unparse(node)} is IPython's own history: a package has none",
        "Give the value a name in its own cell.", line=node.lineno,
    )  # fmt: skip
