"""What a cached function's results rest on beside its arguments, followed as it changes: code, globals, files."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlguard_nb.runtime import fingerprint

if TYPE_CHECKING:
    from mlguard_nb.runtime.reach import Reach

__all__ = ["Surroundings"]


class Surroundings:
    """Followed for one function. `number` gives a number to an object that has no content to be read (None: such a
    global is an error, since the number would mean nothing in another process).
    """

    def __init__(self, function: Any, watch_files: bool, number: Callable[[Any], int] | None) -> None:
        self._function, self._watch_files, self._number = function, watch_files, number
        self._reach: Reach | None = None

    @property
    def digest(self) -> bytes:
        """Of all code and constants, as last looked at."""
        return b"" if self._reach is None else self._reach.digest

    @property
    def is_constant(self) -> bool:
        """Whether nothing of it can change, so that nobody need look again."""
        reach = self._reach
        return reach is not None and not reach.watched and not reach.data and not self._texts(reach)

    def is_unmoved(self) -> bool:
        """Whether a look at which objects the globals are says that nothing has changed."""
        reach = self._reach
        return reach is not None and not reach.data and not self._texts(reach) and not _has_moved(reach)

    def look(self) -> bool:
        """Follow the code again where a global means another object; whether results made before are of old code."""
        from mlguard_nb.runtime.reach import reach_of

        before = self._reach
        if before is not None and not _has_moved(before):
            return False
        self._reach = reach_of(self._function)
        return before is not None and before.digest != self._reach.digest

    def part_of_key(self) -> tuple[Any, ...]:
        """The contents of globals that can change in place, and the files that the code names."""
        reach = self._reach
        if reach is None:
            return ()
        parts: list[Any] = []
        for known in reach.data:
            parts += (known.name, self._content(known.namespace.get(known.name), known.name))
        for text in self._texts(reach):
            mark = fingerprint.file_mark(text)
            if mark is not None:
                parts += (text, mark if os.path.isabs(text) else (*mark, os.getcwd()))
        return tuple(parts)

    def _texts(self, reach: Reach) -> tuple[str, ...]:
        return reach.texts if self._watch_files else ()

    def _content(self, value: Any, name: str) -> bytes:
        """What the object holds; a client or a lock, here or inside, counts by which object it is."""
        return fingerprint.of(value, name=f"the global {name!r}", watch_files=self._watch_files, number=self._number)


def _has_moved(reach: Reach) -> bool:
    return any(known.has_changed() for known in reach.watched)
