"""The notebook from top to bottom."""

from pathlib import Path
from typing import Any, TypedDict

from guards import steps

from mlguard_nb.pipeline import working_directory


class Results(TypedDict):
    """The names that the notebook ends with."""

    X: Any
    batch_size: Any
    weight: Any
    p: Any
    checked: Any


def run(*, base_dir: str | Path | None = None) -> Results:
    """Run every step in the notebook's order; relative paths start at `base_dir` (default: the current folder)."""
    with working_directory(base_dir):
        X, batch_size = steps.make_x()
        weight = steps.score_step()
        p = steps.predict(X, batch_size, weight)
        checked = steps.score_checked(p)
    return Results(X=X, batch_size=batch_size, weight=weight, p=p, checked=checked)
