"""The object that generated code talks to: one name among the builtins, so that no namespace of the user holds it."""

from __future__ import annotations

import linecache
import sys
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import PolicyError
from mlguard_nb.notebook.transformers import MARKER

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlguard_nb.notebook.running import CellRun
    from mlguard_nb.notebook.session import Session

__all__ = ["Marker"]


class Marker:
    """Begins runs and hands them to the loops of their cells, told apart by a token: guarded cells can nest."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._runs: dict[int, CellRun] = {}
        self._defined: dict[int, tuple[str, ...]] = {}

    def __call__(self, line: str, token: int = 0, defined: tuple[str, ...] = ()) -> bool:
        """Line 1 of a guarded cell; True. A line that cannot be read is one clean message, without a traceback."""
        __tracebackhide__ = True
        filename = sys._getframe(1).f_code.co_filename
        _show_as_typed(filename, line)
        try:
            run = self._session.begin(line, filename)
        except PolicyError as error:
            from IPython.core.error import UsageError

            raise UsageError(str(error)) from None
        self._runs = {token: run, **{old: kept for old, kept in self._runs.items() if kept in self._session.running}}
        self._defined[token] = defined
        return True

    def more(self, token: int) -> bool:
        """Whether the loop goes round (again)."""
        __tracebackhide__ = True
        run = self._runs[token]
        if not run.more(sys._getframe(1).f_code):
            return False
        return run.go_on_after_faults()

    async def more_async(self, token: int) -> bool:
        """The same for a cell that awaits."""
        __tracebackhide__ = True
        run = self._runs[token]
        if not await run.more_async(sys._getframe(1).f_code):
            return False
        return run.go_on_after_faults()

    def attempt(self, token: int) -> CellRun:
        """What the lines run inside."""
        return self._runs[token]

    def show(self, value: Any) -> None:
        """Echo the last expression, as IPython would."""
        __tracebackhide__ = True
        sys.displayhook(value)

    def decorate(self, token: int) -> Callable[[Any], Any]:
        """The guards of this cell as a decorator for a function that it defines."""
        __tracebackhide__ = True
        return self._runs[token].decorate

    def defined(self, token: int) -> None:
        """The end of a cell that only defines: says what was guarded."""
        self._runs.pop(token).end_definitions(self._defined.pop(token))


def _show_as_typed(filename: str, line: str) -> None:
    """Put the line as it was typed into tracebacks, in place of the marker call.

    IPython 8 shows values and whole statements only where the text of the file parses: there it is a comment.
    """
    entry = linecache.cache.get(filename)
    if entry is not None and len(entry) == 4 and entry[2] and entry[2][0].startswith(MARKER):
        from IPython import version_info

        entry[2][0] = f"{'# ' if version_info[0] < 9 else ''}%%guard {line}".rstrip() + "\n"
