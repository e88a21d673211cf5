"""Lists, sets and dicts that are only looked at: nothing in the notebook changes them or keeps them under another name.

Such a value may stand at module level, where it outlives a run; any other would bring what one run did into the next.
"""

from __future__ import annotations

import ast

from mlguard_convert.planning.draft import Draft
from mlguard_convert.planning.purity import is_literal

__all__ = ["CHANGING", "default_is_only_looked_at", "is_only_looked_at"]

_Def = (ast.FunctionDef, ast.AsyncFunctionDef)
CHANGING = frozenset({
    "__delitem__", "__setitem__", "add", "append", "appendleft", "clear", "difference_update", "discard", "extend",
    "insert", "intersection_update", "pop", "popitem", "put", "remove", "reverse", "setdefault", "sort",
    "symmetric_difference_update", "update",
})  # fmt: skip
_CHANGING_FUNCTIONS = frozenset({
    "heapify", "heappop", "heappush", "heappushpop", "heapreplace", "insort", "insort_left", "insort_right", "partial",
    "setattr", "shuffle",
})  # fmt: skip
# Of these the first give no item away, the second do.
_COUNTING = frozenset({
    "all", "any", "bool", "display", "hash", "id", "isinstance", "len", "print", "repr", "str", "sum", "type",
})  # fmt: skip
_LISTING = frozenset({
    "dict", "enumerate", "filter", "frozenset", "iter", "list", "map", "max", "min", "range", "reversed", "set",
    "sorted", "tuple", "zip",
})  # fmt: skip
_COUNTING_METHODS = frozenset({"count", "index", "isdisjoint", "issubset", "issuperset", "keys"})


def is_only_looked_at(draft: Draft, name: str, value: ast.expr) -> bool:
    """Whether the notebook's variable `name`, bound once to the literal `value`, stays as it is for sure."""
    look = _Look(draft)
    return all(look.at(unit.node, name, deep=_is_deep(value)) for unit in draft.readers.get(name, ()))


def default_is_only_looked_at(draft: Draft, function: ast.AST, name: str, value: ast.expr) -> bool:
    """The same of a parameter of `function` whose default is `value`."""
    return _Look(draft).at(function, name, deep=_is_deep(value))


def _is_deep(value: ast.expr) -> bool:
    """Whether it holds lists, sets or dicts itself: then its items have to be looked at too."""
    parts = [*value.keys, *value.values] if isinstance(value, ast.Dict) else getattr(value, "elts", [])
    return not all(part is not None and is_literal(part, mutable=False) for part in parts)


class _Look:
    """Every place where a name is read, and what becomes of the object there."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.foreign = {one.name for one in draft.imports.values()}
        self.foreign |= {name for block in draft.blocks for name in block.names}
        self.entered: set[tuple[int, str]] = set()

    def at(self, tree: ast.AST, name: str, *, deep: bool) -> bool:
        """Whether no place in `tree` that reads `name` changes or keeps it."""
        above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        return all(
            isinstance(node.ctx, ast.Load) and self._leaves(node, above, deep=deep)
            for node in above
            if isinstance(node, ast.Name) and node.id == name
        )

    def _leaves(self, node: ast.AST, above: dict[ast.AST, ast.AST], *, deep: bool) -> bool:
        """Whether what stands around `node` leaves its object as it is; `deep`: and its items."""
        outer = above.get(node)
        if isinstance(outer, (ast.Expr, ast.Compare, ast.FormattedValue, ast.Assert)):
            return True
        if isinstance(outer, (ast.If, ast.While)) or (isinstance(outer, ast.IfExp) and outer.test is node):
            return True
        if isinstance(outer, ast.UnaryOp):
            return isinstance(outer.op, ast.Not)
        if isinstance(outer, ast.Subscript):
            if outer.slice is node:
                return True
            return isinstance(outer.ctx, ast.Load) and (not deep or self._leaves(outer, above, deep=True))
        if isinstance(outer, ast.Attribute):
            return self._method(outer, above, deep=deep)
        if isinstance(outer, (ast.For, ast.AsyncFor, ast.comprehension)):
            return not deep
        if isinstance(outer, ast.BinOp):
            return not deep or self._leaves(outer, above, deep=True)
        if isinstance(outer, (ast.BoolOp, ast.IfExp)):
            return self._leaves(outer, above, deep=deep)
        if isinstance(outer, (ast.List, ast.Tuple, ast.Dict)):
            copied = isinstance(outer, ast.Dict) and any(
                key is None and value is node for key, value in zip(outer.keys, outer.values, strict=True)
            )
            return (copied and not deep) or self._leaves(outer, above, deep=True)
        if isinstance(outer, (ast.keyword, ast.Starred)):
            if not deep and (isinstance(outer, ast.Starred) or outer.arg is None):
                return True
            return isinstance(above.get(outer), ast.Call) and self._call(above[outer], outer, deep=deep)
        return isinstance(outer, ast.Call) and self._call(outer, node, deep=deep)

    def _method(self, attribute: ast.Attribute, above: dict[ast.AST, ast.AST], *, deep: bool) -> bool:
        """`name.items()`: a method of the object itself."""
        call = above.get(attribute)
        if not isinstance(call, ast.Call) or call.func is not attribute or attribute.attr in CHANGING:
            return False
        if not deep or attribute.attr in _COUNTING_METHODS:
            return True
        return attribute.attr == "get" and self._leaves(call, above, deep=True)

    def _call(self, call: ast.AST, argument: ast.AST, *, deep: bool) -> bool:
        """Whether what is called leaves its argument as it is: libraries do, but for those that are there to change."""
        assert isinstance(call, ast.Call)
        called = call.func
        if isinstance(called, ast.Attribute):
            return called.attr not in CHANGING | _CHANGING_FUNCTIONS | self._methods()
        if not isinstance(called, ast.Name) or called.id in _CHANGING_FUNCTIONS:
            return False
        if called.id in self.draft.binders:
            return called.id in self.foreign or self._function(call, called.id, argument, deep=deep)
        return called.id in _COUNTING or (called.id in _LISTING and not deep)

    def _methods(self) -> set[str]:
        """The methods of the notebook's own classes."""
        return {
            item.name
            for unit in self.draft.units
            if isinstance(unit.node, ast.ClassDef)
            for item in unit.node.body
            if isinstance(item, _Def)
        }

    def _function(self, call: ast.Call, name: str, argument: ast.AST, *, deep: bool) -> bool:
        """Whether a function of the notebook only looks at the parameter that the argument becomes."""
        units = self.draft.binders[name]
        node = units[0].node
        if len(units) != 1 or not isinstance(node, _Def) or node.decorator_list:
            return False
        if isinstance(argument, ast.keyword):
            parameter = argument.arg
        else:
            names = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
            place = next((at for at, one in enumerate(call.args) if one is argument), len(names))
            starred = any(isinstance(one, ast.Starred) for one in call.args)
            parameter = names[place] if place < len(names) and not starred else None
        if parameter is None:
            return False
        if (id(node), parameter) in self.entered:
            return True
        self.entered.add((id(node), parameter))
        return self.at(node, parameter, deep=deep)
