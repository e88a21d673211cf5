"""How much host memory this kernel holds, and the most it held since a cell began, spikes included."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mlguard_nb.devices.files import KeptFile, size_in
from mlguard_nb.devices.readings import Unknown

__all__ = ["data_bytes", "own_bytes", "own_peak_bytes", "reset_peak"]

_STATUS = KeptFile(Path("/proc/self/status"))
_STATM = KeptFile(Path("/proc/self/statm"))
_CLEAR_REFS = KeptFile(Path("/proc/self/clear_refs"), "wb")


def own_bytes() -> int | None:
    """Resident bytes of this process now; None where nobody can say."""
    text = _STATM.read()
    if isinstance(text, Unknown):
        return None if sys.platform.startswith("linux") else _through_psutil()
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def data_bytes() -> int | None:
    """What RLIMIT_DATA counts of this process, and its stack (132 kB as a rule); None where nobody can say.

    The sixth figure of statm (proc(5)): the same as VmData + VmStk of the longer `status`.
    """
    text = _STATM.read()
    return None if isinstance(text, Unknown) else int(text.split()[5]) * os.sysconf("SC_PAGE_SIZE")


def own_peak_bytes() -> int | None:
    """The kernel's own high-water mark of resident bytes (VmHWM): exact, also for a spike inside one C call."""
    text = _STATUS.read()
    return None if isinstance(text, Unknown) else size_in(text, b"VmHWM:")


def reset_peak() -> bool:
    """Begin the high-water mark anew; False where the system does not allow that, and peaks can only be sampled."""
    return _CLEAR_REFS.write(b"5")


def _through_psutil() -> int | None:
    try:
        import psutil

        return int(psutil.Process().memory_info().rss)
    except (ImportError, OSError):
        return None
