"""Bind the names a policy mentions to the objects of a namespace, just before it is used."""

from __future__ import annotations

import builtins
import difflib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from mlguard_nb.errors import PolicyError, UnboundName
from mlguard_nb.policy.values import GuardPolicy, NameRef

__all__ = ["bind", "lookup"]


def lookup(reference: NameRef, namespace: Mapping[str, Any], role: str) -> Any:
    """The object `reference` names in `namespace` or the builtins; UnboundName with the nearest name otherwise."""
    first, *rest = reference.name.split(".")
    if first in namespace:
        found = namespace[first]
    elif hasattr(builtins, first):
        found = getattr(builtins, first)
    else:
        own = [name for name in namespace if not name.startswith("_") and not hasattr(builtins, name)]
        close = difflib.get_close_matches(first, own, n=1)
        raise UnboundName(reference.name, role, close[0] if close else None)
    for piece in rest:
        if not hasattr(found, piece):
            raise UnboundName(reference.name, role, None)
        found = getattr(found, piece)
    return found


def bind(policy: GuardPolicy, namespace: Mapping[str, Any]) -> GuardPolicy:
    """The same policy with every NameRef replaced by its object.

    Raises UnboundName for a name that is not there and PolicyError for one of the wrong kind (a fallback that cannot
    be called, an `on` that is no exception).
    """
    if not policy.references():
        return policy
    bound: dict[str, Any] = {}
    for part, value in policy.parts().items():
        changes: dict[str, Any] = {}
        for field in fields(value):
            found = getattr(value, field.name)
            role = {"schemas": "validate", "on_oom": "oom"}.get(field.name, field.name)
            new = _bound(found, namespace, role)
            if new is not found:
                changes[field.name] = new
        if "on" in changes:
            changes["on"] = _exceptions(changes["on"])
        bound[part] = replace(value, **changes) if changes else value
    return replace(policy, **bound)


def _bound(value: Any, namespace: Mapping[str, Any], role: str) -> Any:
    if isinstance(value, NameRef):
        return lookup(value, namespace, role)
    if isinstance(value, tuple):
        items = tuple(_bound(item, namespace, role) for item in value)
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value


def _exceptions(on: Any) -> Any:
    """A name may stand for a type, a tuple of types, or (alone) for a predicate."""
    if len(on) == 1 and callable(on[0]) and not isinstance(on[0], type):
        return on[0]
    flat = tuple(kind for item in on for kind in (item if isinstance(item, tuple) else (item,)))
    for kind in flat:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise PolicyError(f"on= must name exception types, and {kind!r} is none")
    return flat
