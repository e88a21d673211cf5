"""Whether a fallback can be called as the function that it stands in for is: found out at decoration."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.policy.values import NameRef

__all__ = ["check_fallback"]


def check_fallback(function: Callable[..., Any], fallback: Any, label: str, *, option: str) -> None:
    """PolicyError where `fallback`, given as `option` ("memory: fallback"), takes other arguments than `function`, or
    is a name that nobody bound. A C function that does not tell its parameters is taken as it is.
    """
    if isinstance(fallback, NameRef):
        raise PolicyError(f"{option}={fallback.name} is a name that was never bound; give the function itself")
    try:
        own, other = inspect.signature(function, follow_wrapped=False), inspect.signature(fallback)
    except (ValueError, TypeError):
        return
    kinds = [parameter.kind for parameter in own.parameters.values()]
    positional = sum(
        kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds
    )
    by_name = {name: None for name, one in own.parameters.items() if one.kind is one.KEYWORD_ONLY}
    takes_any = inspect.Parameter.VAR_POSITIONAL in kinds or inspect.Parameter.VAR_KEYWORD in kinds
    try:
        (other.bind_partial if takes_any else other.bind)(*[None] * positional, **by_name)
    except TypeError as error:
        name = getattr(fallback, "__name__", repr(fallback))
        raise PolicyError(
            f"{option} {name}{other} cannot be called as {label}{own} is: {error}. Give it the same parameters"
        ) from None
