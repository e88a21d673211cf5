"""guard(...): several guards from one line, one policy or several, stacked in the one right order."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar, overload

from mlguard_nb.errors import PolicyError
from mlguard_nb.policy.binding import bind
from mlguard_nb.policy.directive import parse
from mlguard_nb.policy.values import (
    PARTS,
    CachePolicy,
    GuardPolicy,
    MemoryPolicy,
    MonitorPolicy,
    RetryPolicy,
    ValidatePolicy,
)
from mlguard_nb.runtime.options import decorate

__all__ = ["apply", "guard"]

F = TypeVar("F", bound=Callable[..., Any])

_KINDS: dict[str, type[Any]] = {
    "retry": RetryPolicy,
    "memory": MemoryPolicy,
    "cache": CachePolicy,
    "validate": ValidatePolicy,
    "monitor": MonitorPolicy,
}


def _decorator(part: str) -> Callable[..., Any]:
    """The decorator of one part. Imported when it is asked for: a line with `retry` alone costs what `retry` costs."""
    decorator: Callable[..., Any]
    if part == "monitor":
        from mlguard_nb.runtime.monitoring import monitor as decorator
    elif part == "validate":
        from mlguard_nb.runtime.validation import validate_input as decorator
    elif part == "cache":
        from mlguard_nb.runtime.caching import cache_result as decorator
    elif part == "memory":
        from mlguard_nb.runtime.memory import memory_guard as decorator
    else:
        from mlguard_nb.runtime.retrying import retry as decorator
    return decorator


def apply(policy: GuardPolicy, function: F) -> F:
    """`function` behind every part of `policy`, innermost first. NameRefs are looked up among the function's globals.

    Raises UnboundName for a name that is not there, PolicyError for a policy that does not fit the function.
    """
    target = function.__func__ if isinstance(function, (staticmethod, classmethod)) else function
    bound = bind(policy, getattr(inspect.unwrap(target), "__globals__", {}))
    guarded: Any = function
    for part in reversed(PARTS):
        value = getattr(bound, part)
        if value is not None:
            guarded = _decorator(part)(value, name=policy.name)(guarded)
    return guarded  # type: ignore[no-any-return]


@overload
def guard(policy: str | GuardPolicy, /) -> Callable[[F], F]: ...
@overload
def guard(
    *,
    name: str | None = None,
    retry: RetryPolicy | None = None,
    memory: MemoryPolicy | None = None,
    cache: CachePolicy | None = None,
    validate: ValidatePolicy | None = None,
    monitor: MonitorPolicy | None = None,
) -> Callable[[F], F]: ...
def guard(given: Any = None, /, **parts: Any) -> Any:
    """Stack guards: `guard("retry=3 mem=0.8 cache=1h")`, `guard(policy)` or `guard(retry=RetryPolicy(...), ...)`.

    The text is that of a %%guard line. All three spellings mean the same, and the order is always monitor, validate,
    cache, memory, retry, from outer to inner. Raises DirectiveError for a line that cannot be read, PolicyError
    otherwise.
    """
    policy = _policy(given, parts)
    if not policy.parts():
        raise PolicyError('guard: nothing was asked for; write for example guard("retry=3 mem=0.8")')
    return decorate(None, lambda function: apply(policy, function))


def _policy(given: Any, parts: dict[str, Any]) -> GuardPolicy:
    if isinstance(given, (str, GuardPolicy)) and parts:
        raise PolicyError("guard: give a line, a GuardPolicy or parts, not several of them")
    if isinstance(given, GuardPolicy):
        return given
    if isinstance(given, str):
        directive = parse(given)
        if directive.cell != type(directive.cell)():
            raise PolicyError(f"guard({given!r}): scope, view, overcommit and refresh are for cells only")
        return directive.policy
    if given is not None:
        hint = ': write @guard("...") with options' if callable(given) else ""
        raise PolicyError(f"guard takes a line, a GuardPolicy or parts, not {given!r}{hint}")
    for name, value in parts.items():
        if name != "name" and (name not in _KINDS or not isinstance(value, (_KINDS[name], type(None)))):
            expected = _KINDS[name].__name__ if name in _KINDS else "one of " + ", ".join(_KINDS)
            line = f"; on a line it is guard({f'{name}={value}'!r})" if isinstance(value, (int, float, str)) else ""
            raise PolicyError(f"guard: {name}={value!r} must be {expected}{line}")
    return replace(GuardPolicy(), **parts)
