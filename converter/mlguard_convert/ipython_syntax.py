"""A cell as plain Python: magics, shell and help lines replaced, the %%guard line read. Each cell stands alone."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlguard_convert.diagnostics import Findings
from mlguard_convert.guard_lines import GuardLines
from mlguard_convert.magics import Action, cell_magic, is_block, line_magic, shell_action
from mlguard_convert.reader import Cell
from mlguard_nb.errors import DirectiveError, MissingExtra
from mlguard_nb.policy.directive import Directive

__all__ = ["PlainCell", "edited", "plain_cell"]

_CELL_MAGIC = re.compile(r"%%([\w!]+)([^\n]*)\n?")
_BARE_COMMAND = re.compile(r"^(pip3?|conda|cd|ls|mkdir)[ \t]+(?=[\w./~-])(?![=(])", re.MULTILINE)
_HELP = re.compile(r"^\s*(?:\?{1,2}\s*[\w.*]+|[\w.*]+\?{1,2})\s*$")
_TOO_DEEP = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True, slots=True)
class PlainCell:
    """A cell ready to be analysed. `directive` is its %%guard line; `changes` are the README's lines; `requirements`
    what pip lines asked for; `shells` the names that get get_ipython() itself. `tree` holds the statements of
    `source`, in order.
    """

    cell: Cell
    source: str
    tree: ast.Module
    directive: Directive | None = None
    changes: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    shells: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The cell's number."""
        return self.cell.number

    @property
    def may_raise(self) -> bool:
        """Whether the cell is tagged raises-exception."""
        return "raises-exception" in self.cell.tags


@dataclass(slots=True)
class _Draft:
    """One cell while its syntax is replaced; `first_line` is the line of the cell that `source` begins on."""

    cell: Cell
    source: str
    findings: Findings
    first_line: int = 0
    changes: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    shells: list[str] = field(default_factory=list)
    failed: bool = False

    def take(self, action: Action, line: int) -> str | None:
        """Note what `action` asks for and return the source that stands in its place."""
        if action.refusal:
            self.refuse("magic", action.refusal, line, action.next_step)
        if action.asks_shell:  # the line itself may hold a password
            message, place = "this shell line does not run in the package", line + self.first_line
            self.findings.info("shell", self.cell.number, message, line=place, remedies=("allow_shell",))
        if action.warning:
            self.findings.warning("magic", self.cell.number, action.warning, line=line + self.first_line)
        if action.change:
            self.changes.append(action.change)
        self.needs += action.needs
        self.before += [one for one in action.before if one not in self.before]
        return action.source

    def refuse(self, code: str, message: str, line: int | None, next_step: str = "") -> None:
        """An error at `line` of the source; the cell as a whole can always be left out."""
        self.failed = True
        place = None if line is None else line + self.first_line
        self.findings.error(code, self.cell.number, message, next_step, place, ("skip_bad_cells",))


def plain_cell(cell: Cell, findings: Findings, lines: GuardLines | None = None) -> PlainCell | None:
    """The cell as plain Python; None when it cannot be converted, which `findings` then says.

    A cell tagged raises-exception that does not parse becomes an empty one: in the notebook it did nothing either.
    `lines` knows what the `%guard` lines of the cells before it have said, and learns those of this one.
    """
    draft = _Draft(cell, cell.source, findings)
    lines = lines or GuardLines()
    marked = cell.source.lstrip().startswith("%%guard")
    directive = None if marked else _directive(draft, lines)
    while match := _CELL_MAGIC.match(draft.source.lstrip("\n")):
        lead = len(draft.source) - len(draft.source.lstrip("\n"))
        body = draft.source[lead + match.end() :]
        draft.first_line += lead + 1
        if match[1] == "guard":
            directive = _directive(draft, lines, match[2].strip())
            draft.source = body
            continue
        block = _indented(body) if is_block(match[1]) else None
        replaced = draft.take(cell_magic(match[1], match[2], body, block), 0)
        if draft.failed:
            return None
        draft.source = replaced or ""
        if draft.source != body:
            break
    tree = _parsed(draft)
    if tree is None and not draft.failed and cell.tags & {"raises-exception"}:
        draft.source, tree = "", ast.Module([], [])
    if tree is None or draft.failed:
        return None
    return PlainCell(cell, draft.source, tree, directive, tuple(draft.changes), tuple(draft.needs), tuple(draft.shells))


def _directive(draft: _Draft, lines: GuardLines, text: str | None = None) -> Directive | None:
    """What guards the cell: the line `text`, None: the one of `%guard on`."""
    try:
        found = lines.for_unmarked(draft.source) if text is None else lines.read(text)
    except DirectiveError as error:
        draft.refuse("guard-line", f"%%guard {text}: {error.message}", 0, error.hint)
        return None
    for number, wrong in lines.learn(draft.cell.source):
        shown = draft.cell.source.split("\n")[number - 1].strip()
        draft.refuse("guard-line", f"{shown}: {wrong.message}", number - draft.first_line, wrong.hint)
    return found


def _parsed(draft: _Draft) -> ast.Module | None:
    """The tree of the draft's source once every bit of IPython is gone from it."""
    tree = _parse(draft.source)
    if isinstance(tree, Exception):
        draft.source = _BARE_COMMAND.sub(r"%\1 ", draft.source)
        transformed = _transformed(draft.source)
        tree = _parse(transformed) if isinstance(transformed, str) else transformed
        if not isinstance(tree, Exception) and isinstance(transformed, str):
            draft.source = transformed
    if isinstance(tree, Exception):
        if "raises-exception" not in draft.cell.tags:
            _refuse_syntax(draft, tree)
        return None
    if "get_ipython" in draft.source:
        tree = _without_ipython(draft, tree)
    if draft.before:
        draft.source = "\n".join([*draft.before, draft.source])
        draft.first_line -= len(draft.before)
        tree = ast.parse(draft.source)
    problem = _compile_error(tree)
    if problem is not None:
        if "raises-exception" not in draft.cell.tags:
            _refuse_syntax(draft, problem)
        return None
    return tree


def _parse(source: str) -> ast.Module | Exception:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except _TOO_DEEP as error:
        return error


def _indented(body: str) -> str | None:
    """The body of a cell magic as a block of plain Python: strings of several lines keep their text. None where the
    body is no Python.
    """
    text: str | Exception = body
    tree = _parse(body)
    if isinstance(tree, Exception):
        text = _transformed(body)
        tree = _parse(text) if isinstance(text, str) else text
    if isinstance(tree, Exception) or isinstance(text, Exception):
        return None
    inside = {
        line
        for node in ast.walk(tree)
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and node.end_lineno is not None
        for line in range(node.lineno + 1, node.end_lineno + 1)
    }
    lines = [
        line if number in inside or not line.strip() else f"    {line}"
        for number, line in enumerate(text.split("\n"), start=1)
    ]
    return "\n".join(lines if tree.body else [*lines, "    pass"])


def _compile_error(tree: ast.Module) -> Exception | None:
    """What the compiler has against the cell: `return`, `yield` or `break` at its top, for one."""
    body = [one for one in tree.body if not (isinstance(one, ast.ImportFrom) and one.module == "__future__")]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(ast.Module(body, []), "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except _TOO_DEEP as error:
        return error
    return None


def _refuse_syntax(draft: _Draft, error: Exception) -> None:
    reason = getattr(error, "msg", None) or (
        str(error) if isinstance(error, ValueError) else "nested too deeply to be read"
    )
    line = getattr(error, "lineno", None)
    old = re.search(r"^\s*(print|exec)\s+[^\s(=]", draft.source, re.MULTILINE)
    hint = "It looks like Python 2: convert it first." if old else "Correct it."
    draft.refuse("syntax", f"not valid Python: {reason}", line if isinstance(line, int) else None, hint)


def _transformed(source: str) -> str | Exception:
    """IPython's own reading of magics, shell lines, help and prompts."""
    try:
        from IPython.core.inputtransformer2 import TransformerManager
    except ImportError as error:
        raise MissingExtra("converting notebooks", "convert") from error
    source = "\n".join(
        "pass" if _HELP.match(line) and not line.startswith(" ") else line for line in source.split("\n")
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            manager = TransformerManager()  # type: ignore[no-untyped-call]
            return str(manager.transform_cell(source))
    except _TOO_DEEP as error:
        return error


# -- calls of get_ipython(), written by IPython's transformer or by the user

_METHODS = frozenset({
    "run_line_magic", "run_cell_magic", "magic", "system", "getoutput", "enable_matplotlib", "enable_pylab",
})  # fmt: skip


def _without_ipython(draft: _Draft, tree: ast.Module) -> ast.Module:
    edits: list[tuple[ast.expr, str]] = [(name, "get_ipython()") for name in _other_names(tree)]
    if edits:
        draft.source = edited(draft.source, edits)
        return _without_ipython(draft, ast.parse(draft.source))
    attributes = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    whole = {id(node.value): node for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in _outermost(tree):
        action = _action(node, assigned=id(node) not in whole)
        if action is None and id(node) in attributes:
            draft.refuse(
                "get-ipython", "get_ipython() is used for more than magics, and there is none outside a notebook",
                node.lineno, "Write it in Python.",
            )  # fmt: skip
            return tree
        if action is None:
            draft.findings.warning(
                "get-ipython", draft.cell.number, "get_ipython() is None outside a notebook", line=node.lineno
            )
            draft.shells += _names_given(tree, node)
            edits.append((node, "None"))
            continue
        replaced = draft.take(action, node.lineno)
        edits.append((node, replaced if replaced is not None else ("pass" if id(node) in whole else "None")))
    draft.source = edited(draft.source, edits)
    again = _parse(draft.source)
    if isinstance(again, Exception):
        _refuse_syntax(draft, again)
        return ast.Module([], [])
    if "get_ipython" in draft.source and list(_outermost(again)) and not draft.failed:
        return _without_ipython(draft, again)
    return again


def _other_names(tree: ast.AST) -> list[ast.Name]:
    """`ip` of `ip.run_line_magic("matplotlib", "inline")` below `ip = get_ipython()`."""
    nodes = list(ast.walk(tree))
    names = {name for node in nodes if _is_ipython(node) for name in _names_given(tree, node)}
    asked = [node.func.value for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
             and node.func.attr in _METHODS]  # fmt: skip
    return [node for node in asked if isinstance(node, ast.Name) and node.id in names]


def _names_given(tree: ast.AST, value: ast.AST) -> list[str]:
    """The names that some assignment gives `value` to."""
    return [
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and node.value is value
        for target in node.targets
        if isinstance(target, ast.Name)
    ]


def _outermost(tree: ast.AST) -> Iterable[ast.expr]:
    """Calls that begin with get_ipython(), each as a whole: `get_ipython().run_line_magic(...)`."""
    for child in ast.iter_child_nodes(tree):
        if (isinstance(child, ast.expr) and _is_ipython(child)) or (
            isinstance(child, ast.Call)
            and isinstance(child.func, ast.Attribute)
            and _is_ipython(child.func.value)
            and _method(child) is not None
        ):
            yield child
        else:
            yield from _outermost(child)


def _is_ipython(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "get_ipython"


def _method(node: ast.expr) -> tuple[str, list[str]] | None:
    """The method called on get_ipython() and its literal arguments."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_ipython(node.func.value)):
        return None
    texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return (node.func.attr, texts) if len(texts) == len(node.args) and node.func.attr in _METHODS else None


def _action(node: ast.expr, *, assigned: bool) -> Action | None:
    found = _method(node)
    if found is None:
        return None
    method, texts = found
    if method in ("system", "getoutput") and texts:
        return shell_action(texts[0], assigned=assigned or method == "getoutput")
    if method == "magic" and texts:
        name, _, rest = texts[0].lstrip("%").partition(" ")
        return line_magic(name, rest, assigned=assigned)
    if method == "run_line_magic" and texts:
        return line_magic(texts[0], texts[1] if len(texts) > 1 else "", assigned=assigned)
    if method == "run_cell_magic" and len(texts) == 3:
        block = _indented(texts[2]) if is_block(texts[0]) else None
        return cell_magic(texts[0], texts[1], texts[2], block)
    return Action("None" if assigned else None, f"`get_ipython().{method}(...)` dropped")


def edited(source: str, edits: Iterable[tuple[ast.expr | ast.stmt, str]]) -> str:
    """`source` with each node replaced by its text; columns count bytes, as ast does."""
    lines = source.split("\n")
    for node, text in sorted(edits, key=lambda edit: (-edit[0].lineno, -edit[0].col_offset)):
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        head = lines[first].encode()[: node.col_offset].decode()
        tail = lines[last].encode()[node.end_col_offset :].decode()
        if not head.strip() and "\n" in text.strip("\n"):
            text = text.strip("\n").replace("\n", f"\n{head}")
        lines[first : last + 1] = [head + text.strip("\n") + tail]
    return "\n".join(lines)
