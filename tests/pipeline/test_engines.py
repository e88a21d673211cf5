"""Another engine runs the same `run()`, and gives the same values."""

from __future__ import annotations

from typing import Any

import pytest

from mlguard_nb.errors import PolicyError
from mlguard_nb.pipeline import engine, step


@step(cell=1, outputs=("a", "b"))
def make(size: int) -> tuple[list[int], list[int]]:
    return [1] * size, [2]


@step(cell=2, mutates=("a",))
def grow(a: list[int], *, by: int) -> None:
    a.append(by)


@step(cell=3, outputs=("total",), shares=True)
def add(a: list[int], b: list[int]) -> int:
    return sum(a) + sum(b)


def run() -> dict[str, Any]:
    a, b = make(2)
    grow(a, by=10)
    total = add(a, b)
    return {"a": a, "b": b, "total": total, "fixed": 5}


def test_the_local_engine_is_no_engine() -> None:
    with engine("local") as gather:
        assert gather(run())["total"] == 14


def test_an_engine_that_does_not_exist_is_named() -> None:
    with pytest.raises(PolicyError, match="'dask' does not exist; use local or ray"), engine("dask"):
        pass
