"""Small kernel files that are read or written again and again through a descriptor that stays open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from mlguard_nb.devices.readings import Unknown

__all__ = ["KeptFile", "size_in"]

_PAGE = 8192  # memory.stat of a v2 cgroup is about 1.5 kB, /proc/meminfo as much


class _Descriptor:
    """An open file, closed by whoever lets go of it last."""

    __slots__ = ("number", "owner")

    def __init__(self, path: Path, flags: int) -> None:
        self.number = os.open(path, flags)
        self.owner = os.getpid()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        with contextlib.suppress(AttributeError, OSError):  # never opened, or the program has closed all files
            close(self.number)


class KeptFile:
    """One file of /proc or /sys/fs/cgroup: opened once, then read (or, with `mode="wb"`, written) in one system call.

    A file that cannot be read is Unknown, and is opened anew on the next read, so that a cgroup which was removed
    and made again is found again. pread keeps no position, so threads can share one descriptor; a forked child opens
    its own, because an open /proc/self belongs to the process that opened it.
    """

    def __init__(self, path: Path, mode: str = "rb") -> None:
        self.path = path
        self._flags = os.O_WRONLY if mode == "wb" else os.O_RDONLY
        self._file: _Descriptor | None = None

    def read(self) -> bytes | Unknown:
        """The file's bytes now."""
        try:
            return os.pread(self._opened().number, _PAGE, 0)
        except OSError as error:
            # Dropped, not closed: another thread may be reading, and the last one to let go closes it.
            self._file = None
            return Unknown(f"{self.path} cannot be read: {error.strerror or error}")

    def write(self, data: bytes) -> bool:
        """Write `data`; False where that is not allowed."""
        try:
            os.pwrite(self._opened().number, data, 0)
        except OSError:
            self._file = None
            return False
        return True

    def _opened(self) -> _Descriptor:
        file = self._file
        if file is None or file.owner != os.getpid():
            self._file = file = _Descriptor(self.path, self._flags)
        return file

    def number(self) -> int | Unknown:
        """The one number in the file; -1 for "max", which cgroup v2 writes where there is no limit."""
        text = self.read()
        if isinstance(text, Unknown):
            return text
        word = text.strip()
        if word == b"max":
            return -1
        try:
            return int(word)
        except ValueError:
            return Unknown(f"{self.path} holds {word[:40].decode(errors='replace')!r} where a number was expected")


def size_in(text: bytes, key: bytes) -> int | None:
    """The bytes that a line such as ``VmHWM:   1234 kB`` of `text` says; None where there is no line of that `key`."""
    start = text.find(key)
    return None if start < 0 else int(text[start + len(key) : text.index(b"kB", start)]) * 1024
