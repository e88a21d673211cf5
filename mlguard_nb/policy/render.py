"""A policy as Python source: the decorators that an exported function carries.

A part's main fields are always written, every other field when it differs from its default (vocabulary.md). Law:
evaluating the decorators in a namespace that binds the names they mention gives back the bound policy.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.policy.values import GuardPolicy, NameRef

__all__ = ["DECORATOR_OF", "Decorator", "decorators", "imported_names", "source_of"]

DECORATOR_OF = {
    "monitor": "monitor",
    "validate": "validate_input",
    "cache": "cache_result",
    "memory": "memory_guard",
    "retry": "retry",
}
_ALWAYS = {"retry": ("attempts",), "memory": ("ram",), "cache": ("ttl",), "validate": ("schemas",), "monitor": ()}


@dataclass(frozen=True, slots=True)
class Decorator:
    """One decorator to emit: its source without the @, and the names of the user's that it mentions."""

    part: str
    source: str
    mentions: tuple[str, ...]


def decorators(policy: GuardPolicy) -> tuple[Decorator, ...]:
    """The decorators of `policy`, outermost first, in the one canonical order.

    PolicyError where a field holds a value that source cannot spell, such as a callable that is not a NameRef.
    """
    return tuple(_decorator(policy, part, value) for part, value in policy.parts().items())


def imported_names(policy: GuardPolicy) -> tuple[str, ...]:
    """What the emitted module must import from mlguard_nb, sorted."""
    return tuple(sorted(DECORATOR_OF[part] for part in policy.parts()))


def _decorator(policy: GuardPolicy, part: str, value: Any) -> Decorator:
    arguments: list[str] = []
    mentions: list[str] = []
    if policy.name is not None and _carries_name(policy, part):
        arguments.append(f"name={source_of(policy.name)}")
    for field in fields(value):
        found = getattr(value, field.name)
        if field.name == "schemas":
            for parameter, schema in found:
                arguments.append(f"{parameter}={_source(schema, mentions)}")
        elif field.name in _ALWAYS[part] or found != field.default:
            arguments.append(f"{field.name}={_source(found, mentions)}")
    return Decorator(part, f"{DECORATOR_OF[part]}({', '.join(arguments)})", tuple(dict.fromkeys(mentions)))


def _carries_name(policy: GuardPolicy, part: str) -> bool:
    """The step's name is written once: on monitor, else on the outermost decorator."""
    return part == next(iter(policy.parts()))


def source_of(value: Any) -> str:
    """Python source of a plain value; PolicyError where there is none."""
    return _source(value, [])


def _source(value: Any, mentions: list[str]) -> str:
    if isinstance(value, NameRef):
        mentions.append(value.name.split(".")[0])
        return value.name
    if value is None or isinstance(value, (bool, int, float, str)):
        return _quoted(value) if isinstance(value, str) else repr(value)
    if isinstance(value, tuple):
        inner = [_source(item, mentions) for item in value]
        return f"({', '.join(inner)}{',' if len(inner) == 1 else ''})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_source(k, mentions)}: {_source(v, mentions)}" for k, v in value.items()) + "}"
    if isinstance(value, type) and value.__module__ == "builtins":
        return value.__name__
    if is_dataclass(value) and not isinstance(value, type):
        return _instance(value, mentions)
    raise PolicyError(f"{value!r} has no spelling in source: name it at the top of a cell and write that name")


def _instance(value: Any, mentions: list[str]) -> str:
    """A schema: the first field by place, the rest by keyword where it differs from the default."""
    arguments = []
    mentions.append(type(value).__name__)
    for field in fields(value):
        found = getattr(value, field.name)
        if field.name == "columns":
            arguments.append(_source(dict(found), mentions))
        elif type(value).__name__ == "Frame":
            if found != {"extra": "allow", "min_rows": 0}[field.name]:
                arguments.append(f"{field.name}={_source(found, mentions)}")
        elif found != field.default:
            leading = field.name in ("shape", "dtype") and not arguments and field is fields(value)[0]
            arguments.append(_source(found, mentions) if leading else f"{field.name}={_source(found, mentions)}")
    return f"{type(value).__name__}({', '.join(arguments)})"


def _quoted(text: str) -> str:
    """Double quotes where repr allows it, as formatters write them."""
    plain = repr(text)
    return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in text else plain
