"""Names that an expression may not even look at, if it is to change nothing: iterators, defaultdicts, objects of
classes whose operators do something; and names whose calls may do anything.
"""

from __future__ import annotations

import ast

from mlguard_convert.planning.draft import Draft
from mlguard_convert.planning.purity import is_pure

__all__ = ["acting_names", "fragile_names"]

# What these calls give is used up by reading it, or grows by it.
_MAKERS = frozenset({
    "DictReader", "accumulate", "chain", "combinations", "count", "cycle", "defaultdict", "dropwhile", "enumerate",
    "filter", "finditer", "from_iterable", "glob", "iglob", "islice", "iter", "iterdir", "iterrows", "itertuples",
    "map", "open", "pairwise", "permutations", "product", "reader", "repeat", "reversed", "rglob",
    "scandir", "starmap", "takewhile", "tee", "walk", "zip", "zip_longest",
})  # fmt: skip
_QUIET_METHODS = frozenset({
    "__bool__", "__class_getitem__", "__contains__", "__eq__", "__ge__", "__gt__", "__hash__", "__init__",
    "__init_subclass__", "__iter__", "__le__", "__len__", "__lt__", "__ne__", "__new__", "__post_init__", "__repr__",
    "__setattr__", "__setitem__", "__str__",
})  # fmt: skip
_QUIET_MODULES = frozenset({"IPython", "math", "numpy", "pandas", "polars", "scipy", "statistics"})
_QUIET_DECORATORS = frozenset({"staticmethod", "classmethod", "abstractmethod", "overload", "override", "final"})


def acting_names(draft: Draft) -> frozenset[str]:
    """Names whose calls and methods are not known: builtins that the notebook binds itself, and what it imports."""
    imported = {one.name for one in draft.imports.values() if one.module.partition(".")[0] not in _QUIET_MODULES}
    return draft.shadowed | imported


def fragile_names(draft: Draft) -> frozenset[str]:
    """The names to which some cell gives such an object. An expression that only shows one of them, whole, is pure."""
    makers = set(_MAKERS)
    for unit in draft.units:
        definition = unit.node
        if isinstance(definition, ast.FunctionDef):
            makers |= {definition.name} if _yields(definition) else set()
        elif isinstance(definition, ast.ClassDef) and not all(_is_quiet(item) for item in definition.body):
            makers.add(definition.name)
    found: set[str] = set()
    for unit in draft.units:
        for node in ast.walk(unit.node):
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)) and _makes(node.value, makers):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return frozenset(found)


def _makes(value: ast.expr | None, makers: set[str]) -> bool:
    if isinstance(value, ast.GeneratorExp):
        return True
    if not isinstance(value, ast.Call):
        return False
    name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    return name in makers


def _yields(node: ast.FunctionDef) -> bool:
    return any(isinstance(one, (ast.Yield, ast.YieldFrom)) for one in ast.walk(node))


def _is_quiet(item: ast.stmt) -> bool:
    """Whether a part of a class leaves everything as it is when attributes and operators of its objects are used."""
    if not isinstance(item, ast.FunctionDef):
        return True
    marks = {one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in item.decorator_list}
    special = item.name.startswith("__") and item.name not in _QUIET_METHODS
    if marks <= _QUIET_DECORATORS and not special:
        return True
    body = [one for one in item.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return all(isinstance(one, ast.Return) and (one.value is None or is_pure(one.value)) for one in body)
