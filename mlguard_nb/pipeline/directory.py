"""The folder that a run's relative paths start from."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlguard_nb.errors import GuardError

__all__ = ["RunInProgress", "working_directory"]


class RunInProgress(GuardError):
    """A second run wants another working directory while the first still runs in `folder`."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return (
            f"another run of this process works in {self.folder}, and a process has one working directory. "
            "Wait for it, start a second process, or call run() without base_dir"
        )


_lock = threading.Lock()
_holder = ""


@contextmanager
def working_directory(base_dir: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Make `base_dir` the process's working directory for the block, and restore the old one after it.

    None leaves the directory alone and locks nothing. The directory belongs to the whole process, so only one
    block at a time may change it: a second one raises RunInProgress at once. NotADirectoryError when `base_dir`
    is no folder.
    """
    global _holder
    if base_dir is None:
        yield Path.cwd()
        return
    folder = Path(base_dir).expanduser().absolute()
    if not folder.is_dir():
        raise NotADirectoryError(f"base_dir {str(folder)!r} is not a folder")
    if not _lock.acquire(blocking=False):
        raise RunInProgress(_holder)
    try:
        before = Path.cwd()
        _holder = str(folder)
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)
    finally:
        _lock.release()
