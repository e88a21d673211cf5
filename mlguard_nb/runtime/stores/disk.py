"""Results in a folder, one file each, written beside and renamed: a process that is killed leaves no torn file."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import sys
import threading
from pathlib import Path

from mlguard_nb import clock
from mlguard_nb.runtime.stores.encoding import decode, encode, short
from mlguard_nb.runtime.stores.entry import Entry

__all__ = ["DiskStore", "default_folder", "user_key"]

_FOR_EVER = 100 * 365 * 86400.0
_SWEEP_SECONDS = 3600.0


class DiskStore:
    """Files under `folder`, made for this user only. `secret` signs what needs pickle (None: never pickle)."""

    def __init__(self, folder: Path, secret: bytes | None = None) -> None:
        self.folder, self._secret = folder, secret
        self._swept: dict[Path, float] = {}

    def get(self, key: bytes) -> Entry | None:
        """The entry; None where there is none, or where it is torn, foreign or over."""
        path = self._path(key)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        entry = decode(raw, self._secret)
        if entry is None or entry.kept_until <= clock.current().wall():
            self.drop(key)
            return None
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Write the entry whole, or not at all."""
        parts = encode(entry, self._secret)
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.{secrets.token_hex(4)}")
        try:
            with open(os.open(beside, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "wb") as file:
                file.writelines(parts)
            # The file's time says until when it is kept, so that a sweep need not open it.
            kept = entry.stored + _FOR_EVER if math.isinf(entry.kept_until) else entry.kept_until
            os.utime(beside, (entry.stored, kept))
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        self._sweep(path.parent)

    def drop(self, key: bytes) -> bool:
        """Forget `key`; whether it was there."""
        try:
            self._path(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def clear(self, prefix: bytes) -> None:
        """Forget every key that begins with `prefix`: the folder of one function."""
        for path in self._folder_of(prefix).glob("*.mlguard"):
            path.unlink(missing_ok=True)

    def _sweep(self, folder: Path) -> None:
        """Once an hour: remove results that are over, and what a killed process left half written."""
        now = clock.current().wall()
        if 0 <= now - self._swept.get(folder, float("-inf")) < _SWEEP_SECONDS:
            return
        self._swept[folder] = now
        for path in folder.iterdir():
            is_result = path.suffix == ".mlguard"
            with contextlib.suppress(OSError):  # another process sweeps too
                if path.stat().st_mtime < (now if is_result else now - _SWEEP_SECONDS):
                    path.unlink()

    def _folder_of(self, key: bytes) -> Path:
        return self.folder / short(key[:16])

    def _path(self, key: bytes) -> Path:
        return self._folder_of(key) / f"{short(key[16:])}.mlguard"


def default_folder() -> Path:
    """Where "disk" keeps its files: MLGUARD_CACHE_DIR, else the user's cache folder."""
    chosen = os.environ.get("MLGUARD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", str(Path.home() / "AppData" / "Local")))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "mlguard-nb"


def user_key() -> bytes | None:
    """The secret that signs this user's pickled results, made on first use with mode 0600 in Jupyter's data folder.

    MLGUARD_CACHE_KEY is used instead where it is set. None where the folder cannot be written.
    """
    given = os.environ.get("MLGUARD_CACHE_KEY")
    if given:
        return given.encode()
    path = _data_folder() / "mlguard-nb" / "cache.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            with open(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
            try:
                os.link(beside, path)  # whole or not at all, and never over the key of another process
            except FileExistsError:
                pass
            finally:
                beside.unlink()
        return _private_bytes(path)
    except OSError:
        return None


def _private_bytes(path: Path) -> bytes | None:
    """The key, unless somebody else could have written it or it is not complete."""
    found = path.stat()
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        return None
    key = path.read_bytes()
    return key if len(key) == 32 else None


def _data_folder() -> Path:
    chosen = os.environ.get("JUPYTER_DATA_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Jupyter"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", str(Path.home()))) / "jupyter"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "jupyter"
