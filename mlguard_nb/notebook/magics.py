"""The magics: %%guard where the transformers do not reach, and %guard with its commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import GuardError

if TYPE_CHECKING:
    from mlguard_nb.notebook.session import Session

__all__ = ["register", "unregister"]


_MATCHER = "mlguard_nb"


class _Magic:
    """A magic whose documentation is written when somebody asks for it: the table of options costs 30 ms to import."""

    _ipython_magic_no_var_expand = True

    def __init__(self, action: Callable[..., None]) -> None:
        self.__name__ = self.__qualname__ = "guard"
        self._action = action

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        from mlguard_nb.notebook import completion

        return completion.documentation()

    def __call__(self, *arguments: str) -> None:
        self._action(*arguments)


def register(ip: Any, session: Session) -> None:
    """Register both magics and their completion. What they need is imported when they are used."""

    def guard(line: str) -> None:
        command, _, rest = line.strip().partition(" ")
        _command(session, command or "status", rest.strip(), line.strip())

    def guard_cell(line: str, cell: str) -> None:
        # Reached through run_cell_magic only: a cell typed by a person is rewritten before IPython looks for magics.
        ip.run_cell(f"%%guard {line}\n{cell}", store_history=False).raise_error()

    ip.register_magic_function(_Magic(guard), "line", "guard")
    ip.register_magic_function(_Magic(guard_cell), "cell", "guard")

    def complete(context: Any) -> Any:
        from mlguard_nb.notebook import completion

        return completion.answer(context, session)

    complete.matcher_api_version = 2  # type: ignore[attr-defined]
    complete.matcher_priority = 1000  # type: ignore[attr-defined]
    complete.matcher_identifier = _MATCHER  # type: ignore[attr-defined]
    ip.Completer.custom_matchers.append(complete)


def _command(session: Session, command: str, rest: str, line: str) -> None:
    """One `%guard` command; a slip of the pen is one line that names the nearest."""
    from IPython.core.error import UsageError

    from mlguard_nb.notebook import commands

    action = commands.TABLE.get(command)
    if action is None:
        import difflib

        near = difflib.get_close_matches(command, commands.TABLE, n=1)
        hint = f"; did you mean {near[0]}?" if near else f": use {', '.join(commands.TABLE)}"
        if "=" in command:  # options, with one % too few
            hint = f"; to guard one cell, begin it with %%guard {line}"
        raise UsageError(f"%guard: unknown command {command!r}{hint}")
    try:
        action(session, rest)
    except GuardError as error:
        raise UsageError(f"%guard {command}: {error}") from None


def unregister(ip: Any) -> None:
    """Remove both magics and their completion."""
    for kind in ("line", "cell"):
        ip.magics_manager.magics[kind].pop("guard", None)
    others = [one for one in ip.Completer.custom_matchers if getattr(one, "matcher_identifier", "") != _MATCHER]
    ip.Completer.custom_matchers[:] = others
