"""A policy as JSON and back: what the panel's badge and settings form read.

Types and callables travel by name (as NameRef); everything else is exact.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.policy import values
from mlguard_nb.policy.schemas import Array, Col, Frame
from mlguard_nb.policy.values import CellOptions, GuardPolicy, NameRef

__all__ = ["cell_from_json", "from_json", "to_json"]

_PARTS = {
    "retry": values.RetryPolicy,
    "memory": values.MemoryPolicy,
    "cache": values.CachePolicy,
    "validate": values.ValidatePolicy,
    "monitor": values.MonitorPolicy,
}
_FIELDS = {part: tuple(field.name for field in fields(kind)) for part, kind in _PARTS.items()}
_SIMPLE = {type(None), bool, int, float, str}
_SCHEMAS: dict[str, Any] = {"Array": Array, "Col": Col, "Frame": Frame}


def to_json(policy: GuardPolicy, cell: CellOptions | None = None) -> dict[str, Any]:
    """Plain dicts, lists, strings, numbers and None; parts that were not asked for are left out."""
    data: dict[str, Any] = {} if policy.name is None else {"name": policy.name}
    for part, value in policy.parts().items():
        found = {name: getattr(value, name) for name in _FIELDS[part]}
        data[part] = {name: item if item.__class__ in _SIMPLE else _plain(item) for name, item in found.items()}
    if cell is not None:
        data["cell"] = {field.name: getattr(cell, field.name) for field in fields(cell)}
    return data


def from_json(data: dict[str, Any]) -> GuardPolicy:
    """The policy that `to_json` wrote; PolicyError on an unknown part or field."""
    built: dict[str, Any] = {}
    for key, value in data.items():
        if key == "cell":
            continue
        if key == "name":
            built["name"] = value
            continue
        if key not in _PARTS:
            raise PolicyError(f"unknown part {key!r}: use {', '.join(_PARTS)}")
        known = _FIELDS[key]
        unknown = sorted(set(value) - set(known))
        if unknown:
            raise PolicyError(f"{key}: unknown field {unknown[0]!r}: use {', '.join(sorted(known))}")
        built[key] = _PARTS[key](**{name: _rich(item) for name, item in value.items()})
    return GuardPolicy(**built)


def cell_from_json(data: dict[str, Any]) -> CellOptions:
    """The cell options that `to_json` wrote, defaults where there are none."""
    return CellOptions(**data.get("cell", {}))


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, NameRef):
        return {"ref": value.name}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, type):
        builtin = value.__module__ == "builtins"
        return {"ref": value.__qualname__ if builtin else f"{value.__module__}.{value.__qualname__}"}
    if is_dataclass(value) and type(value).__name__ in _SCHEMAS:
        inner = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {"schema": type(value).__name__, **inner}
    if callable(value):
        return {
            "ref": getattr(value, "__qualname__", type(value).__qualname__)
            .replace("<lambda>", "lambda_")
            .replace("<locals>.", "")
        }
    return {"ref": type(value).__name__}


def _rich(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_rich(item) for item in value)
    if isinstance(value, dict):
        if "ref" in value:
            return NameRef(value["ref"])
        kind = _SCHEMAS.get(str(value.get("schema")))
        if kind is None:
            raise PolicyError(f"unknown schema {value.get('schema')!r}: use {', '.join(_SCHEMAS)}")
        inner = {name: _rich(item) for name, item in value.items() if name != "schema"}
        if kind is Frame:
            return Frame(dict(inner["columns"]), extra=inner["extra"], min_rows=inner["min_rows"])
        return kind(**inner)
    return value
