"""A retry budget: in an outage, retries stop after a while instead of multiplying the load.

A token bucket as in the AWS SDKs' standard retry mode: each retry takes tokens, each call that succeeds at once gives
one back. With everything failing, the load on the service falls to one attempt a call.
"""

from __future__ import annotations

import threading
from typing import Any

from mlguard_nb.policy.checks import count, need
from mlguard_nb.runtime.forking import renew_in_child

__all__ = ["RetryBudget", "budget_for"]


class RetryBudget:
    """`capacity` tokens at first; a retry takes `cost`, a call that succeeds at once gives one back.

    With the defaults 100 retries in a row are possible, and five calls must succeed for one more. One budget may be
    shared by several functions that call the same service. PolicyError for a capacity below the cost.
    """

    asks_server = False  # whether a method may wait for a server

    def __init__(self, capacity: int = 500, cost: int = 5) -> None:
        self.capacity, self.cost = capacity, cost
        count(self, "RetryBudget", "cost", "a whole number of at least 1")
        count(self, "RetryBudget", "capacity", "a whole number of at least 1")
        need(capacity >= cost, "RetryBudget", "capacity", f"at least cost ({cost})", capacity)
        self._reset()

    def _reset(self) -> None:
        self.tokens, self.is_full = self.capacity, True
        self.after_fork()
        renew_in_child(self)

    def after_fork(self) -> None:
        """A lock held in the parent is not held here."""
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Pay for one retry; False where the budget is spent."""
        with self._lock:
            if self.tokens < self.cost:
                return False
            self.tokens -= self.cost
            self.is_full = False
            return True

    def give_back(self) -> None:
        """Count one call that succeeded at once."""
        with self._lock:
            self.tokens = min(self.capacity, self.tokens + 1)
            self.is_full = self.tokens == self.capacity

    def __getstate__(self) -> dict[str, Any]:
        return {"capacity": self.capacity, "cost": self.cost}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.capacity, self.cost = state["capacity"], state["cost"]
        self._reset()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RetryBudget) and (other.capacity, other.cost) == (self.capacity, self.cost)

    def __hash__(self) -> int:
        return hash((self.capacity, self.cost))

    def __repr__(self) -> str:
        return f"RetryBudget(capacity={self.capacity}, cost={self.cost})"


_default: dict[str, RetryBudget] = {}


def budget_for(name: str) -> RetryBudget:
    """The budget that all retries under one name share in this process."""
    return _default.get(name) or _default.setdefault(name, RetryBudget())
