"""Which names a function, lambda or class body takes from outside, by Python's own scoping rules."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field

__all__ = [
    "FreeNames",
    "Function",
    "arguments",
    "free_names",
    "is_dynamic_call",
    "named_in_text",
    "names_with_at",
    "pattern_names",
    "target_names",
]

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_AT_NAME = re.compile(r"@([^\W\d]\w*)")
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_NESTED_DYNAMIC = {"exec": 1, "eval": 1, "globals": 0}
_TOP_DYNAMIC = {**_NESTED_DYNAMIC, "locals": 0, "vars": 0, "dir": 0}


@dataclass(frozen=True, slots=True)
class FreeNames:
    """`names` are read from outside when the function runs; `written` are declared `global` and bound by it;
    `is_dynamic`: it runs code, or reaches the namespace, that no analysis can see.
    """

    names: frozenset[str]
    written: frozenset[str] = frozenset()
    is_dynamic: bool = False


@dataclass(slots=True)
class _Scope:
    """One function's own names while it is walked; `inner` are the free names of what is nested in it."""

    bound: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    declared: set[str] = field(default_factory=set)
    outer: set[str] = field(default_factory=set)
    inner: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)
    is_dynamic: bool = False


def free_names(node: Function) -> FreeNames:
    """What `node` reads from outside when it is called. Decorators, defaults and annotations are not part of it:
    they are evaluated where the function is defined. `__class__` and the name of a recursive function count as read.
    """
    scope = _Scope(bound={argument.arg for argument in arguments(node.args)})
    for item in node.body if isinstance(node.body, list) else [node.body]:
        _walk(item, scope)
    local = scope.bound - scope.declared - scope.outer
    names = ((scope.reads | scope.inner) - local) | (scope.declared & scope.reads)
    written = scope.written | (scope.declared & scope.bound)
    return FreeNames(frozenset(names - {"__class__"}), frozenset(written), scope.is_dynamic)


def arguments(args: ast.arguments) -> list[ast.arg]:
    """Every parameter, in order of declaration."""
    stars = [one for one in (args.vararg, args.kwarg) if one is not None]
    return [*args.posonlyargs, *args.args, *args.kwonlyargs, *stars]


def outside_expressions(node: Function | ast.ClassDef) -> list[ast.expr]:
    """What is evaluated in the enclosing scope when `node` is defined: decorators, defaults, annotations, bases."""
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
    found: list[ast.expr] = [*node.args.defaults, *(one for one in node.args.kw_defaults if one is not None)]
    if not isinstance(node, ast.Lambda):
        found = [*node.decorator_list, *found]
        found += [one.annotation for one in arguments(node.args) if one.annotation is not None]
        found += [node.returns] if node.returns is not None else []
    return found


def target_names(target: ast.AST) -> set[str]:
    """The plain names that an assignment target binds."""
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def pattern_names(pattern: ast.AST) -> set[str]:
    """The names that a `case` pattern binds."""
    found: set[str] = set()
    for node in ast.walk(pattern):
        if isinstance(node, (ast.MatchAs, ast.MatchStar)) and node.name is not None:
            found.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest is not None:
            found.add(node.rest)
    return found


def named_in_text(node: ast.Call) -> frozenset[str]:
    """The variables that a query of pandas names in its text: `table.query("price > @limit")`, also in `eval`."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if called not in ("query", "eval"):
        return frozenset()
    texts = [one.value for part in (*node.args, *(one.value for one in node.keywords)) for one in ast.walk(part)
             if isinstance(one, ast.Constant) and isinstance(one.value, str)]  # fmt: skip
    return frozenset(name for text in texts for name in names_with_at(text))


def names_with_at(text: str) -> list[str]:
    """The variables that the text of a query names: `@limit`."""
    return _AT_NAME.findall(text)


def is_dynamic_call(node: ast.Call, *, nested: bool) -> bool:
    """Whether the call can reach names that no analysis sees: exec and eval without a namespace of their own,
    globals(); at the top of a cell also locals(), vars() and dir() without an argument.
    """
    table = _NESTED_DYNAMIC if nested else _TOP_DYNAMIC
    return isinstance(node.func, ast.Name) and len(node.args) + len(node.keywords) == table.get(node.func.id, -1)


def _walk(node: ast.AST, scope: _Scope) -> None:
    if isinstance(node, ast.Name):
        (scope.reads if isinstance(node.ctx, ast.Load) else scope.bound).add(node.id)
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        for outside in outside_expressions(node):
            _walk(outside, scope)
        if not isinstance(node, ast.Lambda):
            scope.bound.add(node.name)
        _absorb(free_names(node), scope)
    elif isinstance(node, ast.ClassDef):
        for outside in outside_expressions(node):
            _walk(outside, scope)
        scope.bound.add(node.name)
        _absorb(class_names(node), scope)
    elif isinstance(node, _COMPREHENSIONS):
        _comprehension(node, scope)
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        scope.bound.update((alias.asname or alias.name).partition(".")[0] for alias in node.names if alias.name != "*")
    elif isinstance(node, ast.Global):
        scope.declared.update(node.names)
    elif isinstance(node, ast.Nonlocal):
        scope.outer.update(node.names)
        scope.inner.update(node.names)
    else:
        if isinstance(node, ast.ExceptHandler) and node.name is not None:
            scope.bound.add(node.name)
        elif isinstance(node, ast.match_case):
            scope.bound.update(pattern_names(node.pattern))
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            scope.reads.add(node.target.id)
        elif isinstance(node, ast.Call):
            scope.reads |= named_in_text(node)
            scope.is_dynamic |= is_dynamic_call(node, nested=True)
        for child in ast.iter_child_nodes(node):
            if isinstance(node, ast.AnnAssign) and child is node.annotation and isinstance(node.target, ast.Name):
                continue  # annotations of local variables are never evaluated
            _walk(child, scope)


def _absorb(found: FreeNames, scope: _Scope) -> None:
    scope.inner |= found.names
    scope.written |= found.written
    scope.is_dynamic |= found.is_dynamic


def class_names(node: ast.ClassDef) -> FreeNames:
    """What the body of a class reads from outside. Names bound in the body are seen there, but not by its methods."""
    scope = _Scope()
    early: set[str] = set()
    for item in node.body:
        statement = _Scope()
        _walk(item, statement)
        early |= statement.reads - scope.bound
        scope.bound |= statement.bound - statement.declared
        scope.inner |= statement.inner
        scope.written |= statement.written | (statement.declared & statement.bound)
        scope.is_dynamic |= statement.is_dynamic
    return FreeNames(frozenset((early | scope.inner) - {"__class__"}), frozenset(scope.written), scope.is_dynamic)


def _comprehension(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp, scope: _Scope) -> None:
    inner = _Scope()
    local: set[str] = set()
    for index, generator in enumerate(node.generators):
        _walk(generator.iter, scope if index == 0 else inner)
        local |= target_names(generator.target)
        for part in (generator.target, *generator.ifs):
            _walk(part, inner)
    for part in [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]:
        _walk(part, inner)
    scope.bound |= inner.bound - local
    scope.reads |= inner.reads - local
    scope.inner |= inner.inner - local
    scope.written |= inner.written
    scope.is_dynamic |= inner.is_dynamic
