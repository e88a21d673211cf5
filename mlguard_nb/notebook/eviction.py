"""Frees what a shown traceback keeps alive: big locals of dead frames give way to a note, small ones stay."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

__all__ = ["Evicted", "evict", "frames_of", "is_theirs"]

_BIG = 1 << 20
_NOT_THEIRS = ("IPython.", "ipykernel.", "mlguard_nb.notebook.", "asyncio.")


class Evicted:
    """Stands in a dead frame for an object that was freed, and says what it was."""

    def __init__(self, value: Any) -> None:
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        told = [type(value).__name__, *([] if shape is None else [f"shape {tuple(shape)}"])]
        self.told = ", ".join([*told, *([] if dtype is None else [str(dtype)]), f"{_size(value) / 2**20:.1f} MiB"])

    def __repr__(self) -> str:
        return f"<freed after memory ran out: {self.told}>"


def evict(error: BaseException, big: int = _BIG) -> int:
    """Replace locals of at least `big` bytes in every frame of `error` and of the errors behind it; bytes let go."""
    freed = 0
    for frame in frames_of(error):
        if is_theirs(frame):
            continue
        names = frame.f_locals
        hit = [name for name in list(names) if _size(names[name]) >= big]
        for name in hit:
            freed += _size(names[name])
            names[name] = Evicted(names[name])
        if hit and sys.version_info < (3, 13):  # before PEP 667, f_locals is a copy that must be written back
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))
        del names
    return freed


def is_theirs(frame: FrameType) -> bool:
    """Whether the frame is a module's, whose locals are its names, or of the machinery that ran the cell."""
    name = str(frame.f_globals.get("__name__", ""))
    return frame.f_code.co_name == "<module>" or name.startswith(_NOT_THEIRS)


def frames_of(error: BaseException) -> Iterator[FrameType]:
    """The frames of `error`, of its causes and of its contexts, also behind `from None`."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        trace = one.__traceback__
        while trace is not None:
            yield trace.tb_frame
            trace = trace.tb_next
        todo += [one.__cause__, one.__context__]


def _size(value: Any) -> int:
    told = getattr(value, "nbytes", None)
    if isinstance(told, int):
        return told
    return sys.getsizeof(value) if isinstance(value, (bytes, bytearray, str, list, tuple, dict, set)) else 0
