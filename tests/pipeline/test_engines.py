"""Another engine runs the same `run()`, and gives the same values."""

from __future__ import annotations

from pathlib import Path
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


def test_serving_binds_saved_models(tmp_path: Path) -> None:
    """Only what the function needs is loaded; what it raises becomes a status."""
    import json
    import types

    from mlguard_nb.errors import InputRejected, Violation
    from mlguard_nb.pipeline import save_results
    from mlguard_nb.pipeline.results import ResultsError
    from mlguard_nb.pipeline.serving import Application, bound_functions

    module = types.ModuleType("churn.functions")
    source = "def score(batch, *, model):\n    return [x * model for x in batch]\ndef other(*, lost): ...\n"
    source += "def strict(x):\n    raise REJECTED\n"
    vars(module)["REJECTED"] = InputRejected("strict", [Violation("x", "type", "int", "str")])
    exec(source, vars(module))
    save_results({"model": 3}, tmp_path)
    functions = bound_functions(module, tmp_path, None)
    assert sorted(functions) == ["score", "strict"]
    app = Application(functions)
    assert app.answer("POST", "/score", json.dumps({"batch": [1, 2]}).encode()) == (200, {"result": [3, 6]})
    assert app.answer("GET", "/health", b"")[0] == 200
    assert app.answer("POST", "/score", b"[1]")[0] == 400
    assert app.answer("POST", "/score", b"{}")[0] == 400
    assert app.answer("POST", "/nothing", b"")[0] == 404
    assert app.answer("POST", "/strict", b'{"x": 1}')[0] == 422
    with pytest.raises(ResultsError, match="'lost' was not saved"):
        bound_functions(module, tmp_path, ["other"])
