"""The notebook from top to bottom."""

from pathlib import Path
from typing import Any, TypedDict

from names import functions
from names import steps as mlguard_steps

from mlguard_nb.pipeline import without_unbound, working_directory


class Results(TypedDict):
    """The names that the notebook ends with."""

    params: Any
    steps: Any
    sum: Any
    count: Any
    table: Any
    ratio: Any
    result: Any
    fetched: Any


async def run(*, base_dir: str | Path | None = None) -> Results:
    """Run every step in the notebook's order; relative paths start at `base_dir` (default: the current folder)."""
    with working_directory(base_dir):
        s, steps, sum, count, table = mlguard_steps.make_s()
        ratio = mlguard_steps.make_ratio()
        result, fetched = await mlguard_steps.make_result(s, table)
        del s
    return without_unbound(
        Results(
            params=functions.params,
            steps=steps,
            sum=sum,
            count=count,
            table=table,
            ratio=ratio,
            result=result,
            fetched=fetched,
        )
    )
