"""What one cell, or one statement, reads, binds, changes and deletes."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlguard_nb.dataflow.scopes import (
    FreeNames,
    class_names,
    free_names,
    is_dynamic_call,
    named_in_text,
    outside_expressions,
    pattern_names,
    target_names,
)

__all__ = ["CellFacts", "ImportedName", "cell_facts", "combine", "statement_facts"]

_NONE: frozenset[str] = frozenset()
# Methods that change the object they are called on, in the standard library and in the libraries notebooks use most.
_MUTATORS = frozenset({
    "add", "append", "appendleft", "clear", "compile", "difference_update", "discard", "extend", "extendleft", "fill",
    "fit", "fit_transform", "insert", "intersection_update", "load_state_dict", "partial_fit", "pop", "popitem",
    "popleft", "put", "remove", "reverse", "rotate", "seed", "setdefault", "shuffle", "sort", "step", "train",
    "update", "write", "zero_grad",
})  # fmt: skip
# Context managers that swallow an exception of their body; the last one is the converter's name for our own.
_SWALLOWING = frozenset({
    "suppress", "raises", "assertRaises", "assertRaisesRegex", "ignored", "ExitStack", "shown_errors",
    "__mlguard_shown_errors__",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImportedName:
    """One name that an import binds: `import module as name`, or `from module import attribute as name`.

    `module` has leading dots where the import is relative; `attribute` None: the module itself.
    """

    name: str
    module: str
    attribute: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFacts:
    """Names are the cell's globals; what is local to a function or a comprehension does not appear.

    `bound` on some path, `definite` on every path; `assigned` the part of `bound` that plain assignment binds (no
    targets of loops, `with`, `except` or `match`, no imports, no definitions). `reads` are exposed: read before the
    cell itself has definitely bound them; `certain` the part of these that is read whatever happens; `uses` every
    read outside functions. `late_reads` are read inside functions and lambdas, when these run. `deleted` may be gone
    at the end, `maybe_deleted` of these on some paths only: others do not delete them, or bind them again. `caught`
    are the names of `except ... as name`: bound for the handler, unbound behind it. `written_globals` are bound by
    functions through `global`. `mutated` names objects that may be changed in place. `is_dynamic`: exec, eval,
    globals() and their like make the rest incomplete.
    """

    bound: frozenset[str] = _NONE
    definite: frozenset[str] = _NONE
    assigned: frozenset[str] = _NONE
    reads: frozenset[str] = _NONE
    certain: frozenset[str] = _NONE
    uses: frozenset[str] = _NONE
    late_reads: frozenset[str] = _NONE
    deleted: frozenset[str] = _NONE
    maybe_deleted: frozenset[str] = _NONE
    mutated: frozenset[str] = _NONE
    caught: frozenset[str] = _NONE
    written_globals: frozenset[str] = _NONE
    imports: tuple[ImportedName, ...] = ()
    star_imports: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    is_async: bool = False
    is_dynamic: bool = False


def cell_facts(source: str) -> CellFacts:
    """The facts of a cell of plain Python (top-level await allowed). SyntaxError where it does not parse."""
    return combine(statement_facts(statement) for statement in ast.parse(source).body)


def statement_facts(statement: ast.stmt) -> CellFacts:
    """The facts of one statement that stands at the top of a cell."""
    reader = _Reader()
    reader.visit(statement)
    return reader.facts()


def combine(parts: Iterable[CellFacts]) -> CellFacts:
    """The facts of several statements, or cells, executed one after the other."""
    parts = list(parts)
    if len(parts) == 1:
        return parts[0]
    definite, bound = set[str](), set[str]()
    reads, certain = set[str](), set[str]()
    deleted, maybe_deleted = set[str](), set[str]()
    for part in parts:
        reads |= part.reads - definite
        certain |= part.certain - bound
        definite -= part.deleted
        definite |= part.definite
        maybe_deleted |= part.bound & deleted
        maybe_deleted -= part.definite | part.deleted
        maybe_deleted |= part.maybe_deleted
        deleted -= part.definite
        deleted |= part.deleted
        bound |= part.bound

    def union(name: str) -> frozenset[str]:
        return frozenset[str]().union(*(getattr(part, name) for part in parts))

    return CellFacts(
        bound=frozenset(bound),
        definite=frozenset(definite),
        assigned=union("assigned"),
        reads=frozenset(reads),
        certain=frozenset(certain),
        uses=union("uses"),
        late_reads=union("late_reads"),
        deleted=frozenset(deleted),
        maybe_deleted=frozenset(maybe_deleted),
        mutated=union("mutated"),
        caught=union("caught"),
        written_globals=union("written_globals"),
        imports=tuple(one for part in parts for one in part.imports),
        star_imports=tuple(one for part in parts for one in part.star_imports),
        functions=tuple(one for part in parts for one in part.functions),
        classes=tuple(one for part in parts for one in part.classes),
        is_async=any(part.is_async for part in parts),
        is_dynamic=any(part.is_dynamic for part in parts),
    )


class _Reader(ast.NodeVisitor):
    """Walks one statement in the order of evaluation; `definite` holds what every path so far has bound."""

    def __init__(self) -> None:
        self.definite: set[str] = set()
        self.bound: set[str] = set()
        self.assigned: set[str] = set()
        self.exposed: set[str] = set()
        self.certain: set[str] = set()
        self.uses: set[str] = set()
        self.late: set[str] = set()
        self.deleted: set[str] = set()
        self.maybe_deleted: set[str] = set()
        self.mutated: set[str] = set()
        self.caught: set[str] = set()
        self.written: set[str] = set()
        self.imports: list[ImportedName] = []
        self.stars: list[str] = []
        self.functions: list[str] = []
        self.classes: list[str] = []
        self.is_async = self.is_dynamic = False
        self._depth = 0  # how many blocks that may not run surround this place

    def facts(self) -> CellFacts:
        return CellFacts(
            bound=frozenset(self.bound | self.written),
            definite=frozenset(self.definite),
            assigned=frozenset(self.assigned),
            reads=frozenset(self.exposed),
            certain=frozenset(self.certain),
            uses=frozenset(self.uses),
            late_reads=frozenset(self.late),
            deleted=frozenset(self.deleted - self.definite),
            maybe_deleted=frozenset(self.maybe_deleted - self.definite),
            mutated=frozenset(self.mutated),
            caught=frozenset(self.caught),
            written_globals=frozenset(self.written),
            imports=tuple(self.imports),
            star_imports=tuple(self.stars),
            functions=tuple(self.functions),
            classes=tuple(self.classes),
            is_async=self.is_async,
            is_dynamic=self.is_dynamic,
        )

    # -- names

    def _read(self, name: str) -> None:
        self.uses.add(name)
        if name not in self.definite:
            self.exposed.add(name)
            if self._depth == 0 and name not in self.bound:
                self.certain.add(name)

    def _bind(self, *names: str) -> None:
        self.maybe_deleted.update(self.deleted.intersection(names))
        self.bound.update(names)
        self.definite.update(names)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._read(node.id)
        elif isinstance(node.ctx, ast.Store):
            self._bind(node.id)
        else:
            self._read(node.id)
            self.deleted.add(node.id)
            if self._depth:
                self.maybe_deleted.add(node.id)
            self.definite.discard(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._changes(node)
        self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self._changes(node)
        self.visit(node.value)
        self.visit(node.slice)

    def _changes(self, node: ast.Attribute | ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.mutated |= _root(node)

    def visit_Call(self, node: ast.Call) -> None:
        if is_dynamic_call(node, nested=False):
            self.is_dynamic = True
        for name in named_in_text(node):
            self._read(name)
        if isinstance(node.func, ast.Attribute):
            inplace = any(one.arg == "inplace" and not _is_false(one.value) for one in node.keywords)
            if inplace or node.func.attr in _MUTATORS:
                self.mutated |= _root(node.func)
        self.generic_visit(node)

    # -- simple statements

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.assigned |= target_names(target)
            self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        if node.value is not None:
            self.visit(node.value)
            self.assigned |= target_names(node.target)
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id)
            self.visit(node.value)
            self.mutated.add(node.target.id)
            self.assigned.add(node.target.id)
            self._bind(node.target.id)
        else:
            self.visit(node.value)
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.assigned.add(node.target.id)
        self._bind(node.target.id)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            above, _, last = alias.name.rpartition(".")
            top = alias.name.partition(".")[0]
            name = alias.asname or top
            same = above and alias.asname == top  # `import a.b as a` binds b: not what `import a.b` does
            self.imports.append(ImportedName(name, above, last) if same else ImportedName(name, alias.name))
            self._bind(name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(module)
                continue
            name = alias.asname or alias.name
            self.imports.append(ImportedName(name, module, alias.name))
            self._bind(name)

    # -- blocks

    def _body(self, statements: Iterable[ast.AST]) -> None:
        for statement in statements:
            self.visit(statement)

    def _branches(self, *bodies: Sequence[ast.AST]) -> None:
        """Exactly one of `bodies` runs."""
        before, ends = set(self.definite), []
        self._depth += 1
        for body in bodies:
            self.definite = set(before)
            self._body(body)
            if not (body and isinstance(body[-1], (ast.Raise, ast.Continue, ast.Break, ast.Return))):
                ends.append(self.definite)
        self._depth -= 1
        self.definite = set.intersection(*ends) if ends else before

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches(node.body, node.orelse)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self._branches([node.body], [node.orelse])

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self._branches(node.values[1:], [])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.is_async |= isinstance(node, ast.AsyncFor)
        self.visit(node.iter)
        self._loop([node.target, *node.body], node.orelse, runs=_has_items(node.iter))

    visit_AsyncFor = visit_For  # noqa: N815

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._loop(node.body, node.orelse, runs=isinstance(node.test, ast.Constant) and bool(node.test.value))

    def _loop(self, body: Sequence[ast.AST], orelse: Sequence[ast.stmt], *, runs: bool) -> None:
        """`runs`: at least once, for sure."""
        before = set(self.definite)
        jumps = any(isinstance(node, (ast.Break, ast.Continue)) for item in body for node in ast.walk(item))
        self._depth += not runs
        self._body(body)
        if not runs or jumps:
            self.definite = before | ((self.definite & target_names(body[0])) if runs else set())
        if jumps:
            self._branches(orelse, [])
        else:
            self._body(orelse)
        self._depth -= not runs

    def visit_Try(self, node: ast.Try) -> None:
        before = set(self.definite)
        self._depth += 1
        self._body(node.body)
        ends = [self.definite]
        for handler in node.handlers:
            self.definite, outer = set(before), set(self.bound)
            if handler.type is not None:
                self.visit(handler.type)
            if handler.name is not None:
                self.caught.add(handler.name)
                self.definite.add(handler.name)
            self._body(handler.body)
            if handler.name is not None:
                self.definite.discard(handler.name)
                if handler.name not in outer:
                    self.bound.discard(handler.name)
            if not (handler.body and isinstance(handler.body[-1], (ast.Raise, ast.Continue, ast.Break))):
                ends.append(self.definite)
        self.definite = ends[0]
        self._body(node.orelse)
        self.definite = set.intersection(self.definite, *ends[1:])
        self._depth -= 1
        self._body(node.finalbody)

    visit_TryStar = visit_Try  # noqa: N815

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        self.is_async |= isinstance(node, ast.AsyncWith)
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.visit(item.optional_vars)
        if any(_swallows(item.context_expr) for item in node.items):
            self._branches(node.body, [])
        else:
            self._body(node.body)

    visit_AsyncWith = visit_With  # noqa: N815

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        last = node.cases[-1]
        catches_all = last.guard is None and isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None
        bodies: list[Sequence[ast.AST]] = [] if catches_all else [[]]
        bodies += [[case.pattern, *([case.guard] if case.guard else []), *case.body] for case in node.cases]
        self._branches(*bodies)

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar | ast.MatchMapping) -> None:
        self.generic_visit(node)
        self._bind(*pattern_names(node))

    visit_MatchStar = visit_MatchMapping = visit_MatchAs  # noqa: N815

    def visit_Await(self, node: ast.Await) -> None:
        self.is_async = True
        self.visit(node.value)

    # -- scopes of their own

    def _late(self, found: FreeNames) -> None:
        self.late |= found.names
        self.written |= found.written
        self.is_dynamic |= found.is_dynamic

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._body(outside_expressions(node))
        self._late(free_names(node))
        self.functions.append(node.name)
        self._bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._body(outside_expressions(node))
        self._late(free_names(node))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._body(outside_expressions(node))
        found = class_names(node)
        inside: set[str] = set()
        for item in node.body:
            if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                inside |= free_names(item).names
        early = _class_reads(node)
        for name in sorted(early):
            self._read(name)
        self._late(FreeNames(found.names - (early - inside) - {node.name}, found.written, found.is_dynamic))
        self.classes.append(node.name)
        self._bind(node.name)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        local: set[str] = set()
        self.visit(node.generators[0].iter)
        inner = _Reader()
        inner.definite = set(self.definite)
        for index, generator in enumerate(node.generators):
            self.is_async |= bool(generator.is_async)
            if index:
                inner.visit(generator.iter)
            local |= target_names(generator.target)
            inner.definite |= local
            inner._body([generator.target, *generator.ifs])
        inner._body([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self._depth += 1  # its parts may never run
        for name in sorted(inner.uses - local):
            self._read(name)
        self._depth -= 1
        self.late |= inner.late - local
        self.mutated |= inner.mutated - local
        self.written |= inner.written
        self.assigned |= inner.assigned - local
        self.is_async |= inner.is_async
        self.is_dynamic |= inner.is_dynamic
        self.bound |= inner.assigned - local

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _comprehension  # noqa: N815


def _class_reads(node: ast.ClassDef) -> set[str]:
    """Names that the body of the class itself reads while the class is made."""
    reader = _Reader()
    for item in node.body:
        reader.visit(item)
    return reader.exposed


def _root(node: ast.AST) -> set[str]:
    """The name at the bottom of `a.b[c].d`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _swallows(node: ast.expr) -> bool:
    """Whether a `with` on this ends quietly although its body stopped half-way."""
    func = node.func if isinstance(node, ast.Call) else node
    name = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
    return name in _SWALLOWING


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def _has_items(node: ast.expr) -> bool:
    """Whether iterating over `node` gives at least one item, as far as its text alone can tell."""
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return bool(node.elts) and not any(isinstance(item, ast.Starred) for item in node.elts)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, (str, bytes)) and bool(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id == "range":
            ends = [item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, int)]
            return len(ends) == len(node.args) and 1 <= len(ends) <= 2 and len(range(*ends)) > 0
        if node.func.id in ("enumerate", "reversed", "sorted", "list") and node.args:
            return _has_items(node.args[0])
        return node.func.id == "zip" and bool(node.args) and all(_has_items(item) for item in node.args)
    return False
