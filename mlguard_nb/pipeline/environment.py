"""Parameters that hold a secret: where their values come from, and what must not be shown or written of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.telemetry.redaction import REDACTED

__all__ = ["FromEnvironment", "holds_secret", "is_secret_field", "secret_texts", "value_of", "without_secrets"]


@dataclass(frozen=True, slots=True)
class FromEnvironment:
    """The default of a secret parameter (`Field(default_factory=FromEnvironment("CHURN_API_KEY"))`): what the
    environment variable holds, else `default`; PolicyError without either. An empty variable counts as unset.
    """

    variable: str
    default: str | EllipsisType | None = ...

    def __call__(self) -> Any:
        """The value as a SecretStr, or None."""
        from pydantic import SecretStr

        value = os.environ.get(self.variable) or self.default
        if isinstance(value, EllipsisType):
            raise PolicyError(f"{self.variable} is not set in the environment, and the parameter was not given either")
        return None if value is None else SecretStr(value)


def is_secret_field(field: Any) -> bool:
    """Whether a field of a pydantic model is a secret: by its default, of which nothing is to be told."""
    return isinstance(field.default_factory, FromEnvironment) or _is_secret(field.default)


def value_of(value: Any) -> Any:
    """The value itself, where it is hidden in pydantic's SecretStr or Secret."""
    return value.get_secret_value() if _is_secret(value) else value


def secret_texts(values: Mapping[str, Any]) -> frozenset[str]:
    """The texts inside those of the values that are secrets; none so short that other texts hold them by chance."""
    found = (text for value in values.values() if _is_secret(value) for text in _texts(value_of(value)))
    return frozenset(text for text in found if len(text) >= 6)


def holds_secret(value: Any, secrets: frozenset[str]) -> bool:
    """Whether a value is a secret, or plain data in which one of the texts stands."""
    return _is_secret(value) or any(secret in text for text in (_texts(value) if secrets else ()) for secret in secrets)


def without_secrets(text: str, secrets: frozenset[str]) -> str:
    """A text in which none of the secret ones stands."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


def _is_secret(value: Any) -> bool:
    return hasattr(type(value), "get_secret_value")


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain data: in lists, tuples, sets and mappings of them too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _texts(item)
