"""Checking scalars, containers and models with pydantic, and frames with a pandera schema where one is given."""

from __future__ import annotations

from types import UnionType
from typing import Any, TypeVar, get_origin

from mlguard_nb.errors import PolicyError, Violation

__all__ = ["Model", "PanderaSchema", "is_pandera"]


class Model:
    """A type, a pydantic model or a typing construct. The adapter is built once, at the first value.

    PolicyError for what is no schema at all: when it is made where that can be seen, else at the first value.
    """

    def __init__(self, kind: Any, coerce: bool, name: str) -> None:
        is_type = isinstance(kind, (type, UnionType, TypeVar)) or kind is None or get_origin(kind) is not None
        if not is_type and type(kind).__module__ not in ("typing", "typing_extensions", "pydantic.type_adapter"):
            raise PolicyError(_no_schema(name, kind))
        self.kind, self.coerce, self.name = kind, coerce, name
        self._adapter: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"kind": self.kind, "coerce": self.coerce, "name": self.name, "_adapter": None}

    def check(self, name: str, value: Any) -> tuple[Any, list[Violation]]:
        """(the value, coerced where that is allowed, and what is wrong with it). Without `coerce` nothing is converted:
        "3" is no int, and a dict no model.
        """
        from pydantic import ValidationError

        if self._adapter is None:
            self._adapter = self._built()
        try:
            coerced = self._adapter.validate_python(value, strict=None if self.coerce else True)
        except ValidationError as error:
            return value, [_violation(name, problem) for problem in error.errors(include_url=False)]
        return (coerced if self.coerce else value), []

    def _built(self) -> Any:
        from pydantic import ConfigDict, PydanticUserError, TypeAdapter
        from pydantic_core import SchemaError

        kind: Any = self.kind
        if isinstance(kind, TypeAdapter):
            return kind
        try:
            try:
                return TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
            except PydanticUserError:  # a model brings its own configuration
                return TypeAdapter(kind)
        except (PydanticUserError, SchemaError) as error:
            raise PolicyError(f"{_no_schema(self.name, self.kind)}. pydantic says: {error}") from error


def _no_schema(name: str, kind: Any) -> str:
    return (
        f"validate: the schema of {name} must be an Array, Frame, Col, type, pydantic model or pandera schema, "
        f"got {_shown(kind)}"
    )


def _shown(value: Any) -> str:
    """The value's text; that of a broken __repr__ is no reason to hide what is wrong."""
    try:
        return repr(value)[:80]
    except Exception as error:
        return f"an object of type {type(value).__name__} whose repr fails with {type(error).__name__}"


def _violation(name: str, problem: Any) -> Violation:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
    expected = problem["msg"][0].lower() + problem["msg"][1:]
    found = _shown(problem.get("input"))
    return Violation(f"{name}{place}", problem["type"], expected.removeprefix("input should be "), found)


def is_pandera(schema: object) -> bool:
    """Whether `schema` is a pandera DataFrameSchema or DataFrameModel."""
    kind = schema if isinstance(schema, type) else type(schema)
    return any(base.__module__.partition(".")[0] == "pandera" for base in kind.__mro__)


class PanderaSchema:
    """A pandera schema or model in place of a Frame; every failure case is one violation."""

    def __init__(self, schema: Any, coerce: bool) -> None:
        self.schema, self.coerce = schema, coerce

    def check(self, name: str, value: Any) -> tuple[Any, list[Violation]]:
        """(the frame, coerced where that is allowed, and what is wrong with it)."""
        from pandera.errors import SchemaError, SchemaErrors

        try:
            checked = self.schema.validate(value, lazy=True)
        except SchemaErrors as error:
            found = error.failure_cases  # a frame of the same library as the one that was checked
            cases = found.to_dicts() if hasattr(found, "to_dicts") else found.to_dict("records")
            return value, [_case(name, case) for case in cases]
        except TypeError as error:  # no frame at all
            return value, [Violation(name, "type", "a frame", f"{type(value).__name__} ({error})"[:200])]
        except SchemaError as error:
            return value, [Violation(name, "pandera", str(error.schema), str(error)[:200])]
        return (checked if self.coerce else value), []


def _case(name: str, case: dict[str, Any]) -> Violation:
    column = case.get("column")
    where = f"{name}.{column}" if column is not None else name
    row = f" at row {case['index']}" if case.get("index") is not None else ""
    return Violation(where, "pandera", str(case.get("check")), f"{case.get('failure_case')}{row}")
