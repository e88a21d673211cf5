"""A parameter model as options of a command line, and what was given there as the model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.pipeline.environment import FromEnvironment, is_secret_field

__all__ = ["RUN_OPTIONS", "add_options", "flag_of", "params_from"]

# The command's own options of `run`: a parameter of that name is --param-NAME.
RUN_OPTIONS = frozenset({"address", "base-dir", "engine", "help", "json-logs", "quiet", "save", "traceback"})
_PREFIX = "parameter_"


def flag_of(name: str, fields: Collection[str]) -> str:
    """The option of the parameter `name` among `fields`: --n-trees for n_trees. --param-save where the command has one
    of that name, or where it would be the --no-flag of another parameter.
    """
    dashed = name.replace("_", "-")
    is_taken = dashed.removeprefix("no-") in RUN_OPTIONS or (name.startswith("no_") and name[3:] in fields)
    return f"--param-{dashed}" if is_taken else f"--{dashed}"


def add_options(parser: argparse._ArgumentGroup, model: type[Any]) -> None:
    """One option for each field of the pydantic `model`: `n_trees` becomes --n-trees, a bool --flag and --no-flag.
    Of a secret nobody shows the default.
    """
    for name, field in model.model_fields.items():
        text = f"{field.description or ''} {_default(field)}".strip().replace("%", "%%")
        flag, target = flag_of(name, model.model_fields), _PREFIX + name
        if field.annotation is bool:
            parser.add_argument(flag, dest=target, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            parser.add_argument(
                flag, dest=target, metavar=_metavar(field.annotation), help=text, required=field.is_required()
            )


def params_from(model: type[Any], given: argparse.Namespace) -> Any:
    """The parameters: defaults, and what was given. PolicyError with one line for each option that does not fit."""
    from pydantic import ValidationError

    values = {
        name: _read(value, model.model_fields[name].annotation)
        for name in model.model_fields
        if (value := getattr(given, _PREFIX + name, None)) is not None
    }
    try:
        return model(**values)
    except ValidationError as error:
        fields = model.model_fields
        lines = [f"{flag_of(str(one['loc'][0]), fields)}: {one['msg']}" for one in error.errors() if one["loc"]]
        raise PolicyError("; ".join(lines) or str(error)) from None


def _read(value: Any, annotation: Any) -> Any:
    """Texts stay texts where the field is one; lists, mappings and fields without a type are read as JSON."""
    from pydantic import SecretStr

    if not isinstance(value, str) or annotation in (str, int, float, bool, SecretStr, SecretStr | None):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _metavar(annotation: Any) -> str:
    return {int: "INT", float: "NUMBER", str: "TEXT"}.get(annotation, "VALUE")


def _default(field: Any) -> str:
    """What the help says of a field's default."""
    if isinstance(field.default_factory, FromEnvironment):
        return f"(a secret, otherwise from {field.default_factory.variable} in the environment)"
    if is_secret_field(field):
        return "(a secret)"
    return "" if field.is_required() else f"(default: {_shown(field.get_default(call_default_factory=True))})"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else repr(value)
