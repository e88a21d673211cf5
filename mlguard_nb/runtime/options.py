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
        first = fields(kind)[0].name  # type: ignore[arg-type]
        plain = f"; write {decorator}({first}={given!r})" if isinstance(given, (int, float, str)) else ""
        raise PolicyError(f"{decorator} takes a function, a {kind.__name__} or keywords, not {given!r}{plain}")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            raise PolicyError(f"{decorator}: there is no option {name!r}; {_hint(name, known)}")
    return kind(**options)


def _hint(name: str, known: list[str]) -> str:
    """The next step: what a word of the %%guard line is called here, or the nearest option."""
    from difflib import get_close_matches

    from mlguard_nb.policy.options import by_word

    option = by_word().get(name)
    if option is not None and option.fields and set(option.fields) <= set(known):
        return f"what the %%guard line calls {name}= is {' and '.join(f'{field}=' for field in option.fields)} here"
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"it has {', '.join(known)}"


def decorate(given: object, apply: Callable[[Any], Any]) -> Any:
    """`apply(function)` for a bare decorator, else `apply` itself, to be called with the function."""
    is_function = callable(given) or isinstance(given, (staticmethod, classmethod))
    return apply(given) if is_function else apply
