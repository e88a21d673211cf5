"""Schemas of the notebook: declared in a cell, or learned by `%guard schema` and carried in its output."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from typing import Any

from mlguard_convert.plan import Schema
from mlguard_convert.planning.draft import BUILTINS, Draft
from mlguard_nb.errors import PolicyError
from mlguard_nb.policy.render import source_of
from mlguard_nb.policy.schemas import Col, Frame
from mlguard_nb.policy.values import GuardPolicy, NameRef, ValidatePolicy

__all__ = ["find_schemas", "with_known_schemas"]

_KINDS = ("Array", "Col", "Frame")


def find_schemas(draft: Draft) -> None:
    """Collect declared and learned schemas; a declared one leaves its cell."""
    ours = {one.name for one in draft.imports.values() if one.module == "mlguard_nb" and one.attribute in _KINDS}
    for unit in draft.of_fate("step"):
        node = unit.node
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
            continue
        call, name = node.value, node.targets[0].id
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ours):
            continue
        read = {one.id for one in ast.walk(call) if isinstance(one, ast.Name)}
        if read <= ours | BUILTINS and len(draft.binders[name]) == 1 and name not in draft.deleted:
            draft.schemas[name] = Schema(name, ast.get_source_segment(unit.cell.source, call) or "")
            unit.fate = "gone"
    for cell in draft.cells:
        for view in cell.cell.views:
            learned = _learned(view.get("schema"), cell.number)
            if learned is not None:
                draft.schemas[learned.name] = learned


def _learned(data: Any, cell: int) -> Schema | None:
    from mlguard_nb.policy.as_json import _rich

    if not isinstance(data, dict) or not isinstance(data.get("schema"), dict):
        return None
    try:
        value = _plain_types(_rich(data["schema"]))
        source = source_of(value)
    except (PolicyError, KeyError, TypeError, ValueError):
        return None
    name, of = str(data.get("name") or ""), str(data.get("of") or "")
    if not name.isidentifier():
        return None
    rows = f" from {data['rows']:,} rows" if isinstance(data.get("rows"), int) else ""
    note = f"Learned by `%guard schema {of}` in cell {cell}{rows}. Types and missing values reject; `seen` only warns."
    return Schema(name, source, note, of, _profile(data.get("reference")))


def _profile(data: Any) -> str:
    """The JSON of a profile that this version can read; "" without one."""
    from mlguard_nb.runtime.reference import Reference

    try:
        return Reference.from_json(json.dumps(data)).to_json() + "\n" if data else ""
    except (PolicyError, TypeError, ValueError):
        return ""


def _plain_types(value: Any) -> Any:
    """Builtin types came through JSON by name."""
    kinds = {"int": int, "float": float, "str": str, "bool": bool}
    if isinstance(value, Col):
        named = value.dtype.name if isinstance(value.dtype, NameRef) else value.dtype
        return replace(value, dtype=kinds.get(named, named) if isinstance(named, str) else named)
    if isinstance(value, Frame):
        columns = {name: _plain_types(column) for name, column in value.columns}
        return Frame(columns, extra=value.extra, min_rows=value.min_rows)
    return value


def with_known_schemas(draft: Draft, policy: GuardPolicy, names: tuple[str, ...], cell: int) -> GuardPolicy:
    """The policy with a bare `validate` spelt out for `names`, and without schemas that nobody declared or learned."""
    if policy.validate is None:
        return policy
    pairs = list(policy.validate.schemas)
    if not pairs:
        pairs = [(one.of, NameRef(one.name)) for one in draft.schemas.values() if one.of in names]
    known = []
    for parameter, schema in pairs:
        top = schema.name.partition(".")[0] if isinstance(schema, NameRef) else ""
        if top and top not in draft.module_names and top not in BUILTINS:
            draft.findings.warning(
                "unknown-schema", cell, f"the schema {top} of the guard line is not in the notebook file",
                f"Run `%guard schema {parameter} --name {top}` and save the notebook with its outputs.",
            )  # fmt: skip
        else:
            known.append((parameter, schema))
    if not known and not policy.validate.returns and not policy.validate.stats:
        return replace(policy, validate=None)
    validate = replace(policy.validate, schemas=tuple(known))
    return replace(policy, validate=_with_profile(draft, validate, names))


def _with_profile(draft: Draft, validate: ValidatePolicy, names: tuple[str, ...]) -> ValidatePolicy:
    """With the profile that was learned with the schema of the first parameter: a function is held against one."""
    checked = [pair for pair in validate.schemas if pair[0] in names] if names else list(validate.schemas[:1])
    if validate.stats is not None or not checked:
        return validate
    _, schema = min(checked, key=lambda pair: names.index(pair[0]) if names else 0)
    known = draft.schemas.get(schema.name) if isinstance(schema, NameRef) else None
    return validate if known is None or not known.profile else replace(validate, stats=NameRef(known.profile_name))
