"""The chance seam: whatever the guards draw at random is drawn here, so tests can repeat it, and never from `random`
itself, so that a guard neither follows nor disturbs the seeds of the program.
"""

from __future__ import annotations

import os
from random import Random

__all__ = ["current", "install"]

_OWN = Random()
_current = _OWN


def current() -> Random:
    """The source in force: the process's own, unless a test installed another."""
    return _current


def install(source: Random) -> Random:
    """Put `source` in force for the whole process and return the one it replaces."""
    global _current
    previous, _current = _current, source
    return previous


if hasattr(os, "register_at_fork"):  # or a child would draw what its siblings draw
    os.register_at_fork(after_in_child=_OWN.seed)
