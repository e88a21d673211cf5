"""Puts a package on disk: all of it or nothing, and never over somebody's edits.

The manifest `.mlguard.json` holds the hash of every file as it was written. A file that no longer has it was changed
by hand: it is kept, and the new text lies beside it as NAME.new.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mlguard_convert.package import Package
from mlguard_convert.templates import checks, kubernetes, project, readme
from mlguard_nb.errors import ConversionError, Diagnostic, Remedy
from mlguard_nb.version import __version__

__all__ = ["MANIFEST", "Written", "check_target", "package_files", "place", "staged"]

MANIFEST = ".mlguard.json"

# A disk or a quota is full; other errors of the system are not about the package.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the target: its folder, every file of the package, and those that stay because they were changed
    by hand: `kept` with a new text beside them, `left` as files that are no longer part of the package.
    """

    folder: Path
    files: tuple[str, ...]
    kept: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def package_files(package: Package) -> dict[str, bytes]:
    """Every file of the package by its path below the package's folder; the manifest comes when they are placed."""
    texts = {
        "pyproject.toml": project.pyproject(package),
        "README.md": readme.readme(package),
        "requirements.lock": project.lock(package),
        "Dockerfile": project.dockerfile(package),
        ".dockerignore": project.dockerignore(),
        "wheels/.gitkeep": "",
        f"src/{package.name}/py.typed": "",
        **package.modules,
    }
    for part in package.parts or (package,):
        texts[checks.test_path(part)] = checks.test_module(part, package)
        if part.recorded is not None:
            texts[checks.recorded_path(part)] = part.recorded
    for path, text in (("job", kubernetes.jobs(package)), ("serve", kubernetes.services(package))):
        if text:
            texts[f"kubernetes/{path}.yaml"] = text
    files = {path: text.encode("utf-8", "backslashreplace") for path, text in texts.items()}
    folder = checks.data_folder(package)
    for path, source in package.data:
        files[f"{folder}/{path}"] = source.read_bytes()
    return files


def check_target(target: Path, notebook: str, *, force: bool) -> None:
    """ConversionError when `target` cannot be written, or holds what this program did not write, unless `force`."""
    for folder in _nearest_folders(target):
        if os.path.lexists(folder) and not folder.is_dir():
            raise _not_there(notebook, f"{folder} is a file")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _not_there(notebook, f"{folder} is not writable for you")
    if target.is_dir() and ((target / MANIFEST).is_file() or not any(target.iterdir()) or force):
        return
    if not os.path.lexists(target):
        return
    raise _not_there(notebook, f"{target} exists and was not written by mlguard-nb export", "force")


def _nearest_folders(target: Path) -> tuple[Path, ...]:
    """What must be a folder to write into: the target where it exists, and its nearest parent that exists."""
    holder = target.parent
    while not os.path.lexists(holder):
        holder = holder.parent
    return (target, holder) if os.path.lexists(target) else (holder,)


def _not_there(notebook: str, message: str, *further: Remedy, next_step: str = "") -> ConversionError:
    found = Diagnostic("target", "error", None, None, message, next_step, remedies=("output", *further))
    return ConversionError(notebook, [found])


@contextmanager
def staged(files: Mapping[str, bytes], target: Path, notebook: str) -> Iterator[Path]:
    """The files in a temporary folder beside `target`, which goes away at the end unless it was moved.

    ConversionError where the disk takes no more of them. Its name holds the process, for whoever has to kill that.
    """
    made = [above for above in target.parents if not above.exists()]
    folder: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-{os.getpid()}-", dir=target.parent))
        for path, data in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        yield folder
    except OSError as error:
        if error.errno not in _FULL:
            raise
        message = f"{target} cannot be written: {error.strerror}"
        raise _not_there(notebook, message, next_step="Make room there") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        for above in made:
            with suppress(OSError):  # the package is in it
                above.rmdir()


def place(folder: Path, target: Path, origin: Mapping[str, str], *, force: bool = False) -> Written:
    """Move the staged `folder` to `target`. `origin` goes into the manifest: the notebook's name and hash.

    A new target appears in one move. In an existing one each file is replaced by itself, files of an earlier export
    that are no longer part of it go, and hand edits stay; `force` overwrites those in files that are part of it. The
    manifest remembers the others, so that each export tells of them.
    """
    paths = sorted(str(file.relative_to(folder).as_posix()) for file in folder.rglob("*") if file.is_file())
    hashes = {path: _hash(folder / path) for path in paths}
    before = _hashes_before(target)
    over = _left_over(target, {path: found for path, found in before.items() if path not in hashes})
    left = {path: before[path] for path, is_edited in over.items() if is_edited}
    manifest = json.dumps({"mlguard_nb": __version__, **origin, "files": {**hashes, **left}}, indent=1) + "\n"
    (folder / MANIFEST).write_text(manifest, encoding="utf-8")
    folder.chmod(0o755 & ~_umask())
    if not target.exists() or not any(target.iterdir()):
        if target.exists():
            target.rmdir()
        folder.replace(target)
        return Written(target, (*paths, MANIFEST))
    kept = _replace_files(folder, target, hashes, before, force=force)
    for path, is_edited in over.items():
        if not is_edited:
            (target / path).unlink()
    (folder / MANIFEST).replace(target / MANIFEST)
    return Written(target, (*paths, MANIFEST), kept, tuple(left))


def _replace_files(
    folder: Path, target: Path, hashes: Mapping[str, str], before: Mapping[str, str], *, force: bool
) -> tuple[str, ...]:
    """Move each staged file over its predecessor; the paths of those that were changed by hand and stay, with what is
    new for them beside.
    """
    kept: list[str] = []
    for path, written in hashes.items():
        old = target / path
        aside = old.with_name(f"{old.name}.new")
        if old.is_file() and not force:
            found = _hash(old)
            if found not in (written, before.get(path)):
                if before.get(path) != written:  # else there is nothing new to offer: the edit is all that differs
                    (folder / path).replace(aside)
                if aside.is_file():
                    kept.append(path)
                continue
        old.parent.mkdir(parents=True, exist_ok=True)
        (folder / path).replace(old)
        aside.unlink(missing_ok=True)
    return tuple(kept)


def _left_over(target: Path, before: Mapping[str, str]) -> dict[str, bool]:
    """The files of an earlier export that lie there still, each with whether it was changed by hand since."""
    inside = target.resolve()
    files = {path: target / path for path in sorted(before)}
    return {
        path: _hash(file) != before[path]
        for path, file in files.items()
        if inside in file.resolve().parents and file.is_file()
    }


def _hashes_before(target: Path) -> dict[str, str]:
    try:
        files = json.loads((target / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # written into with --force, or a manifest somebody edited: then every file counts as changed
    return {str(path): str(found) for path, found in files.items()} if isinstance(files, dict) else {}


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
