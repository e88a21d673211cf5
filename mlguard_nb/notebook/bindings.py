"""The names a cell may bind: remembered before an attempt, taken back after one that failed."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from types import CodeType
from typing import Any

__all__ = ["Bindings", "names_in"]

_MISSING: Any = object()
# Code that mentions one of these can bind names that it does not spell out.
_DYNAMIC = frozenset({"exec", "eval", "globals", "locals", "vars", "get_ipython", "*"})


def names_in(code: CodeType) -> tuple[str, ...]:
    """Every global name that `code`, or a function or class inside it, mentions, in that order.

    No other name can it bind by itself.
    """
    return tuple(dict.fromkeys(_names(code)))


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
        elif constant == ("*",):
            yield "*"


class Bindings:
    """What `namespace` bound the names of `code` to, at one moment. No object is copied.

    The old objects stay alive as long as this does. Where the code can bind names that it does not mention (exec,
    a star import, a magic), all names are remembered.
    """

    def __init__(self, namespace: MutableMapping[str, Any], code: CodeType) -> None:
        mentioned = names_in(code)
        self._namespace = namespace
        self._all = not _DYNAMIC.isdisjoint(mentioned)
        names = list(namespace) if self._all else mentioned
        self._before = {name: namespace.get(name, _MISSING) for name in names}

    def changed(self) -> tuple[str, ...]:
        """The names that are bound to another object than before, without those that are private."""
        names = {**self._before, **dict.fromkeys(self._namespace)} if self._all else self._before
        return tuple(
            name
            for name in names
            if not name.startswith("_")
            and self._namespace.get(name, _MISSING) is not self._before.get(name, _MISSING)
            and name in self._namespace
        )

    def keep(self, name: str, value: Any) -> None:
        """Take `name` back to `value` from now on."""
        self._before[name] = value

    def restore(self) -> bool:
        """Bind every name to what it was bound to; whether anything had to be taken back."""
        undone = False
        if self._all:
            for name in [name for name in self._namespace if name not in self._before and not _is_history(name)]:
                del self._namespace[name]
                undone = True
        for name, value in self._before.items():
            if _is_history(name) or self._namespace.get(name, _MISSING) is value:
                continue
            undone = True
            if value is _MISSING:
                self._namespace.pop(name, None)
            else:
                self._namespace[name] = value
        return undone


def _is_history(name: str) -> bool:
    """Names that IPython itself binds while a cell runs."""
    return name in ("In", "Out", "_ih", "_oh", "_dh", "_", "__", "___", "__mlguard__") or (
        name[:1] == "_" and (name[1:].isdigit() or name.startswith("_i"))
    )
