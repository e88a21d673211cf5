"""Which guards are switched off: by MLGUARD_DISABLE in the environment, or by `testing.disabled()`."""

from __future__ import annotations

import os
from collections.abc import Iterable

from mlguard_nb.errors import PolicyError

__all__ = ["DECORATORS", "Switch", "disabled", "is_production", "set_disabled", "switch"]

DECORATORS = ("retry", "validate_input", "cache_result", "memory_guard", "monitor")
_SHORT = {"validate": "validate_input", "cache": "cache_result", "memory": "memory_guard"}


def _read(text: str) -> frozenset[str]:
    names = [word.strip() for word in text.split(",") if word.strip()]
    if any(word in ("all", "1", "true") for word in names):
        return frozenset(DECORATORS)
    unknown = [word for word in names if word not in DECORATORS and word not in _SHORT]
    if unknown:
        raise PolicyError(f"MLGUARD_DISABLE: {unknown[0]!r} is not a guard; use {', '.join(DECORATORS)} or all")
    return frozenset(_SHORT.get(word, word) for word in names)


class Switch:
    """Whether one decorator is off: an attribute, since every guarded call reads it."""

    __slots__ = ("name", "off")

    def __init__(self, name: str) -> None:
        self.name, self.off = name, False

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return switch, (self.name,)  # another process has its own


_SWITCHES = {name: Switch(name) for name in DECORATORS}
_disabled: frozenset[str] | None = None


def switch(decorator: str) -> Switch:
    """The switch of one decorator, in the position that the environment or a test gave it."""
    _turn(disabled())
    return _SWITCHES[decorator]


def _turn(off: frozenset[str]) -> None:
    for name, known in _SWITCHES.items():
        known.off = name in off


def disabled() -> frozenset[str]:
    """The decorators that are off for this process."""
    global _disabled
    if _disabled is None:
        _disabled = _read(os.environ.get("MLGUARD_DISABLE", ""))
    return _disabled


def set_disabled(names: Iterable[str] | None) -> frozenset[str]:
    """Switch exactly `names` off (None: what the environment says); returns what was off before."""
    global _disabled
    before = disabled()
    _disabled = None if names is None else _read(",".join(names))
    _turn(disabled())
    return before


def is_production() -> bool:
    """Whether MLGUARD_ENV says this is production, where chaos refuses to start."""
    return os.environ.get("MLGUARD_ENV", "").lower() == "production"
