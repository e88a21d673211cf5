"""Which expressions only show a value: dropping them changes nothing that the program computes."""

from __future__ import annotations

import ast

__all__ = ["is_literal", "is_pure", "is_shown"]

_METHODS = frozenset({
    "all", "any", "agg", "aggregate", "corr", "count", "cov", "describe", "dtypes", "head", "idxmax", "idxmin",
    "isna", "isnull", "keys", "items", "values", "max", "mean", "median", "memory_usage", "min", "mode", "nlargest",
    "notna", "notnull", "nsmallest", "nunique", "quantile", "round", "std", "sum", "tail", "to_dict", "to_string",
    "tolist", "transpose", "unique", "value_counts", "var", "lower", "upper", "strip", "split", "format", "join",
    "startswith", "endswith", "get", "index", "groupby", "size", "sort_values", "sort_index", "astype", "reset_index",
    "to_frame", "pivot_table", "crosstab", "isin", "cumsum", "diff", "abs", "get_params", "select_dtypes", "copy",
    "equals", "is_integer", "most_common", "total_seconds", "isoformat", "background_gradient",
})  # fmt: skip
_FUNCTIONS = frozenset({
    "abs", "all", "any", "bool", "callable", "chr", "complex", "dict", "display", "divmod", "enumerate", "float",
    "frozenset", "getattr", "hasattr", "hash", "help", "hex", "id", "int", "isinstance", "issubclass", "len", "list",
    "max", "min", "oct", "ord", "pow", "range", "repr", "reversed", "round", "set", "slice", "sorted", "str", "sum",
    "tuple", "type", "zip", "bin", "dir", "vars", "ascii", "HTML", "Image", "IFrame", "Latex", "Math", "SVG",
    "YouTubeVideo",
})  # fmt: skip
_SAFE = (
    ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Set, ast.Dict,
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.JoinedStr, ast.FormattedValue, ast.Starred,
    ast.Lambda, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context, ast.keyword,
)  # fmt: skip


def is_pure(node: ast.AST, shadowed: frozenset[str] = frozenset()) -> bool:
    """Whether evaluating `node` changes nothing and draws no random number, as far as its text can tell.

    `shadowed` are names whose calls are not known: builtins that the notebook binds itself, modules that act.
    Shifts of two objects are a task graph's way of saying which runs first.
    """
    if isinstance(node, ast.Lambda):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.LShift, ast.RShift)):
        return (is_literal(node.left) or is_literal(node.right)) and all(
            is_pure(side, shadowed) for side in (node.left, node.right)
        )
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            known = node.func.id in _FUNCTIONS and node.func.id not in shadowed
        else:
            known = isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS
            known = known and not any(one.arg in ("inplace", "out", None) for one in node.keywords)
            known = known and is_pure(node.func.value, shadowed) if isinstance(node.func, ast.Attribute) else False
            known = known and _root_name(node.func) not in shadowed
        return known and all(is_pure(part, shadowed) for part in (*node.args, *(one.value for one in node.keywords)))
    return isinstance(node, _SAFE) and all(is_pure(child, shadowed) for child in ast.iter_child_nodes(node))


def _root_name(node: ast.AST) -> str:
    """The name at the bottom of `a.b[c].d`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def is_shown(node: ast.stmt, shadowed: frozenset[str] = frozenset()) -> bool:
    """Whether a statement is nothing but a pure expression, `pass`, or a name with a type and no value."""
    if isinstance(node, ast.Pass) or (
        isinstance(node, ast.AnnAssign) and node.value is None and isinstance(node.target, ast.Name)
    ):
        return True
    return isinstance(node, ast.Expr) and is_pure(node.value, shadowed)


def is_literal(node: ast.AST, *, mutable: bool = True) -> bool:
    """A number, string, None, or a tuple (with `mutable` also a list, set or dict) of these; also -1 and 2 ** 10."""
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, (ast.USub, ast.UAdd)) and isinstance(node.operand, ast.Constant)
    if isinstance(node, ast.BinOp):
        small = not isinstance(node.op, (ast.Pow, ast.LShift, ast.Mult)) or all(
            isinstance(side, ast.Constant) and isinstance(side.value, (int, float)) and abs(side.value) < 10_000
            for side in (node.left, node.right)
        )
        numbers = all(
            isinstance(side, (ast.BinOp, ast.UnaryOp))
            or (isinstance(side, ast.Constant) and isinstance(side.value, (int, float)))
            for side in (node.left, node.right)
        )
        return small and numbers and is_literal(node.left) and is_literal(node.right)
    if isinstance(node, ast.Tuple):
        return all(is_literal(item, mutable=mutable) for item in node.elts)
    if isinstance(node, (ast.List, ast.Set)):
        return mutable and all(is_literal(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        parts = [*node.keys, *node.values]
        return mutable and all(part is not None and is_literal(part) for part in parts)
    return False
