"""`%load_ext mlguard_nb` and `%unload_ext mlguard_nb`: what is put into a kernel, and taken out again."""

from __future__ import annotations

import builtins
from typing import Any

from mlguard_nb.notebook import account
from mlguard_nb.notebook.marker import Marker
from mlguard_nb.notebook.publisher import ShellPublisher
from mlguard_nb.notebook.session import Session
from mlguard_nb.notebook.transformers import MARKER, GuardCells, guard_line

__all__ = ["load", "session", "unload"]

_LOADED = "_mlguard_loaded"


def load(ip: Any) -> None:
    """Put %%guard and %guard into the shell `ip`; loading twice does nothing."""
    if getattr(ip, _LOADED, None) is not None:
        return
    state = Session(ip.user_ns, ShellPublisher(ip))
    cells = GuardCells(
        state.read,
        lambda: state.everywhere,
        lambda: str(ip.ast_node_interactivity),
        lambda: int(ip.compile.flags),
    )
    ip.input_transformer_manager.line_transforms.insert(0, guard_line)
    ip.ast_transformers.insert(0, cells)
    setattr(builtins, MARKER, Marker(state))  # not in the user's namespace, which %reset empties
    from mlguard_nb.notebook import magics

    magics.register(ip, state)
    ip.events.register("post_run_cell", state.after_cell)
    account.offer(ip)
    setattr(ip, _LOADED, (state, cells))
    _restore(state)


def _restore(state: Session) -> None:
    """Set again what the saved notebook remembers, and say so."""
    from mlguard_nb.notebook.remembered import own_notebook, restore, saved

    told = restore(state, saved(own_notebook(state.namespace)))
    if told:
        print(told)  # noqa: T201 - %load_ext answers on stdout


def unload(ip: Any) -> None:
    """Take everything out again; cells that begin with %%guard are unknown cell magics from then on."""
    loaded = getattr(ip, _LOADED, None)
    if loaded is None:
        return
    state, cells = loaded
    ip.input_transformer_manager.line_transforms[:] = [
        transform for transform in ip.input_transformer_manager.line_transforms if transform is not guard_line
    ]
    ip.ast_transformers[:] = [transformer for transformer in ip.ast_transformers if transformer is not cells]
    ip.events.unregister("post_run_cell", state.after_cell)
    builtins.__dict__.pop(MARKER, None)
    from mlguard_nb.notebook import magics

    magics.unregister(ip)
    account.withdraw(ip)
    state.close()
    delattr(ip, _LOADED)


def session(ip: Any) -> Session | None:
    """The state of the extension in `ip`, None where it is not loaded."""
    loaded = getattr(ip, _LOADED, None)
    return None if loaded is None else loaded[0]
