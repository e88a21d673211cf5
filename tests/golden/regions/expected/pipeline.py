"""The notebook from top to bottom."""

from pathlib import Path
from typing import Any, TypedDict

from regions import steps

from mlguard_nb.pipeline import working_directory


class Results(TypedDict):
    """The names that the notebook ends with."""

    calls: Any
    features: Any
    target: Any
    asked: Any
    factor: Any
    scalers: Any
    small: Any
    large: Any
    total: Any


def run(*, base_dir: str | Path | None = None) -> Results:
    """Run every step in the notebook's order; relative paths start at `base_dir` (default: the current folder)."""
    with working_directory(base_dir):
        calls, features, target, asked = steps.read()
        factor, scalers, small, large, total = steps.scale(features)
    return Results(
        calls=calls,
        features=features,
        target=target,
        asked=asked,
        factor=factor,
        scalers=scalers,
        small=small,
        large=large,
        total=total,
    )
