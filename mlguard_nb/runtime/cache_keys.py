"""The key of a call: for each argument its type and its value, or a digest where it is no plain value.

The source that builds it is part of the generated wrapper, so that a call with plain arguments packs nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import xxhash

from mlguard_nb.errors import PolicyError
from mlguard_nb.policy.values import CachePolicy
from mlguard_nb.runtime import fingerprint

__all__ = ["PLAIN", "KeyMaker", "settled"]

# Values that are their own key. str leaves this set where files are watched.
PLAIN: frozenset[type] = frozenset({int, bool, float, str, bytes, type(None)})
_NUMBERS = "?bBhHiIlLqQpPefdFD"
_digest = xxhash.xxh3_128_digest


class KeyMaker:
    """Decides which parameters of `function` count, writes the source of its keys, and makes keys out of line.

    `instance` gives a number for an object that counts by identity: a method's `self`, which is left out of the
    content, so that two objects still never share a result. None where keys must mean the same in another process.
    """

    def __init__(self, function: Any, policy: CachePolicy, instance: Callable[[Any], int] | None) -> None:
        self.policy, self.instance = policy, instance
        self.signature = _signature(function)
        self.plain = PLAIN - {str} if policy.watch_files else PLAIN
        self.chosen = self._choose(getattr(function, "__qualname__", "the function"))

    def _choose(self, label: str) -> tuple[inspect.Parameter, ...]:
        parameters = list(self.signature.parameters.values())
        known = {parameter.name for parameter in parameters}
        named = self.policy.key if isinstance(self.policy.key, tuple) else ()
        for name in (*named, *(name for name in self.policy.ignore if name != "self")):
            if name not in known:
                raise PolicyError(
                    f"cache: {label} has no parameter {name!r}; it has {', '.join(sorted(known)) or 'none'}"
                )
        if named:
            return tuple(parameter for parameter in parameters if parameter.name in named)
        owner = parameters[0].name if parameters and parameters[0].name == "self" else None
        return tuple(p for p in parameters if p.name == owner or p.name not in self.policy.ignore)

    @functools.cached_property
    def meaning(self) -> Any:
        """What a key is a key of: another choice of arguments makes keys that look alike and mean something else."""
        if callable(self.policy.key):
            return fingerprint.code_of(self.policy.key)
        return tuple(parameter.name for parameter in self.chosen)

    def is_instance(self, parameter: inspect.Parameter) -> bool:
        """Whether this parameter counts by identity."""
        return parameter.name == "self" and "self" in self.policy.ignore and self.instance is not None

    def source(self) -> str:
        """An expression that is the key, over the wrapper's own parameters."""
        if callable(self.policy.key):
            return "_mlguard_guard.keys.custom(<args>, <kwargs>)"
        parts = []
        for parameter in self.chosen:
            name = parameter.name
            if self.is_instance(parameter):
                parts.append(f"'object', _mlguard_guard.keys.instance({name})")
            elif parameter.kind is parameter.VAR_POSITIONAL:
                parts.append(f"'tuple', _mlguard_guard.keys.several({name})")
            elif parameter.kind is parameter.VAR_KEYWORD:
                parts.append(f"'dict', _mlguard_guard.keys.named({name})")
            else:
                plain = f"{name} if {name}.__class__ in _mlguard_plain else _mlguard_guard.keys.mark({name}, {name!r})"
                parts.append(f"{name}.__class__, {plain}")
        return f"({', '.join(parts)}{',' if parts else ''})"

    def settled_source(self) -> str:
        """An expression that says whether `_mlguard_key` is the one under which a result is kept; see `settled`."""
        count = 1 if callable(self.policy.key) else len(self.chosen)
        no_floats = " and ".join(f"_mlguard_key[{2 * place}] is not _mlguard_float" for place in range(count))
        return f"({no_floats or True}) or _mlguard_settled(_mlguard_key) is _mlguard_key"

    def of_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """The key that the generated source would make for this call."""
        if callable(self.policy.key):
            return self.custom(args, kwargs)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        parts: list[Any] = []
        for parameter in self.chosen:
            value = bound.arguments[parameter.name]
            if self.is_instance(parameter):
                assert self.instance is not None
                parts += ("object", self.instance(value))
            elif parameter.kind is parameter.VAR_POSITIONAL:
                parts += ("tuple", self.several(value))
            elif parameter.kind is parameter.VAR_KEYWORD:
                parts += ("dict", self.named(value))
            else:
                parts += (type(value), value if type(value) in self.plain else self.mark(value, parameter.name))
        return tuple(parts)

    def custom(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """What the user's own function says counts."""
        assert callable(self.policy.key)
        value = self.policy.key(*args, **kwargs)
        return type(value), value if type(value) in self.plain else self.mark(value, "what key= returned")

    def mark(self, value: Any, name: str) -> Any:
        """What stands for a value that is not plain; PolicyError where its content cannot be read."""
        if _is_array(value.__class__) and (dtype := value.dtype).char in _NUMBERS:
            flags = value.flags
            try:
                if flags.c_contiguous:
                    return dtype, value.shape, _digest(value)
                if not flags.f_contiguous:
                    return dtype, value.shape, _digest(value.copy(order="C"))
            except TypeError:  # CuPy's class has the same name, and its memory is the GPU's
                pass
        return fingerprint.of(value, name=f"the argument {name!r}", watch_files=self.policy.watch_files)

    def several(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """What stands for the extra positional arguments."""
        parts: list[Any] = []
        for place, value in enumerate(values):
            parts += (type(value), value if type(value) in self.plain else self.mark(value, f"*args[{place}]"))
        return settled(tuple(parts))

    def named(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """What stands for the extra keyword arguments, in whatever order they came."""
        parts: list[Any] = []
        for name, value in sorted(values.items()):
            parts += (name, type(value), value if type(value) in self.plain else self.mark(value, name))
        return tuple(parts) if float not in parts else (fingerprint.of(tuple(parts)),)


@functools.lru_cache(maxsize=64)  # a class makes its name anew each time
def _is_array(kind: type) -> bool:
    return kind.__name__ == "ndarray"


def _signature(function: Any) -> inspect.Signature:
    try:
        return inspect.signature(function, follow_wrapped=False)
    except (ValueError, TypeError):  # C functions that do not tell: the wrapper has the same two parameters
        kinds = (("args", inspect.Parameter.VAR_POSITIONAL), ("kwargs", inspect.Parameter.VAR_KEYWORD))
        return inspect.Signature([inspect.Parameter(name, kind) for name, kind in kinds])


def settled(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key under which a result is kept. 0.0 equals -0.0 and NaN does not equal itself, so both are spelt out."""
    odd = [at + 1 for at in range(0, len(key), 2) if key[at] is float and _is_odd(key[at + 1])]
    if not odd:
        return key
    parts = list(key)
    for at in odd:
        parts[at] = ("float", key[at].hex())
    return tuple(parts)


def _is_odd(number: float) -> bool:
    return number == 0 or number != number
