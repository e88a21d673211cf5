"""What a field of a policy may be: each check names the field and the allowed values, and keeps text as numbers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, ItemsView, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

from mlguard_nb.errors import PolicyError
from mlguard_nb.units import parse_duration, parse_limit

# fmt: off
__all__ = [
    "NameRef", "count", "flag", "is_number", "limit", "names", "need", "one_of", "optional", "pairs", "parsed", "plain",
    "put", "seconds",
]
# fmt: on


@dataclass(frozen=True, slots=True)
class NameRef:
    """A name written on a %%guard line (dotted names allowed), bound in the namespace when the cell runs."""

    name: str

    def __post_init__(self) -> None:
        if not self.name or not all(piece.isidentifier() for piece in self.name.split(".")):
            raise PolicyError(f"{self.name!r} is not a Python name")


def put(policy: object, field: str, value: object) -> None:
    """Set a field of a frozen policy that is being built."""
    object.__setattr__(policy, field, value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether this is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def need(holds: bool, part: str, field: str, allowed: str, found: object) -> None:
    """PolicyError with the field and the allowed values, unless it `holds`."""
    if not holds:
        raise PolicyError(f"{part}: {field} must be {allowed}, got {found!r}")


def parsed(part: str, field: str, value: object, parse: Callable[[str], Any]) -> Any:
    """Text as the number that it spells; the error names the field."""
    if not isinstance(value, str):
        return value
    try:
        return parse(value)
    except PolicyError as error:
        raise PolicyError(f"{part}: {field}: {error}") from None


def seconds(policy: object, part: str, *names: str, allow_zero: bool = False, optional: bool = False) -> None:
    """Durations may be given as text ("30s"); kept as float seconds. None only where it is `optional`."""
    for name in names:
        value = parsed(part, name, getattr(policy, name), parse_duration)
        if value is None and optional:
            continue
        low = "at least 0" if allow_zero else "above 0"
        need(
            is_number(value) and (value >= 0 if allow_zero else value > 0),
            part, name, f"a duration {low}, in seconds or as text such as '30s'", value,
        )  # fmt: skip
        put(policy, name, float(cast("float", value)))


_FEWEST_BYTES = 1024  # fewer were meant as percent, or as gigabytes


def limit(policy: object, part: str, *names: str) -> None:
    """Limits may be given as text ("12GB"); kept as a share (float) or as bytes (int)."""
    for name in names:
        value = parsed(part, name, getattr(policy, name), parse_limit)
        if value is None:
            continue
        if isinstance(value, int) and not isinstance(value, bool) and value == 1:
            value = 1.0
        if isinstance(value, int) and not isinstance(value, bool) and 1 < value < _FEWEST_BYTES:
            raise PolicyError(f"{part}: {name}={value} has no unit: write a share such as 0.8, or '{value}GB'")
        share = isinstance(value, float) and 0 < value <= 1
        count = isinstance(value, int) and not isinstance(value, bool) and value > 1
        need(share or count, part, name, "a share in (0, 1], bytes as int, or a size such as '12GB'", value)
        put(policy, name, value)


def names(policy: object, part: str, field: str) -> None:
    """Names may be given as text ("a, b"); kept as a tuple."""
    value = getattr(policy, field)
    if isinstance(value, str):
        value = [piece.strip() for piece in value.split(",") if piece.strip()]
    listed = isinstance(value, (tuple, list, set, frozenset)) and all(isinstance(name, str) for name in value)
    need(listed, part, field, "names, such as 'a, b' or ('a', 'b')", value)
    put(policy, field, tuple(value))


def one_of(policy: object, part: str, field: str, *choices: object) -> None:
    """One of a few texts, truth values or None."""
    value = getattr(policy, field)
    *most, last = [f'"{choice}"' if isinstance(choice, str) else repr(choice) for choice in choices]
    known = any(type(value) is type(choice) and value == choice for choice in choices)
    need(known, part, field, f"{', '.join(most)} or {last}", value)


def pairs(policy: object, part: str, field: str) -> None:
    """A mapping with names as keys, or its items; kept as a tuple of pairs."""
    value = getattr(policy, field)
    items = value.items() if isinstance(value, Mapping) else value
    listed = isinstance(items, (tuple, list, ItemsView)) and all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str) for pair in items
    )
    need(listed, part, field, "a mapping with names as keys", value)
    put(policy, field, tuple((name, item) for name, item in items))


def flag(policy: object, part: str, field: str) -> None:
    """True or False, and nothing that merely counts as one."""
    value = getattr(policy, field)
    need(isinstance(value, bool), part, field, "True or False", value)


def count(policy: object, part: str, field: str, allowed: str) -> None:
    """A whole number above 0."""
    value = getattr(policy, field)
    need(isinstance(value, int) and not isinstance(value, bool) and value > 0, part, field, allowed, value)


def plain(policy: object, part: str, *names: str) -> None:
    """No async function: nobody would await what it returns, and a coroutine counts as true."""
    for name in names:
        value = getattr(policy, name)
        call = getattr(type(value), "__call__", None)  # noqa: B004 - the method itself is wanted
        is_async = inspect.iscoroutinefunction(value) or inspect.iscoroutinefunction(call)
        need(not is_async, part, name, "a plain function, since nobody awaits what it returns", value)


def optional(policy: object, part: str, field: str, methods: tuple[str, ...], allowed: str) -> None:
    """None, a name to be bound later, or an object that has what is needed of it."""
    value = getattr(policy, field)
    fits = value is None or isinstance(value, NameRef) or all(callable(getattr(value, m, None)) for m in methods)
    need(fits and not isinstance(value, type), part, field, allowed, value)
