"""What was asked for: frozen policies, the OPTIONS table, and their texts (a %%guard line, Python source, JSON).

Standard library only, and nothing here acts: the runtime, the cell engine and the converter read these values.
"""

from mlguard_nb.policy.values import (
    CachePolicy,
    CellOptions,
    GuardPolicy,
    MemoryPolicy,
    MonitorPolicy,
    NameRef,
    RetryPolicy,
    ValidatePolicy,
)

__all__ = [
    "CachePolicy",
    "CellOptions",
    "GuardPolicy",
    "MemoryPolicy",
    "MonitorPolicy",
    "NameRef",
    "RetryPolicy",
    "ValidatePolicy",
]
