"""Lets go of what failed attempts allocated: it must not be held while the next one allocates the same again."""

from __future__ import annotations

import contextlib
import traceback

__all__ = ["clear_frames", "release"]


def release(failed: list[Exception]) -> None:
    """Let go of what failed attempts held."""
    while failed:
        clear_frames(failed.pop())


def clear_frames(error: BaseException) -> None:
    """Empty the locals of the error's frames, and of all the errors behind it and inside it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        with contextlib.suppress(RuntimeError):  # a frame that still runs
            traceback.clear_frames(one.__traceback__)
        waiting += (one.__cause__, one.__context__, *getattr(one, "exceptions", ()))
