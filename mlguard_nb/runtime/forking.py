"""Begins anew in a forked child what its parent was in the middle of: a lock held there is held here for ever."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["renew_in_child"]


class _Renewed(Protocol):
    def after_fork(self) -> None: ...


_owners: weakref.WeakValueDictionary[int, _Renewed] = weakref.WeakValueDictionary()


def renew_in_child(owner: _Renewed) -> None:
    """Call `owner.after_fork()` in every child that is forked while `owner` lives."""
    _owners[id(owner)] = owner


def _after_fork() -> None:
    for owner in list(_owners.values()):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
