"""The magics: %%guard where the transformers do not reach, and %guard with its commands."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import GuardError
from mlguard_nb.notebook import completion

if TYPE_CHECKING:
    from mlguard_nb.notebook.session import Session

__all__ = ["register", "unregister"]


def register(ip: Any, session: Session) -> None:
    """Register both magics and their completion."""
    from mlguard_nb.notebook import commands

    table: dict[str, Callable[[Session, str], None]] = {
        "status": commands.status, "set": commands.set_profile, "on": commands.switch_on,
        "off": commands.switch_off, "free": commands.free, "report": commands.report, "schema": commands.schema,
        "chaos": commands.chaos, "export": commands.export,
    }  # fmt: skip

    def guard(line: str) -> None:
        command, _, rest = line.strip().partition(" ")
        action = table.get(command or "status")
        from IPython.core.error import UsageError

        if action is None:
            near = difflib.get_close_matches(command, table, n=1)
            hint = f"; did you mean {near[0]}?" if near else f": use {', '.join(table)}"
            if "=" in command:  # options, with one % too few
                hint = f"; to guard one cell, begin it with %%guard {line.strip()}"
            raise UsageError(f"%guard: unknown command {command!r}{hint}")
        try:
            action(session, rest.strip())
        except GuardError as error:
            raise UsageError(f"%guard {command}: {error}") from None

    def guard_cell(line: str, cell: str) -> None:
        # Reached through run_cell_magic only: a cell typed by a person is rewritten before IPython looks for magics.
        ip.run_cell(f"%%guard {line}\n{cell}", store_history=False).raise_error()

    guard.__doc__ = guard_cell.__doc__ = completion.documentation()
    guard._ipython_magic_no_var_expand = True  # type: ignore[attr-defined]
    guard_cell._ipython_magic_no_var_expand = True  # type: ignore[attr-defined]
    ip.register_magic_function(guard, "line", "guard")
    ip.register_magic_function(guard_cell, "cell", "guard")

    def complete_cell(_shell: Any, event: Any) -> list[str]:
        return completion.complete_line(event.line, event.symbol, session.profiles)

    def complete_line(_shell: Any, event: Any) -> list[str]:
        return completion.complete_command(event.line, event.symbol)

    ip.set_hook("complete_command", complete_cell, str_key="%%guard")
    ip.set_hook("complete_command", complete_line, str_key="%guard")


def unregister(ip: Any) -> None:
    """Remove both magics and their completion."""
    for kind in ("line", "cell"):
        ip.magics_manager.magics[kind].pop("guard", None)
    hooks = getattr(getattr(ip, "strdispatchers", {}).get("complete_command"), "strs", {})
    for key in ("%%guard", "%guard"):
        hooks.pop(key, None)
