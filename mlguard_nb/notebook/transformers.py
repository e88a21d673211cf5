"""How a %%guard cell becomes ordinary code: line 1 turns into a marker call, the rest into a loop over attempts.

Both transformers keep every line where it was typed, so tracebacks and syntax errors name the line a person sees.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mlguard_nb.errors import PolicyError

if TYPE_CHECKING:
    from mlguard_nb.policy.directive import Directive

__all__ = ["MARKER", "OWN_MAGICS", "GuardCells", "guard_line", "only_defines"]

MARKER = "__mlguard__"
# A cell that begins with one of these line magics is not guarded by `%guard on`: it would guard its own switch.
OWN_MAGICS = ("guard", "load_ext", "unload_ext", "reload_ext")
N = TypeVar("N", bound=ast.AST)
_FIRST_LINE = re.compile(r"%%guard(?![\w?])(?P<line>[^\n]*)")


def guard_line(lines: list[str]) -> list[str]:
    """Replace a first line ``%%guard ...`` by a marker call of one line; everything else is left alone.

    Pure: kernels call it twice for one cell. A cell magic on line 2 goes through IPython's own transformation.
    """
    match = _FIRST_LINE.match(lines[0]) if lines else None
    if match is None:
        return lines
    rest = lines[1:]
    if rest and rest[0].startswith("%%") and not _FIRST_LINE.match(rest[0]):
        from IPython.core.inputtransformer2 import cell_magic

        rest = cell_magic(rest)  # type: ignore[no-untyped-call]
    return [f"{MARKER}({match['line'].strip()!r})\n", *rest]


def only_defines(body: Sequence[ast.stmt]) -> bool:
    """Whether these statements define functions (and perhaps classes) and do nothing else worth trying again."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    neutral = (ast.Import, ast.ImportFrom, ast.Pass)
    texts = [item for item in body if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)]
    return any(isinstance(item, kinds[:2]) for item in body) and all(
        isinstance(item, (*kinds, *neutral)) or item in texts for item in body
    )


class GuardCells(ast.NodeTransformer):
    """The AST transformer. IPython drops a transformer that raises, so nothing here does.

    `read` parses the text of a line (DirectiveError on a bad one), `everywhere` gives the line that guards unmarked
    cells (None: none does), `interactivity` is IPython's setting for the last expression, `flags` the compiler's.
    """

    def __init__(
        self,
        read: Callable[[str], Directive],
        everywhere: Callable[[], str | None],
        interactivity: Callable[[], str],
        flags: Callable[[], int],
    ) -> None:
        self._read, self._everywhere, self._interactivity, self._flags = read, everywhere, interactivity, flags
        self._count = 0

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Guard this cell if its first statement is the marker."""
        line = _marked(node.body)
        if line is None:
            everywhere = self._everywhere()
            if everywhere is None or not node.body or _is_own_magic(node.body[0]):
                return node
            new = _New(node.body[0])
            node.body.insert(0, new.statement(new.marker(everywhere)))
            line = everywhere
        return self._guarded(node, line)

    def _guarded(self, node: ast.Module, line: str) -> ast.Module:
        marker, body = node.body[0], node.body[1:]
        try:
            directive = self._read(line)
        except PolicyError:
            node.body = [marker]  # the marker says what is wrong when it runs: once, in one line
            return node
        # The untouched body, compiled as it stands: a `break` outside a loop must stay the error that it is.
        try:
            code = compile(ast.Module(body, []), "<cell>", "exec", self._flags() | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except (SyntaxError, ValueError):
            node.body = body
            return node
        head = [item for item in body if isinstance(item, ast.ImportFrom) and item.module == "__future__"]
        body = body[len(head) :]
        if not body:
            node.body = [*head, marker]
            return node
        self._count += 1
        scope = directive.cell.scope or ("defs" if only_defines(body) else "cell")
        awaits = bool(code.co_flags & inspect.CO_COROUTINE)
        begins = _New(marker).marker(line, self._count, _defined(body))
        node.body = [*head, *_rewritten(body, begins, self._count, scope, self._interactivity(), awaits=awaits)]
        return node


def _rewritten(
    body: list[ast.stmt], begins: ast.expr, token: int, scope: str, interactivity: str, *, awaits: bool
) -> list[ast.stmt]:
    """One statement where there is a loop: IPython compiles and runs each statement of a cell by itself."""
    new = _New(body[0])
    body = _shown(body, interactivity)
    if scope in ("defs", "both"):
        for item in body:
            if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                where = _New(item.decorator_list[0] if item.decorator_list else item)
                item.decorator_list.insert(0, where.call("decorate", where.constant(token)))
    if scope == "defs":
        end = _New(body[-1])
        return [new.statement(begins), *body, end.statement(end.call("defined", end.constant(token)))]
    more: ast.expr = new.call("more_async" if awaits else "more", new.constant(token))
    loop = new.loop(new.awaited(more) if awaits else more, new.call("attempt", new.constant(token)), body)
    return [new.only_if(begins, loop)]


def _shown(body: list[ast.stmt], interactivity: str) -> list[ast.stmt]:
    """The same statements, with those that IPython would echo handed to the display hook."""

    def echo(item: ast.stmt, value: ast.expr) -> ast.stmt:
        new = _New(item)
        return new.statement(new.call("show", value))

    if interactivity == "all":
        return [echo(item, item.value) if isinstance(item, ast.Expr) else item for item in body]
    last = body[-1]
    if isinstance(last, ast.Expr) and interactivity in ("last", "last_expr", "last_expr_or_assign"):
        return [*body[:-1], echo(last, last.value)]
    if interactivity == "last_expr_or_assign":
        target = last.targets[0] if isinstance(last, ast.Assign) else getattr(last, "target", None)
        if isinstance(target, ast.Name) and isinstance(last, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
            return [*body, echo(last, _New(last).name(target.id))]
    return body


def _defined(body: Sequence[ast.stmt]) -> tuple[str, ...]:
    return tuple(item.name for item in body if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _marked(body: Sequence[ast.stmt]) -> str | None:
    """The text of the marker's line if the first statement is the marker."""
    call = body[0].value if body and isinstance(body[0], ast.Expr) else None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == MARKER):
        return None
    text = call.args[0] if len(call.args) == 1 else None
    return text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else None


def _is_own_magic(item: ast.stmt) -> bool:
    """Whether this is one of OWN_MAGICS, such as ``%guard ...``, after IPython's own transformation."""
    call = item.value if isinstance(item, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "run_line_magic"
        and bool(call.args)
        and isinstance(call.args[0], ast.Constant)
        and call.args[0].value in OWN_MAGICS
    )


class _New:
    """Makes pieces of code that stand where `item` does, which the walk over the whole tree need not find out.

    What holds no code of the user shows no fields: nobody walks into it.
    """

    def __init__(self, item: Any) -> None:
        self._at: dict[str, int] = {
            "lineno": item.lineno,
            "col_offset": item.col_offset,
            "end_lineno": item.end_lineno,
            "end_col_offset": item.end_col_offset,
        }

    def name(self, name: str) -> ast.expr:
        return ast.Name(name, ast.Load(), **self._at)

    def constant(self, value: object) -> ast.expr:
        return ast.Constant(value, **self._at)  # type: ignore[arg-type]  # a tuple of names, too

    def call(self, method: str, argument: ast.expr) -> ast.Call:
        """`__mlguard__.method(argument)`."""
        found = ast.Call(ast.Attribute(self.name(MARKER), method, ast.Load(), **self._at), [argument], [], **self._at)
        return found if method == "show" else _closed(found)

    def marker(self, *arguments: object) -> ast.expr:
        """`__mlguard__(*arguments)`, each of them a constant."""
        return _closed(ast.Call(self.name(MARKER), [self.constant(one) for one in arguments], [], **self._at))

    def statement(self, value: ast.expr) -> ast.stmt:
        return ast.Expr(value, **self._at)

    def awaited(self, value: ast.expr) -> ast.expr:
        return ast.Await(value, **self._at)

    def only_if(self, test: ast.expr, inside: ast.stmt) -> ast.stmt:
        """`if test: inside`."""
        return ast.If(test, [inside], [], **self._at)

    def loop(self, more: ast.expr, attempt: ast.expr, body: list[ast.stmt]) -> ast.stmt:
        """`while more: with attempt: body`."""
        inside = ast.With([ast.withitem(attempt)], body, None, **self._at)
        return ast.While(more, [inside], [], **self._at)


def _closed(node: N) -> N:
    """`node` without fields to a walk over the tree; it compiles as before."""
    node.__dict__["_fields"] = ()
    return node
