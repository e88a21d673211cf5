"""Literals that need no passing: the parameters of a run, and constants bound once."""

from __future__ import annotations

import ast
import builtins
import io
import re
import tokenize
from dataclasses import replace

from mlguard_convert.package import variable_of
from mlguard_convert.plan import Constant, Param
from mlguard_convert.planning.credentials import credentials_in, is_secret_name
from mlguard_convert.planning.draft import Draft, Unit
from mlguard_convert.planning.looking import is_only_looked_at
from mlguard_convert.planning.prose import printable
from mlguard_convert.planning.purity import is_literal
from mlguard_nb.pipeline.options import flag_of

__all__ = ["find_constants", "find_params"]

_PLAIN = {"int": int, "float": float, "str": str, "bool": bool}


def find_params(draft: Draft) -> None:
    """The literals of the cells tagged `parameters` (and `injected-parameters`, whose values win) become Params.

    A name that a cell above has bound already has two values in the notebook, so it stays a variable; one that is
    bound anew after it was read is a variable from there on.
    """
    found: dict[str, Param] = {}
    above: set[str] = set()
    read: set[str] = set()
    for unit in draft.units:
        read |= unit.facts.uses | unit.facts.late_reads
        if unit.fate != "param" and not unit.cell.cell.tags & {"parameters", "injected-parameters"}:
            above |= unit.facts.bound
        if not unit.cell.cell.tags & {"parameters", "injected-parameters"} or unit.fate != "step":
            continue
        node = unit.node
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        target = node.target if isinstance(node, ast.AnnAssign) else target
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if not isinstance(target, ast.Name) or value is None or not is_literal(value) or target.id.startswith("_"):
            continue
        if hasattr(builtins, target.id) or target.id in draft.deleted or (target.id in found and target.id in read):
            continue
        if target.id in above:
            said = f"`{target.id}` is bound by a cell above the parameters, so it becomes no option"
            draft.findings.warning("parameter", unit.number, said, "Move the cell tagged parameters above it")
            continue
        if _is_of_every_model(target.id):
            said = f"`{target.id}` is what every pydantic model has already, so it becomes no option"
            draft.findings.warning("parameter", unit.number, said, "Give it another name")
            continue
        annotation = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else _type_of(value)
        if annotation not in {*_PLAIN, "list", "dict", "tuple", "set"}:
            annotation = _type_of(value)
        old = found.get(target.id)
        param = Param(
            target.id,
            ast.get_source_segment(unit.cell.source, value) or ast.unparse(value),
            annotation if old is None or old.annotation == annotation else "Any",
            _comment(unit) or (old.description if old is not None else ""),
            unit.number,
            is_secret=old is not None and old.is_secret,
        )
        found[target.id] = _with_secret(draft, node, value, param)
        unit.fate = "param"
    draft.params = list(found.values())
    cells = dict.fromkeys(param.cell for param in draft.params)
    if cells:
        draft.change(cells, "tagged `parameters`: became `Params` and the options of the command line")
    for param in draft.params:
        if param.variable:
            flag = flag_of(param.name, found)
            said = f"`{param.name}` is a secret: taken from `{param.variable}` in the environment or from `{flag}`"
            draft.change((param.cell,), f"{said}, never shown or saved")


def _with_secret(draft: Draft, node: ast.stmt, value: ast.expr, param: Param) -> Param:
    """The parameter, with what is secret about it: its value tells so, or its name does of a text or None."""
    told = bool(credentials_in(node))
    is_text = isinstance(value, ast.Constant) and isinstance(value.value, (str, type(None)))
    if not (param.is_secret or told or (is_text and is_secret_name(param.name))):
        return param
    variable = variable_of(draft.package, param.name) if is_text else ""
    return replace(param, is_secret=True, variable=variable, is_withheld=told and is_text)


def _is_of_every_model(name: str) -> bool:
    from pydantic import BaseModel

    return hasattr(BaseModel, name) or name == "model_config"


def _type_of(value: ast.expr) -> str:
    try:
        known = ast.literal_eval(value)
    except ValueError:
        return _type_of_number(value) if isinstance(value, ast.BinOp) else "Any"
    return "Any" if known is None else type(known).__name__


def _type_of_number(value: ast.BinOp) -> str:
    """Of arithmetic with literals: `10 ** 6` is an int, `1 / 3` and `1e3 * 2` are not."""
    parts = list(ast.walk(value))
    numbers = [one.value for one in parts if isinstance(one, ast.Constant)]
    whole = all(type(number) is int for number in numbers)
    return "int" if whole and not any(isinstance(one, ast.Div) for one in parts) else "float"


def find_constants(draft: Draft) -> None:
    """Names assigned exactly once, at the top of a cell, to a literal that nothing changes."""
    mutated = {name for unit in draft.units for name in unit.facts.mutated}
    guarded = {word for cell in draft.cells if cell.directive for word in re.findall(r"\w+", cell.directive.text)}
    for unit in draft.units:
        node = unit.node
        if unit.fate != "step" or unit.cell.directive is not None or unit.cell.may_raise:
            continue
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if value is None or not is_literal(value) or not targets:
            continue
        names = [name for target in targets for name in _plain_names(target)]
        if (
            not names
            or len(names) != len(unit.facts.bound)
            or not all(
                len(draft.binders[name]) == 1
                and name not in draft.deleted
                and name not in draft.caught
                and name not in draft.written
                and name not in mutated
                and name not in guarded
                and not hasattr(builtins, name)
                and not any(param.name == name for param in draft.params)
                and not any(
                    reader.position < unit.position and name in reader.facts.uses
                    for reader in draft.readers.get(name, ())
                )
                for name in names
            )
        ):
            continue
        if not is_literal(value, mutable=False) and not (
            len(targets) == 1 and isinstance(targets[0], ast.Name) and is_only_looked_at(draft, names[0], value)
        ):
            continue
        unit.fate = "constant"
        draft.constants += [Constant(name, unit.piece) for name in names]


def _plain_names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, (ast.Tuple, ast.List)) and all(isinstance(item, ast.Name) for item in target.elts):
        return [item.id for item in target.elts if isinstance(item, ast.Name)]
    return ["", ""] * 99  # not a plain target: never as many names as the statement binds


def _comment(unit: Unit) -> str:
    """The comment at the end of the statement's last line."""
    line = unit.cell.source.split("\n")[(unit.node.end_lineno or unit.node.lineno) - 1]
    try:
        for token in tokenize.generate_tokens(io.StringIO(line).readline):
            if token.type == tokenize.COMMENT:
                return printable(token.string.lstrip("# ").strip())
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return ""
    return ""
