"""What `from module import *` binds, asked of an installed library in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

__all__ = ["star_names"]

_ASK = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
sys.stdout.write("\\n" + json.dumps([name for name in names if hasattr(module, name)]))
"""


@cache
def star_names(module: str) -> frozenset[str] | None:
    """The public names of an installed module; None where it cannot be imported. The user's folder is not on the
    path of that process, so none of the notebook's own code runs.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    command = [sys.executable, "-I", "-W", "ignore", "-c", _ASK, module]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return frozenset(json.loads(done.stdout.rpartition("\n")[2])) if done.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError):
        return None
