"""Who holds the memory of a device: this notebook, other notebooks by name, and everybody else as one sum."""

from __future__ import annotations

import os
from pathlib import Path

from mlguard_nb.errors import Holder
from mlguard_nb.notebook.facts import DeviceFacts

__all__ = ["notebooks", "who_holds"]


def who_holds(device: DeviceFacts, proc: Path = Path("/proc")) -> tuple[Holder, ...]:
    """This notebook first, then other notebooks by size, then the rest. Only what can be known is listed."""
    used, own = device.used, device.own
    if used is None or own is None:
        return ()
    others = notebooks(proc, beside=device.binds == "container limit") if device.key == "ram" else ()
    rest = used - own - sum(holder.used_bytes or 0 for holder in others)
    found = [Holder("this notebook", own), *others]
    if rest > 0:
        found.append(Holder("other processes", rest))
    return tuple(found)


def notebooks(proc: Path = Path("/proc"), *, beside: bool = False) -> tuple[Holder, ...]:
    """Other kernels of this user and their resident bytes, the largest first; named by the notebook they belong to.

    Jupyter writes the notebook's path into the environment of its kernel; kernels without one are not listed. `beside`
    leaves out those of other control groups, which hold nothing of this container's memory.
    """
    found: list[Holder] = []
    page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
    try:
        entries = [entry for entry in proc.iterdir() if entry.name.isdigit() and entry.name != str(os.getpid())]
    except OSError:
        return ()
    for entry in entries:
        try:
            environment = (entry / "environ").read_bytes()
            start = environment.find(b"JPY_SESSION_NAME=")
            if start < 0 or b"ipykernel" not in (entry / "cmdline").read_bytes():
                continue
            if beside and (entry / "cgroup").read_bytes() != (proc / "self" / "cgroup").read_bytes():
                continue
            path = environment[start + 17 : environment.find(b"\0", start)].decode(errors="replace")
            held = int((entry / "statm").read_text().split()[1]) * page
        except (OSError, ValueError):
            continue  # gone, or another user's
        found.append(Holder(path.rpartition("/")[2] or path, held))
    return tuple(sorted(found, key=lambda holder: -(holder.used_bytes or 0)))
