"""Where cached results are kept: memory, a folder, Redis. Each has `get(key)`, `put(key, entry)` and `drop(key)`."""

from mlguard_nb.runtime.stores.entry import Entry, NotStorable, Store

__all__ = ["Entry", "NotStorable", "Store"]
