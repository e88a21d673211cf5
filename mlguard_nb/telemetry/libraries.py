"""Which libraries the program has imported: what it does not use is never imported for it."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["loaded"]


def loaded(name: str) -> Any:
    """The module `name`, None unless it is imported to the end: another thread may be in the middle of that."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return None if module is None or getattr(spec, "_initializing", False) else module
