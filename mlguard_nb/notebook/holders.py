"""Who holds the memory of a device: this notebook, other notebooks by name, and everybody else as one sum."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from mlguard_nb.devices.readings import known
from mlguard_nb.errors import Holder
from mlguard_nb.notebook.facts import DeviceFacts
from mlguard_nb.runtime.holders import gpu_processes

__all__ = ["notebooks", "who_holds"]

_MOST = 3


def who_holds(device: DeviceFacts, proc: Path = Path("/proc")) -> tuple[Holder, ...]:
    """This notebook first, then other notebooks by size, then the rest. Only what can be known is listed."""
    used, own = device.used, device.own
    if used is None:
        return ()
    if device.key == "ram":
        others = notebooks(proc, beside=device.binds == "container limit")
    else:
        own, others = _on_gpu(device.key, own, proc)
    if own is None and not others:
        return ()
    rest = used - (own or 0) - sum(holder.used_bytes or 0 for holder in others)
    found = [*([] if own is None else [Holder("this notebook", own)]), *others]
    if rest > 0:
        found.append(Holder("other processes", rest))
    return tuple(found)


def _on_gpu(uuid: str, own: int | None, proc: Path) -> tuple[int | None, tuple[Holder, ...]]:
    """(what this process holds of a device, the others that hold any, the largest first), as the driver tells.

    The driver counts what no framework does, a context of some hundred MiB included; where it hides this process (its
    numbers are the host's), the framework's `own` count stands.
    """
    others = []
    for process in gpu_processes():
        used = known(process.used_bytes)
        if process.uuid != uuid or used is None:
            continue
        if process.pid == os.getpid():
            own = used
        else:
            others.append(Holder(_name(process.pid, proc), used))
    return own, tuple(sorted(others, key=lambda holder: -(holder.used_bytes or 0))[:_MOST])


def _name(pid: int, proc: Path) -> str:
    """A kernel by its notebook, another process by its command; by its number where it is not to be seen from here."""
    entry = proc / str(pid)
    with suppress(OSError):  # another user's
        notebook = _notebook_of(entry)
        if notebook is not None:
            return notebook
    with suppress(OSError):  # gone, or in another container
        return f"{(entry / 'comm').read_text().strip()} (process {pid})"
    return f"process {pid}"


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
            name = _notebook_of(entry)
            if name is None:
                continue
            if beside and (entry / "cgroup").read_bytes() != (proc / "self" / "cgroup").read_bytes():
                continue
            held = int((entry / "statm").read_text().split()[1]) * page
        except (OSError, ValueError):
            continue  # gone, or another user's
        found.append(Holder(name, held))
    return tuple(sorted(found, key=lambda holder: -(holder.used_bytes or 0)))


def _notebook_of(entry: Path) -> str | None:
    """The notebook that the kernel with this folder of /proc belongs to, None where it is no kernel that says so."""
    environment = (entry / "environ").read_bytes()
    start = environment.find(b"JPY_SESSION_NAME=")
    if start < 0 or b"ipykernel" not in (entry / "cmdline").read_bytes():
        return None
    path = environment[start + 17 : environment.find(b"\0", start)].decode(errors="replace")
    return path.rpartition("/")[2] or path
