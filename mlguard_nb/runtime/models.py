"""Checking scalars, containers and models with pydantic, and frames with a pandera schema where one is given."""

from __future__ import annotations

from typing import Any

from mlguard_nb.errors import Violation

__all__ = ["Model", "PanderaSchema", "is_pandera"]


class Model:
    """A type, a pydantic model or a typing construct. The adapter is built once, at the first value."""

    def __init__(self, kind: Any, coerce: bool) -> None:
        self.kind, self.coerce = kind, coerce
        self._adapter: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"kind": self.kind, "coerce": self.coerce, "_adapter": None}

    def check(self, name: str, value: Any) -> tuple[Any, list[Violation]]:
        """(the value, coerced where that is allowed, and what is wrong with it). Without `coerce` nothing is converted:
        "3" is no int, and a dict no model.
        """
        from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

        if self._adapter is None:
            try:
                self._adapter = TypeAdapter(self.kind, config=ConfigDict(arbitrary_types_allowed=True))
            except PydanticUserError:  # a model brings its own configuration
                self._adapter = TypeAdapter(self.kind)
        try:
            coerced = self._adapter.validate_python(value, strict=None if self.coerce else True)
        except ValidationError as error:
            return value, [_violation(name, problem) for problem in error.errors(include_url=False)]
        return (coerced if self.coerce else value), []


def _violation(name: str, problem: Any) -> Violation:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
    expected = problem["msg"][0].lower() + problem["msg"][1:]
    found = repr(problem.get("input"))
    return Violation(f"{name}{place}", problem["type"], expected.removeprefix("input should be "), found[:80])


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
            cases = error.failure_cases.to_dict("records")
            return value, [_case(name, case) for case in cases]
        except SchemaError as error:
            return value, [Violation(name, "pandera", str(error.schema), str(error)[:200])]
        return (checked if self.coerce else value), []


def _case(name: str, case: dict[str, Any]) -> Violation:
    column = case.get("column")
    where = f"{name}.{column}" if column is not None else name
    row = f" at row {case['index']}" if case.get("index") is not None else ""
    return Violation(where, "pandera", str(case.get("check")), f"{case.get('failure_case')}{row}")
