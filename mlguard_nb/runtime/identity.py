"""Numbers for objects that count by identity: never used twice, and without keeping the object alive."""

from __future__ import annotations

import itertools
import threading
import weakref
from typing import Any

__all__ = ["Identities"]


class Identities:
    """Gives each object a number of its own; an object that lives where a dead one lived gets another one."""

    def __init__(self) -> None:
        self._next = itertools.count(1)
        self._lock = threading.Lock()
        # id -> (weak reference, number); an object that takes no weak reference is held itself.
        self._known: dict[int, tuple[Any, int]] = {}

    def number(self, thing: Any) -> int:
        """The object's number."""
        place = id(thing)
        known = self._known.get(place)
        if known is not None:
            held, number = known
            if held is thing or (type(held) is weakref.ref and held() is thing):
                return number
        with self._lock:
            number = next(self._next)
            try:
                held = weakref.ref(thing, lambda _ref: self._forget(place, number))
            except TypeError:
                held = thing
            self._known[place] = (held, number)
        return number

    def after_fork(self) -> None:
        """A lock held in the parent is not held here."""
        self._lock = threading.Lock()

    def _forget(self, place: int, number: int) -> None:
        known = self._known.get(place)
        if known is not None and known[1] == number:
            del self._known[place]
