"""Figures of a run: saved as files where the notebook showed them, and closed at the end of each step."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["figures_in", "folder", "of_step", "save_figures"]

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class _Drawing:
    """The step that draws now: its name, the figures that were open before it, the files it has written."""

    step: str
    before: frozenset[int]
    written: dict[str, int] = field(default_factory=dict)


_drawing: ContextVar[_Drawing | None] = ContextVar("mlguard_drawing", default=None)
_folder: Path | None = None  # None: "figures" below the working directory


@contextmanager
def figures_in(folder: str | Path) -> Iterator[None]:
    """Save figures into `folder` instead of `figures` below the working directory, until the block ends."""
    global _folder
    before, _folder = _folder, Path(folder).absolute()
    try:
        yield
    finally:
        _folder = before


def folder() -> Path | None:
    """Where figures are saved; None: into `figures` below the working directory."""
    return _folder


def save_figures(name: str | None = None) -> list[Path]:
    """Save every open figure as `figures/NAME.png` and close it: what `plt.show()` was in the notebook.

    `name` None takes the step's. A second figure of that name becomes NAME-2.png. Returns the files written, none
    when the program has not imported matplotlib. A figure that cannot be drawn is logged and closed.
    """
    pyplot = _pyplot()
    if pyplot is None:
        return []
    drawing = _drawing.get() or _Drawing("figure", frozenset())
    stem = re.sub(r"[^\w.-]+", "_", name or drawing.step).strip("._") or "figure"
    target = folder() or Path("figures")
    saved: list[Path] = []
    for number in [number for number in pyplot.get_fignums() if number not in drawing.before]:
        figure = pyplot.figure(number)
        if figure.get_axes() or figure.texts or figure.images:
            drawing.written[stem] = count = drawing.written.get(stem, 0) + 1
            path = target / (f"{stem}.png" if count == 1 else f"{stem}-{count}.png")
            if _save(figure, path):
                saved.append(path)
        pyplot.close(figure)
    return saved


@contextmanager
def of_step(step: str) -> Iterator[None]:
    """Around one step: the figures it leaves open are saved under its name and closed, as a notebook cell does."""
    pyplot = _pyplot()
    before = frozenset[int](pyplot.get_fignums()) if pyplot is not None else frozenset()
    token = _drawing.set(_Drawing(step, before))
    try:
        yield
        save_figures()
    finally:
        _close_new(before)
        _drawing.reset(token)


def _save(figure: Any, path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, bbox_inches="tight")
    except Exception:  # a picture is a by-product: the values of the run do not depend on it
        _LOG.warning("the figure %s could not be saved", path, exc_info=True)
        return False
    return True


def _close_new(before: frozenset[int]) -> None:
    pyplot = _pyplot()
    if pyplot is None:
        return
    for number in pyplot.get_fignums():
        if number not in before:
            pyplot.close(number)


def _pyplot() -> Any:
    """pyplot where the program has imported it, without windows unless somebody chose a backend; else None."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return None
    matplotlib: Any = sys.modules["matplotlib"]
    try:
        chosen = matplotlib.get_backend(auto_select=False)
    except TypeError:  # before 3.10 asking for the backend chooses one
        return pyplot
    if chosen is None:
        matplotlib.use("agg")
    return pyplot
