"""Settings that outlast the kernel: told to the front end, which keeps them in the notebook, and read from its file.

A kernel cannot write a notebook's metadata. The JupyterLab extension hears the settings in the output of `%guard set`,
`on`, `off`, `chaos` and `forget`, and saves them there; other front ends do not, and there they end with the kernel.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlguard_nb.errors import PolicyError

if TYPE_CHECKING:
    from mlguard_nb.notebook.session import Session

__all__ = ["METADATA", "UNSEEN", "own_notebook", "restore", "saved", "settings"]

METADATA = "mlguard_nb"
UNSEEN = "this kernel cannot see its notebook's file, so a new one starts without what %guard sets"


def settings(session: Session) -> dict[str, Any]:
    """What is set now, as the notebook's metadata has it; empty where nothing is."""
    found = {"profiles": dict(session.profiles), "everywhere": session.everywhere, "chaos": session.faults}
    return {name: value for name, value in found.items() if value not in (None, {})}


def own_notebook(namespace: dict[str, Any]) -> Path | None:
    """The file of this kernel's notebook, None where nobody says.

    A notebook that a cell of another one runs (nbconvert, papermill) inherits that one's name, and is not it.
    """
    from mlguard_nb.notebook.exporting import notebook_path

    try:
        above = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    except OSError:  # another system, or another user's process
        above = b""
    return None if b"\0JPY_SESSION_NAME=" in b"\0" + above else notebook_path(namespace)


def saved(path: Path | None) -> dict[str, Any]:
    """The settings in the metadata of the notebook at `path`; empty where there are none or the file cannot be read."""
    try:
        text = b"" if path is None else path.read_bytes()
        # Most notebooks have none: those are not parsed, which takes long where outputs are large.
        metadata = json.loads(text).get("metadata") if b'"%b"' % METADATA.encode() in text else None
    except (OSError, ValueError, AttributeError):
        return {}
    found = metadata.get(METADATA) if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def restore(session: Session, found: dict[str, Any]) -> str:
    """Set again what `found` says. The sentence that tells so, "" where nothing was set; what is bad is left out."""
    told: list[str] = []
    profiles = found.get("profiles")
    for name, line in profiles.items() if isinstance(profiles, dict) else ():
        told.append(_tried(f"profile {name} ({line})", session.set_profile, name, line))
    if found.get("everywhere") is not None:
        line = found["everywhere"]
        told.append(_tried(f"on for every cell ({f'%%guard {line}'.rstrip()})", session.guard_everywhere, line))
    if found.get("chaos"):
        told.append(_tried(f"chaos ({found['chaos']})", session.start_chaos, found["chaos"]))
    if not told:
        return ""
    return f"%guard has this notebook's settings back: {'; '.join(told)}. %guard forget drops them."


def _tried(what: str, act: Callable[..., None], *words: Any) -> str:
    try:
        act(*words)
    except (PolicyError, TypeError, AttributeError) as error:  # a file may hold anything
        return f"not {what}: {str(error).partition(chr(10))[0]}"
    return what
