"""What ends a guarded cell from outside: a person's interrupt, shown in one line, and the time limit of an attempt."""

from __future__ import annotations

# What the module signal wraps: before Python 3.12 that looks for the name in an enumeration, which takes 5 µs a call.
import _signal  # type: ignore[import-not-found]  # the stubs leave it out
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, TracebackType
from typing import Any, TypeVar

__all__ = ["AttemptTimeout", "Interrupted", "held_back", "in_one_line", "is_on_stack", "shown_from", "time_limit"]

E = TypeVar("E", bound=BaseException)


class Interrupted(KeyboardInterrupt):
    """An interrupt that arrived between attempts: there is no code of the user to show, so it is one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


Interrupted.__name__ = Interrupted.__qualname__ = "KeyboardInterrupt"


class AttemptTimeout(TimeoutError):
    """One attempt took longer than `timeout=` or what was left of `deadline=` allows."""


AttemptTimeout.__name__ = AttemptTimeout.__qualname__ = "TimeoutError"


def in_one_line(error: E) -> E:
    """`error`, shown by IPython without a traceback: nothing of the user's ran, so there is no place to point at."""
    text = f"{type(error).__name__}: {error}"
    error._render_traceback_ = lambda: [text]  # type: ignore[attr-defined]
    return error


def shown_from(error: E, trace: TracebackType | None) -> E:
    """`error` in place of another one, shown by IPython with the traceback of that one and without its own way."""

    def render() -> list[str]:
        from IPython.core import ultratb
        from IPython.core.getipython import get_ipython

        shell: Any = get_ipython()
        # For cells, which have no file, IPython shows the line a frame is at now (the `with` around the attempt), not
        # the line in the traceback, unless it is told that the source is there and short. It is: in linecache.
        names: dict[str, Any] = ultratb.__dict__
        before = names.get("get_line_number_of_frame")
        if before is not None:
            names["get_line_number_of_frame"] = lambda _frame: 1
        try:
            return list(shell.InteractiveTB.structured_traceback(type(error), error, trace, tb_offset=0))
        finally:
            if before is not None:
                names["get_line_number_of_frame"] = before

    error._render_traceback_ = render  # type: ignore[attr-defined]
    return error.with_traceback(trace)


def is_on_stack(frame: FrameType | None, code: CodeType, not_within: str) -> bool:
    """Whether `code` is being run by `frame` or one of its callers, with no call of the module `not_within` between.

    A cell is on the stack while its `with` is entered and left, too: an error raised there would end no line of the
    cell, and leave half of that work undone.
    """
    while frame is not None:
        if frame.f_code is code:
            return True
        if frame.f_globals.get("__name__") == not_within:
            return False
        frame = frame.f_back
    return False


class held_back:  # noqa: N801 - read as a function, and cheaper than one: every guarded cell pays for it
    """A person's interrupt that arrives inside is raised at the end, so that what is inside is done as a whole.

    Where interrupts are ignored, or go to a handler of somebody else's, nothing changes.
    """

    def __init__(self) -> None:
        self._is_holding = self._has_arrived = False

    def __enter__(self) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and _signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._is_holding = True
            _signal.signal(signal.SIGINT, self._arrives)

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if self._is_holding:
            _signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._has_arrived and error is None:
            raise KeyboardInterrupt

    def _arrives(self, _number: int, _frame: FrameType | None) -> None:
        self._has_arrived = True


@contextmanager
def time_limit(seconds: float, is_running: Callable[[FrameType | None], bool]) -> Iterator[None]:
    """Raise AttemptTimeout in the main thread after `seconds`, wherever it is then.

    Also inside a call that blocks, which an ordinary flag could not reach. An alarm that goes off when `is_running`
    says that the guarded code is not on the stack (on the way out) does nothing. Elsewhere than in the main thread,
    and on Windows, there is no such alarm.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(_number: int, frame: FrameType | None) -> None:
        if is_running(frame):
            raise AttemptTimeout(f"the attempt took longer than {seconds:g} s")

    before: Any = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
