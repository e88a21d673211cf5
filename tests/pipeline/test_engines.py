"""Another engine runs the same `run()`, and gives the same values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlguard_nb.errors import PolicyError
from mlguard_nb.pipeline import engine, step
from mlguard_nb.pipeline.engines import using
from mlguard_nb.pipeline.on_ray import RayEngine


class Ref:
    """A reference as Ray hands it out: opaque until somebody gets it."""

    def __init__(self, value: Any) -> None:
        self._value = value


class LocalRay:
    """Ray's interface on plain calls: arguments are resolved, results become references."""

    ObjectRef = Ref

    def __init__(self) -> None:
        self.options: list[dict[str, Any]] = []
        self.actors = 0

    def get(self, value: Any) -> Any:
        return [self.get(one) for one in value] if isinstance(value, list) else value._value

    def remote(self, *target: Any, **options: Any) -> Any:
        if target and isinstance(target[0], type):
            self.actors += 1
            return SimpleNamespace(remote=lambda: self._actor(target[0]()))
        self.options.append(options)
        return lambda function: SimpleNamespace(remote=self._submit(function, options["num_returns"]))

    def _actor(self, instance: Any) -> Any:
        def options(num_returns: int) -> Any:
            return SimpleNamespace(remote=self._submit(instance.run, num_returns))

        return SimpleNamespace(run=SimpleNamespace(options=options))

    def _submit(self, function: Any, count: int) -> Any:
        def remote(*args: Any) -> Any:
            result = function(*[one._value if isinstance(one, Ref) else one for one in args])
            return Ref(result) if count == 1 else [Ref(one) for one in result]

        return remote


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


@pytest.fixture
def ray() -> Iterator[LocalRay]:
    return LocalRay()


def test_ray_gives_what_the_local_engine_gives(ray: LocalRay) -> None:
    """An object that a step changes in place is handed on to the later steps, and to the results."""
    here = run()
    taken = RayEngine(ray)
    with using(taken):
        there = taken.gather(run())
    assert there == here == {"a": [1, 1, 10], "b": [2], "total": 14, "fixed": 5}
    assert ray.options[0]["num_returns"] == 2
    assert ray.actors == 1, "the step that shares state runs in an actor"


def test_need_becomes_a_request_and_a_limit_does_not(ray: LocalRay) -> None:
    """`need=2GB` reserves memory on the cluster; `mem=0.8` is only a guard."""

    def wanted(**memory: Any) -> dict[str, Any]:
        def work() -> None: ...

        work.__mlguard__ = SimpleNamespace(memory=SimpleNamespace(**memory))  # type: ignore[attr-defined]
        with using(RayEngine(ray)):
            step(work)()
        return ray.options[-1]

    assert wanted(need=2 * 10**9, ram=None)["memory"] == 2 * 10**9
    assert "memory" not in wanted(need=None, ram=0.8)


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
