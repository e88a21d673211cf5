"""Look for notebooks whose package does not compute what their cells compute, for as long as you like.

    python -m tests.converter.fuzz_notebooks --minutes N [--seed S] [--keep FOLDER]

Each notebook is either a random program, or cells of several constructs put one after the other, with headings,
displays and magics in between. A disagreement is cut down to the fewest cells that still show it and printed as an
entry for tests/converter/constructs.py; the exit status says whether there was one.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.converter.constructs import CONSTRUCTS
from tests.converter.programs import random_notebook
from tests.converter.running import notebook_values
from tests.converter.test_random_notebooks import disagreement

__all__ = ["made_notebook", "main", "reduced"]

# Alone in a process: threads, the current folder's files, and what caches, IPython or the import system remember.
_ALONE = (
    "concurrent",
    "memory",
    "cache function",
    "open files",
    "io spanning",
    "pathlib",
    "with open append",
    "reload",
    "json roundtrip",
)
_EXTRAS: tuple[Any, ...] = (
    ("markdown", "# Another part"), ("markdown", "Some words."), "# only a comment", "1 + 1", "%matplotlib inline",
    "None", "pass", "print('done')", "'a text'",
)  # fmt: skip


def made_notebook(seed: int) -> list[Any] | None:
    """The notebook of a seed; None where nothing came of it, or where its cells fail by themselves."""
    draw = random.Random(seed)
    if draw.random() < 0.5:
        return random_notebook(seed)
    names = [name for name in CONSTRUCTS if not name.startswith(_ALONE)]
    cells: list[Any] = []
    for name in draw.sample(names, draw.randrange(2, 5)):
        if cells and draw.random() < 0.5:
            cells.append(draw.choice(_EXTRAS))
        cells.extend(CONSTRUCTS[name])
    if draw.random() < 0.3:  # cells of two constructs in turns, each still in its order
        cells = _interleaved(cells, draw)
    return cells if _runs(cells) else None


def _interleaved(cells: Sequence[Any], draw: random.Random) -> list[Any]:
    middle = len(cells) // 2
    left, right = list(cells[:middle]), list(cells[middle:])
    mixed: list[Any] = []
    while left or right:
        mixed.append((left if left and (not right or draw.random() < 0.5) else right).pop(0))
    return mixed


def _runs(cells: Sequence[Any]) -> bool:
    try:
        with _quiet():
            notebook_values(*_plain(cells))
    except Exception:
        return False
    return True


def _plain(cells: Sequence[Any]) -> list[Any]:
    """Without what only IPython reads."""
    return ["pass" if isinstance(cell, str) and cell.startswith("%") else cell for cell in cells]


def _disagrees(cells: Sequence[Any]) -> str | None:
    """What the package does not do as the cells do, run in a new empty folder; None: they agree, or the cells fail."""
    if not _runs(cells):
        return None
    with _quiet():
        return disagreement(_plain(cells), Path.cwd())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A new empty folder as the current one, and nothing on the screen."""
    before = Path.cwd()
    with (
        tempfile.TemporaryDirectory(prefix="mlguard-fuzz-") as folder,
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def reduced(cells: Sequence[Any], fails: Callable[[Sequence[Any]], Any]) -> list[Any]:
    """The fewest cells of `cells` for which `fails` still holds, leaving out one after the other."""
    kept = list(cells)
    at = 0
    while at < len(kept):
        shorter = kept[:at] + kept[at + 1 :]
        if shorter and fails(shorter):
            kept = shorter
        else:
            at += 1
    return kept


def main(arguments: Sequence[str] | None = None) -> int:
    """Try seeds until the time is over; 1 when a disagreement was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.converter.fuzz_notebooks")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="the first seed; the same seed is the same notebook")
    given = parser.parse_args(arguments)
    end = time.monotonic() + 60 * given.minutes
    seed, tried, found = given.seed, 0, 0
    while time.monotonic() < end:
        cells = made_notebook(seed)
        seed += 1
        if cells is None:
            continue
        tried += 1
        said = _disagrees(cells)
        if said is not None:
            found += 1
            least = reduced(cells, _disagrees)
            sys.stdout.write(
                f"seed {seed - 1}: {_disagrees(least) or said}\n    'seed {seed - 1}': {tuple(least)!r},\n"
            )
            sys.stdout.flush()
    sys.stdout.write(f"{tried} notebooks, seeds {given.seed} to {seed - 1}: {found} disagree\n")
    return int(bool(found))


if __name__ == "__main__":
    raise SystemExit(main())
