"""What the imports cost a fresh interpreter, in processor time."""

from __future__ import annotations

from benchmarks.guards.bare import has
from benchmarks.measure import fresh_processes
from benchmarks.table import Row

__all__ = ["rows"]


def rows() -> list[Row]:
    """The package, one decorator, the stack, and all five. The budget is the first two's."""
    every = "from mlguard_nb import retry, validate_input, cache_result, memory_guard, monitor"
    codes = {
        "import mlguard_nb": "import mlguard_nb",
        "from mlguard_nb import retry": "from mlguard_nb import retry",
        "from mlguard_nb import guard": "from mlguard_nb import guard",
        "import of all five": every,
    }
    others = {"tenacity": "import tenacity", "stamina": "import stamina", "pandera": "import pandera.pandas"}
    peers = {name: code for name, code in others.items() if has(name)}
    found = fresh_processes({"": "pass", **codes, **peers})
    times = {name: found[name] for name in peers}
    budgets = {"import mlguard_nb": 60e6, "from mlguard_nb import retry": 60e6}
    return [
        Row(path, found[path], found[""], times, budgets.get(path), base_name="an empty interpreter") for path in codes
    ]
