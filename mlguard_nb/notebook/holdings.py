"""What the user's names hold: sizes by name, and giving the memory of some of them back."""

from __future__ import annotations

import sys
from collections.abc import Iterable, MutableMapping
from typing import Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.notebook.cell_memory import reclaim
from mlguard_nb.notebook.peaks import own_bytes

__all__ = ["free", "listing", "size_of"]

_SHOWN = 12
_WORTH_SHOWING = 1 << 20


def size_of(value: Any) -> int:
    """Bytes that `value` holds itself: arrays, frames and tensors by their buffers, one level of containers."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return sys.getsizeof(value) + sum(_flat(item) for item in value)
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(_flat(item) for item in value.values())
    return _flat(value)


def _flat(value: Any) -> int:
    usage = getattr(value, "memory_usage", None)
    if callable(usage) and type(value).__module__.partition(".")[0] == "pandas":
        told: Any = usage(index=True, deep=False)
        return int(told if isinstance(told, int) else told.sum())
    for name in ("nbytes", "estimated_size"):
        told = getattr(value, name, None)
        told = told() if callable(told) else told
        if isinstance(told, int):
            return told
    return sys.getsizeof(value)


def listing(namespace: MutableMapping[str, Any]) -> list[str]:
    """The largest names first, one line each; results in Out are listed like names."""
    held = {
        name: size_of(value)
        for name, value in namespace.items()
        if not name.startswith("_") and name not in ("In", "Out")
    }
    outputs = namespace.get("Out")
    if isinstance(outputs, dict):
        held.update({f"Out[{number}]": size_of(value) for number, value in outputs.items()})
    shown = sorted(held.items(), key=lambda pair: -pair[1])[:_SHOWN]
    lines = [
        f"{size / 2**20:10.1f} MiB  {name:<24} {_kind(namespace, name)}"
        for name, size in shown
        if size >= _WORTH_SHOWING
    ]
    own = own_bytes()
    total = f"; this kernel holds {own / 2**20:.1f} MiB in all" if own is not None else ""
    return [*lines, f"free with: %guard free NAME{total}"] if lines else [f"no name holds 1 MiB or more{total}"]


def _kind(namespace: MutableMapping[str, Any], name: str) -> str:
    value = namespace["Out"][int(name[4:-1])] if name.startswith("Out[") else namespace[name]
    shape = getattr(value, "shape", None)
    return f"{type(value).__name__}{f' {tuple(shape)}' if isinstance(shape, tuple) else ''}"


def free(namespace: MutableMapping[str, Any], names: Iterable[str]) -> int | None:
    """Unbind `names`, also where Out and the underscores keep the same objects; bytes given back, None: not known."""
    before = own_bytes()
    for name in names:
        if name.startswith("Out[") and name.endswith("]"):
            value = namespace.get("Out", {}).get(int(name[4:-1]))
        elif name in namespace:
            value = namespace[name]
        else:
            raise PolicyError(f"there is no {name!r} here")
        _forget(namespace, value)
        del value
    reclaim()
    after = own_bytes()
    return None if before is None or after is None else max(0, before - after)


def _forget(namespace: MutableMapping[str, Any], value: Any) -> None:
    for other in [other for other, held in namespace.items() if held is value]:
        del namespace[other]
    outputs = namespace.get("Out")
    if isinstance(outputs, dict):
        for number in [number for number, held in outputs.items() if held is value]:
            del outputs[number]
