"""Model formulas as text, `ols("y ~ np.log(x) + centred(z)", data)`: they are evaluated where the call stands."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

__all__ = ["formula_names"]

_FORMULA = re.compile(r"(?:^|[\w\s)\]'\"])~\s*[\w(\[-]")
_NAME = re.compile(r"(?<![\w.'\"])[^\W\d]\w*")
_DESIGNS = frozenset({"dmatrix", "dmatrices", "from_formula", "bs", "model_matrix"})
_LONGEST = 2000


def formula_names(node: ast.AST, known: Collection[str]) -> set[str]:
    """The names among `known` that formulas in `node` mention: functions, modules, variables beside the table."""
    found: set[str] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            if "~" in one.value and len(one.value) < _LONGEST and _FORMULA.search(one.value):
                found.update(_NAME.findall(one.value))
        elif isinstance(one, ast.Call) and one.args and isinstance(one.args[0], ast.Constant):
            name = one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", "")
            if name in _DESIGNS and isinstance(one.args[0].value, str):
                found.update(_NAME.findall(one.args[0].value))
    return found & set(known)
