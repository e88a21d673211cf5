"""The namespace of a step that runs code as text: a module's globals, as they were before the notebook's names."""

from __future__ import annotations

from typing import Any

__all__ = ["fresh_namespace"]

_OWN: dict[str, dict[str, Any]] = {}


def fresh_namespace(names: dict[str, Any]) -> None:
    """Take `names`, a module's globals(), back to what they were at the first call for that module.

    A step that runs code as text begins with it, so a second run finds no name that the first one left behind.
    """
    own = _OWN.setdefault(names["__name__"], dict(names))
    for name in names.keys() - own.keys():
        del names[name]
    names.update(own)
