"""Functions and classes that remember: what one call leaves in them, the next one finds, also in another run."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mlguard_convert.planning.draft import Draft
from mlguard_convert.planning.looking import CHANGING, default_is_only_looked_at
from mlguard_convert.planning.purity import is_literal
from mlguard_nb.dataflow.scopes import target_names

__all__ = ["is_cached", "remembers"]

_CACHES = ("functools.cache", "functools.lru_cache")
_Def = (ast.FunctionDef, ast.AsyncFunctionDef)


def remembers(draft: Draft, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether the definition has attributes of its own that somebody sets, lists that somebody fills, a default that a
    call may change, or a cache that its name does not reach.
    """
    if any(_is_cache(draft, mark) for mark in node.decorator_list[1:]):
        return True
    functions = [one for one in (node, *getattr(node, "body", ())) if isinstance(one, _Def)]
    if any(not default_is_only_looked_at(draft, one, *default) for one in functions for default in _defaults(one)):
        return True
    users = [node, *(unit.node for unit in draft.readers.get(node.name, ()))]
    if any(_sets(user, node.name) for user in users):
        return True
    if not isinstance(node, ast.ClassDef):
        return False
    filled = {name for item in node.body for name in _mutable_names(item)}
    return _sets(node, "cls") or any(_fills(unit.node, filled) for unit in (draft.units if filled else ()))


def is_cached(draft: Draft, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether what the name means is a cache of functools around the definition."""
    return any(_is_cache(draft, mark) for mark in node.decorator_list[:1])


def _is_cache(draft: Draft, mark: ast.expr) -> bool:
    target = mark.func if isinstance(mark, ast.Call) else mark
    head, dot, rest = ast.unparse(target).partition(".")
    meant = (
        one.module if one.attribute is None else f"{one.module}.{one.attribute}"
        for one in draft.imports.values()
        if one.name == head
    )
    return any(f"{name}{dot}{rest}" in _CACHES for name in meant)


def _defaults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """The parameters whose default is a list, set or dict."""
    plain = [*node.args.posonlyargs, *node.args.args]
    pairs = [*zip(plain[len(plain) - len(node.args.defaults) :], node.args.defaults, strict=True)]
    pairs += [(one, value) for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value]
    return ((one.arg, value) for one, value in pairs if not is_literal(value, mutable=False) and is_literal(value))


def _sets(node: ast.AST, name: str) -> bool:
    """Whether `name.attribute = ...` stands in it, or the like of a class that goes by its object."""
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and not isinstance(one.ctx, ast.Load):
            holder = ast.unparse(one.value)
            if holder == name or (name == "cls" and holder in ("type(self)", "self.__class__")):
                return True
    return False


def _mutable_names(item: ast.stmt) -> Iterator[str]:
    """What the class itself binds to a list, set or dict."""
    value = item.value if isinstance(item, (ast.Assign, ast.AnnAssign)) else None
    if value is not None and is_literal(value) and not is_literal(value, mutable=False):
        yield from target_names(item)


def _fills(node: ast.AST, names: set[str]) -> bool:
    """Whether something is put into, or taken out of, an attribute of one of these names."""
    for one in ast.walk(node):
        inner = getattr(one, "value", None)
        if isinstance(one, ast.AugAssign):
            inner = one.target
        elif not (isinstance(one, ast.Subscript) and not isinstance(one.ctx, ast.Load)) and not (
            isinstance(one, ast.Attribute) and one.attr in CHANGING
        ):
            continue
        if isinstance(inner, ast.Attribute) and inner.attr in names:
            return True
    return False
