"""Lets go of what failed attempts allocated: it must not be held while the next one allocates the same again."""

from __future__ import annotations

import contextlib
import gc
import inspect
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType

__all__ = ["clear_frames", "clear_trace", "related", "release"]

_RESUMABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


def release(failed: list[Exception]) -> None:
    """Let go of what failed attempts held."""
    while failed:
        clear_frames(failed.pop())


def clear_frames(error: BaseException) -> None:
    """Empty the locals of the error's frames, and of all the errors behind it and inside it."""
    for one in related(error):
        clear_trace(one.__traceback__)


def clear_trace(trace: TracebackType | None) -> None:
    """Empty the locals of those frames of a traceback that have ended.

    One error may be raised in several tasks (a connection that was lost is told to all who use it), and its traceback
    then has frames of all of them; a task that is waiting in one of them goes on.
    """
    while trace is not None:
        if _may_be_cleared(trace.tb_frame):
            with contextlib.suppress(RuntimeError):  # a frame that still runs
                trace.tb_frame.clear()
        trace = trace.tb_next


def related(error: BaseException) -> Iterator[BaseException]:
    """The error, and all the errors behind it and inside it, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += (one.__cause__, one.__context__, *getattr(one, "exceptions", ()))


def _may_be_cleared(frame: FrameType) -> bool:
    """Before Python 3.13, to clear the frame of a suspended generator or coroutine ends that.

    A frame has its locals itself only when it has ended (3.11 and 3.12); until then its generator has them. Python
    3.10 does not tell, so there the locals of coroutines and generators go with their error.
    """
    if sys.version_info >= (3, 13) or not frame.f_code.co_flags & _RESUMABLE:
        return True
    return sys.version_info >= (3, 11) and bool(gc.get_referents(frame))
