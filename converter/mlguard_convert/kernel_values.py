"""Inside the notebook's kernel: every name that the notebook has ended with, written down as plain data."""

from __future__ import annotations

import ast
import pickle
import sys
from collections.abc import Sequence
from typing import Any

from mlguard_nb.pipeline.replaying import final_names

__all__ = ["dump", "show_nothing"]


def dump(
    shell: Any, path: str, own: Sequence[str], stars: Sequence[str], single: Sequence[tuple[str, str, str]]
) -> None:
    """Pickle the values of the shell's namespace to `path`.

    What IPython itself puts there is left out, as are names that start with an underscore and those that still are
    what an import brought (`stars` are modules, `single` has name, module and attribute): no values of the notebook.
    """
    hidden = {name for name in shell.user_ns_hidden if name not in shell.user_ns or _is_ipythons(shell, name)}
    given = [vars(sys.modules[name]) for name in stars if name in sys.modules]
    imported = {name for star in given for name, value in star.items() if shell.user_ns.get(name) is value}
    for name, module, attribute in single:
        if name in shell.user_ns and getattr(sys.modules.get(module), attribute, shell) is shell.user_ns[name]:
            imported.add(name)
    names = {name: value for name, value in shell.user_ns.items() if name not in hidden | imported}
    with open(path, "wb") as file:
        pickle.dump(final_names(names, tuple(own)), file, protocol=5)


def show_nothing(shell: Any) -> None:
    """From here on no object is asked how it wants to be shown, and lines that only look at a part of one do nothing:
    either may change it, as it may keep what it was asked for.
    """
    shell.display_formatter.format = lambda value, **options: ({"text/plain": ""}, {})
    shell.ast_transformers.append(_LooksAtNothing())


class _LooksAtNothing(ast.NodeTransformer):
    """`model.shape` and `rows[0].name`, as whole lines of a cell, become `pass`; what is in a block stays."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        looks = (ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Constant, ast.Tuple, ast.expr_context)
        for place, statement in enumerate(node.body):
            if isinstance(statement, ast.Expr) and all(isinstance(one, looks) for one in ast.walk(statement.value)):
                node.body[place] = ast.copy_location(ast.Pass(), statement)
        return node


def _is_ipythons(shell: Any, name: str) -> bool:
    """Whether the name still is what IPython put there; `open = 3` makes it the notebook's."""
    value = shell.user_ns[name]
    return value is shell.user_ns_hidden[name] or type(value).__module__.partition(".")[0] in ("IPython", "ipykernel")
