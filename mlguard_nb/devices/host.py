"""The memory of the whole machine, and the address-space limit of this process.

Linux answers from /proc, read again on every call; other systems answer through psutil.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlguard_nb.devices.files import KeptFile, size_in
from mlguard_nb.devices.readings import Ceiling, Unknown

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["Host", "peak_bytes", "resident_bytes"]


class Host:
    """Reads the machine's memory. `proc` is where the kernel's process files are mounted."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._meminfo = KeptFile(proc / "meminfo")
        self._statm = KeptFile(proc / "self" / "statm")

    def memory(self) -> Ceiling | Unknown:
        """The machine as a ceiling: all its memory, and what of it is not available."""
        text = self._meminfo.read()
        if isinstance(text, Unknown):
            return text if sys.platform.startswith("linux") else _through_psutil()
        total, available = size_in(text, b"MemTotal:"), size_in(text, b"MemAvailable:")
        if total is None or available is None:
            missing = "MemTotal" if total is None else "MemAvailable"
            return Unknown(f"{self._proc}/meminfo has no {missing}; a kernel of 3.14 or later writes it")
        return Ceiling("machine", total, max(0, total - available))

    def address_space(self) -> Ceiling | None:
        """The soft RLIMIT_AS as a ceiling over this process's address space, None where there is no such limit."""
        if resource is None:
            return None
        soft, _hard = resource.getrlimit(resource.RLIMIT_AS)
        if soft == resource.RLIM_INFINITY:
            return None
        text = self._statm.read()
        if isinstance(text, Unknown):
            return None
        return Ceiling("ulimit -v", soft, int(text.split(maxsplit=1)[0]) * os.sysconf("SC_PAGE_SIZE"))


def resident_bytes() -> int | Unknown:
    """What this process itself holds in memory now."""
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read(200).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass  # not Linux
    try:
        import psutil

        return int(psutil.Process().memory_info().rss)
    except (ImportError, OSError, RuntimeError) as error:
        return Unknown(f"psutil cannot read what this process holds: {error}")


def peak_bytes(process: int | None = None, proc: Path = Path("/proc")) -> int | Unknown:
    """The most that a process has held in memory so far (None: this one), as Linux counts it for each program."""
    status = proc / ("self" if process is None else str(process)) / "status"
    try:
        found = size_in(status.read_bytes(), b"VmHWM:")
    except OSError as error:
        return Unknown(f"{status} cannot be read: {error.strerror}")
    return Unknown(f"{status} has no VmHWM") if found is None else found


def _through_psutil() -> Ceiling | Unknown:
    try:
        import psutil

        memory = psutil.virtual_memory()
    except (ImportError, OSError, RuntimeError) as error:
        return Unknown(f"psutil cannot read this machine's memory: {error}")
    return Ceiling("machine", memory.total, max(0, memory.total - memory.available))
