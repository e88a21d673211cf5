"""A call that ran out of memory, made again with half as much: `on_oom="halve:batch_size"`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

from mlguard_nb.errors import PolicyError

__all__ = ["check_parameter", "halved"]

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def check_parameter(function: Callable[..., Any], parameter: str) -> None:
    """PolicyError where `function` has no such parameter."""
    every = inspect.signature(function).parameters.values()
    known = [one.name for one in every if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if parameter not in known:
        raise PolicyError(
            f'retry: on_oom="halve:{parameter}" names no parameter; there are {", ".join(known) or "none"}'
        )


def halved(function: Callable[..., Any], parameter: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
    """The arguments with `parameter` halved, everything else kept; a whole number stays one.

    ValueError, which says so, where it cannot be halved any further.
    """
    bound = inspect.signature(function).bind(*args, **kwargs)
    bound.apply_defaults()
    value = bound.arguments[parameter]
    if not isinstance(value, Real) or isinstance(value, bool) or value <= 1:
        raise ValueError(f"on_oom=halve: {parameter}={value!r} cannot be halved any further")
    bound.arguments[parameter] = value // 2 if isinstance(value, Integral) else value / 2
    return bound.args, bound.kwargs
