"""Where cached results are kept: memory, a folder, Redis. Each has `get(key)`, `put(key, entry)` and `drop(key)`."""
