"""What a traceback says about a failed attempt, and what it must not keep alive."""

from __future__ import annotations

from types import CodeType, TracebackType

from mlguard_nb.errors import InputRejected
from mlguard_nb.runtime.dead_frames import clear_trace, related

__all__ = ["cut_own_frames", "first_line", "let_go", "line_of"]


def first_line(error: BaseException) -> str:
    """The error in one line; every violation of a rejected input."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text and not isinstance(error, InputRejected) else text[:2000]


def line_of(trace: TracebackType | None, code: CodeType | None) -> int | None:
    """The line of the cell at which the error left it."""
    while trace is not None:
        if code is not None and trace.tb_frame.f_code is code:
            return trace.tb_lineno
        trace = trace.tb_next
    return None


def cut_own_frames(trace: TracebackType | None) -> None:
    """Leave out of a shown traceback the signal handlers of this package, which an error may have come from."""
    last_of_user = trace
    while trace is not None:
        if not str(trace.tb_frame.f_globals.get("__name__", "")).startswith("mlguard_nb.notebook."):
            last_of_user = trace
        trace = trace.tb_next
    if last_of_user is not None:
        last_of_user.tb_next = None


def let_go(error: BaseException, trace: TracebackType | None) -> None:
    """Free what a failed attempt held: its frames keep every local alive as long as the traceback lives."""
    for one in related(error):
        clear_trace(one.__traceback__)
        one.__traceback__ = None
    clear_trace(trace)
