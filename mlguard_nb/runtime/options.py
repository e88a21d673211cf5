"""The three spellings every decorator takes: bare, with a policy, and with the policy's fields as keywords."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from mlguard_nb.errors import PolicyError

__all__ = ["decorate", "policy_from"]

Policy = TypeVar("Policy")


def policy_from(kind: type[Policy], given: object, options: Mapping[str, Any], decorator: str) -> Policy:
    """The policy that was given, or the one that `options` spell; PolicyError names an option that does not exist."""
    if isinstance(given, kind):
        if options:
            raise PolicyError(f"{decorator}: give a {kind.__name__} or its fields, not both")
        return given
    if given is not None:
        raise PolicyError(f"{decorator} takes a function, a {kind.__name__} or keywords, not {given!r}")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            from difflib import get_close_matches

            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"
            raise PolicyError(f"{decorator}: there is no option {name!r}; {hint}")
    return kind(**options)


def decorate(given: object, apply: Callable[[Any], Any]) -> Any:
    """`apply(function)` for a bare decorator, else `apply` itself, to be called with the function."""
    is_function = callable(given) or isinstance(given, (staticmethod, classmethod))
    return apply(given) if is_function else apply
