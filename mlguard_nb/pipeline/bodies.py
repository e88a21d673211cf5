"""What goes over HTTP: a function's arguments as a pydantic model made from its schemas, its result as plain JSON."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, Literal, Optional, Union, get_type_hints

from mlguard_nb.policy.schemas import Array, Col, Frame

__all__ = ["arguments_of", "body_model", "plain"]

_KINDS: tuple[tuple[str, type], ...] = (
    ("bool", bool), ("uint", int), ("int", int), ("float", float), ("str", str), ("string", str),
)  # fmt: skip
_WORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def body_model(name: str, parameters: Mapping[str, inspect.Parameter], schemas: Mapping[str, Any]) -> type[Any]:
    """The model of a request for the function `name`: one field for each of `parameters`.

    A frame comes as rows (`[{"visits": 1}]`) or as {"columns": {"visits": [1]}}, an array as nested lists. Columns
    and their types come from the schema; its bounds are documented here and judged by the function's own guard.
    """
    from pydantic import ConfigDict, Field, create_model

    fields: dict[str, Any] = {}
    for at, (parameter, one) in enumerate(parameters.items()):
        kind = _kind(f"{name}_{parameter}", one, schemas.get(parameter))
        default = ... if one.default is one.empty else one.default
        # An alias, since a model's own field may be called neither `_x` nor `copy`.
        fields[f"argument_{at}"] = (kind, Field(default, alias=parameter, title=parameter, validate_default=False))
    made: type[Any] = create_model(f"{name}_arguments", __config__=ConfigDict(extra="forbid"), **fields)
    return made


def arguments_of(body: Any, parameters: Mapping[str, inspect.Parameter], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a request gave, as the objects that the function takes; those not given keep their default."""
    found: dict[str, Any] = {}
    for at, (name, one) in enumerate(parameters.items()):
        if f"argument_{at}" in body.model_fields_set:
            found[name] = _as_taken(getattr(body, f"argument_{at}"), _role(one, schemas.get(name)), schemas.get(name))
    return found


def plain(value: Any) -> Any:
    """Arrays, frames and series as lists and mappings, NaN as null; what JSON does not know as text."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        columns = value.to_dict(orient="list") if hasattr(value, "iloc") else value.to_dict(as_series=False)
        return {"columns": {str(name): plain(column) for name, column in columns.items()}}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _role(parameter: inspect.Parameter, schema: Any) -> str:
    """ "frame", "array" or "value"."""
    named = getattr(parameter.annotation, "__name__", str(parameter.annotation)).rpartition(".")[2]
    if isinstance(schema, Frame) or (schema is None and named == "DataFrame"):
        return "frame"
    if isinstance(schema, Array) or (schema is None and named in ("ndarray", "Series")):
        return "array"
    return "value"


def _kind(name: str, parameter: inspect.Parameter, schema: Any) -> Any:
    """The type of one field."""
    if isinstance(schema, Frame):
        return _frame_kind(name, schema)
    role = _role(parameter, schema)
    if role == "frame":
        return Union[list[dict[str, Any]], dict[Literal["columns"], dict[str, list[Any]]]]  # noqa: UP007 - 3.10
    if role == "array":
        return list[Any]
    if isinstance(schema, Col):
        return _documented(schema)
    if isinstance(schema, type) and schema in (bool, int, float, str, list, dict):
        return schema
    return parameter.annotation if parameter.annotation in (bool, int, float, str, list, dict) else Any


def _frame_kind(name: str, schema: Frame) -> Any:
    from pydantic import ConfigDict, Field, create_model

    config = ConfigDict(extra=schema.extra)  # type: ignore[typeddict-item]
    rows: dict[str, Any] = {}
    columns: dict[str, Any] = {}
    for at, (column, col) in enumerate(schema.columns):
        default = ... if col.required else None
        rows[f"column_{at}"] = (_documented(col), Field(default, alias=column, title=column))
        columns[f"column_{at}"] = (list[_documented(col)], Field(default, alias=column, title=column))  # type: ignore[misc]
    row = create_model(f"{name}_row", __config__=config, **rows)
    table = create_model(f"{name}_columns", __config__=config, **columns)
    held = create_model(f"{name}_table", __config__=ConfigDict(extra="forbid"), columns=(table, ...))
    return Union[list[row], held]  # type: ignore[valid-type]  # noqa: UP007 - 3.10


def _documented(col: Col) -> Any:
    """The type of one value of a column, its bounds as words of JSON Schema that pydantic does not judge."""
    from typing import Annotated

    from pydantic import Field

    word = col.dtype.__name__ if isinstance(col.dtype, type) else str(col.dtype or "")
    kind: Any = next((kind for start, kind in _KINDS if word.startswith(start)), Any)
    if col.nan != "reject" and kind is not Any:
        kind = Optional[kind]  # noqa: UP045 - 3.10
    extra = {_WORDS[part]: plain(getattr(col, part)) for part in _WORDS if getattr(col, part) is not None}
    if col.isin is not None:
        extra["enum"] = plain(col.isin)
    if col.seen is not None:
        extra["x-seen"] = plain(col.seen)
    return Annotated[kind, Field(json_schema_extra=extra)] if extra else kind


def _as_taken(value: Any, role: str, schema: Any) -> Any:
    if role == "frame":
        return _frame(value, schema)
    if role == "array":
        import numpy as np

        return np.asarray(value, dtype=schema.dtype if isinstance(schema, Array) else None)
    return value


def _frame(value: Any, schema: Any) -> Any:
    """A pandas frame of rows or columns, each column of the type its schema names where it can be that."""
    import pandas as pd

    if isinstance(value, list):
        rows = [row if isinstance(row, dict) else row.model_dump(by_alias=True, exclude_unset=True) for row in value]
        known = [column for column, _ in schema.columns] if isinstance(schema, Frame) else None
        frame: Any = pd.DataFrame(rows, columns=known if not rows else None)
    else:
        table = value if isinstance(value, dict) else value.model_dump(by_alias=True, exclude_unset=True)
        frame = pd.DataFrame(table["columns"])
    for column, col in schema.columns if isinstance(schema, Frame) else ():
        wanted = col.dtype if isinstance(col.dtype, str) and col.dtype not in ("date", "object") else None
        wanted = {"datetime": "datetime64[ns]", "timedelta": "timedelta64[ns]"}.get(str(wanted), wanted)
        if wanted is not None and column in frame:
            frame[column] = frame[column].astype(wanted)
    return frame


def hinted(function: Any) -> dict[str, inspect.Parameter]:
    """The parameters of `function` that a request may give, their annotations resolved where they can be."""
    try:
        hints = get_type_hints(function)
    except Exception:  # an annotation that names what is not there says nothing
        hints = {}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {
        name: one.replace(annotation=hints.get(name, Any))
        for name, one in inspect.signature(function).parameters.items()
        if one.kind not in variable
    }
