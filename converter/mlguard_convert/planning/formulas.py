"""Texts that are evaluated where a call stands: model formulas, `ols("y ~ np.log(x) + centred(z)", data)`, other code,
`pd.eval("price * rate")`, and queries that take variables for tables, `duckdb.sql("select * from frame")`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

from mlguard_nb.dataflow.scopes import names_with_at

__all__ = ["SQL_ENGINES", "asks_below", "code_names", "formula_names", "is_text", "may_mention", "table_names"]

# Libraries whose queries take a variable of the caller for a table: `duckdb.sql("select * from frame")`.
SQL_ENGINES = frozenset({"duckdb", "pandasql"})
_ASKING = frozenset({"execute", "query", "sql", "sqldf"})
_SCOPES = (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

_FORMULA = re.compile(r"(?:^|[\w\s)\]'\"])~\s*[\w(\[-]")
_NAME = re.compile(r"(?<![\w.'\"])[^\W\d]\w*")
_DESIGNS = frozenset({"dmatrix", "dmatrices", "from_formula", "bs", "model_matrix"})
# pandas and numexpr evaluate a text; IPython's background jobs run one.
_EVALUATORS = frozenset({"eval", "evaluate", "new"})
_TABLES = re.compile(
    r"\b(?:from|join|describe|summarize|pivot|into|table)\s+((?:\w+(?:\s+as)?(?:\s+\w+)?\s*,\s*)*\w+)", re.IGNORECASE
)
_LONGEST = 2000
# Without one of these a source holds no text that a library evaluates.
_TELLING = ("~", "@", *sorted(_DESIGNS), *(f".{name}" for name in sorted(_EVALUATORS)))


def may_mention(source: str) -> bool:
    """Whether `formula_names` can find anything in the tree of `source`."""
    return any(word in source for word in _TELLING)


def formula_names(node: ast.AST, known: Collection[str]) -> set[str]:
    """The names among `known` that formulas in `node` mention: functions, modules, variables beside the table."""
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            if "~" in one.value and len(one.value) < _LONGEST and _FORMULA.search(one.value):
                found.update(_NAME.findall(one.value))
            if "@" in one.value and len(one.value) < _LONGEST:
                found.update(names_with_at(one.value))
        elif isinstance(one, ast.Call) and one.args and isinstance(one.args[0], ast.Constant):
            name = one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")
            if name in _DESIGNS and isinstance(one.args[0].value, str):
                found.update(_NAME.findall(one.args[0].value))
            elif name in _EVALUATORS and isinstance(one.func, ast.Attribute) and isinstance(one.args[0].value, str):
                found.update(code_names(one.args[0].value, known))
    return found & set(known)


def table_names(node: ast.AST, known: Collection[str]) -> set[str]:
    """The names among `known` that stand in texts of `node` where a query names its tables."""
    texts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return {name for text in texts for listed in _TABLES.findall(text) for name in _NAME.findall(listed)} & set(known)


def is_text(node: ast.stmt) -> bool:
    """Whether what a statement assigns still is text: no call makes something else of it."""
    calls = [one.func for one in ast.walk(node) if isinstance(one, ast.Call)]
    return all(isinstance(one, ast.Attribute) and one.attr in ("dedent", "format", "strip") for one in calls)


def asks_below(node: ast.AST, *, inside: bool = False) -> bool:
    """Whether a query is asked where the engine does not see what the step sees: in a comprehension or lambda, or in a
    function that does not hold its text.
    """
    inside = inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    for one in ast.iter_child_nodes(node):
        if isinstance(one, _SCOPES) and any(_called(call) in _ASKING for call in ast.walk(one)):
            return True
        asked = one.args[:1] if isinstance(one, ast.Call) and _called(one) in _ASKING else []
        if inside and not all(isinstance(text, (ast.Constant, ast.JoinedStr)) for text in asked):
            return True
        if asks_below(one, inside=inside):
            return True
    return False


def _called(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    return getattr(function, "attr", getattr(function, "id", ""))


def code_names(text: str, known: Collection[str]) -> list[str]:
    """The names among `known` that code given as text reads, in the order of the text; none where it is no code."""
    try:
        tree = ast.parse(text.strip())
    except (SyntaxError, ValueError):
        return []
    bound = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    read = [one for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)]
    read.sort(key=lambda one: (one.lineno, one.col_offset))
    return list(dict.fromkeys(one.id for one in read if one.id in known and one.id not in bound))
