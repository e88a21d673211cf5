"""Model formulas as text, `ols("y ~ np.log(x) + centred(z)", data)`, and other code that is evaluated where a call
stands: `pd.eval("price * rate")`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

from mlguard_nb.dataflow.scopes import names_with_at

__all__ = ["code_names", "formula_names", "may_mention"]

_FORMULA = re.compile(r"(?:^|[\w\s)\]'\"])~\s*[\w(\[-]")
_NAME = re.compile(r"(?<![\w.'\"])[^\W\d]\w*")
_DESIGNS = frozenset({"dmatrix", "dmatrices", "from_formula", "bs", "model_matrix"})
# pandas and numexpr evaluate a text; IPython's background jobs run one.
_EVALUATORS = frozenset({"eval", "evaluate", "new"})
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
