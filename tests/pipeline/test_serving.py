"""`serve`: functions of a package over HTTP, with their schemas, health, readiness and metrics."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel, Field, Secret, SecretStr

from mlguard_nb import Array, CircuitBreaker, Col, Frame, memory_guard, monitor, retry, validate_input
from mlguard_nb.devices.readings import Unknown
from mlguard_nb.errors import CircuitOpen, MemoryPressure, MissingExtra, PolicyError
from mlguard_nb.pipeline import FromEnvironment, command_line, save_results
from mlguard_nb.pipeline.application import LARGEST_BODY, Served, application, pressure
from mlguard_nb.pipeline.results import ResultsError
from mlguard_nb.pipeline.serving import served_functions
from mlguard_nb.policy.values import MemoryPolicy
from mlguard_nb.testing import FakeDevices, fake_gpu

Visits = Frame({"visits": Col(int, ge=0), "minutes": Col(float, nan="allow"), "plan": Col(str, isin=("a", "b"))})


@validate_input(batch=Visits)
def score(batch: pd.DataFrame, *, model: int) -> Any:
    """One value a row."""
    return (batch["visits"] * model + batch["minutes"].fillna(0)).to_numpy()


class Caller:
    """A client of an application in this process: each request in an event loop of its own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as caller:
                return await caller.request(method, path, **more)

        return asyncio.run(ask())

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return self._ask("POST", path, **more)


def client(*functions: Callable[..., Any], **filled: Any) -> Caller:
    served = [
        Served(one.__name__, one, {name: value for name, value in filled.items() if name in one.__code__.co_varnames})
        for one in functions
    ]
    return Caller(application("churn", served))


ROW = {"visits": 2, "minutes": 1, "plan": "a"}


def test_a_frame_comes_as_rows_or_as_columns() -> None:
    """Whole numbers in a column of floats become floats, as the schema asks; null is a missing value."""
    served = Caller(application("churn", [Served("score", score, {"model": 10})]))
    rows = served.post("/score", json={"batch": [ROW, {**ROW, "minutes": None}]})
    assert (rows.status_code, rows.json()) == (200, {"result": [21.0, 20.0]})
    columns = {"visits": [1, 2], "minutes": [0.5, 1], "plan": ["a", "b"]}
    assert served.post("/score", json={"batch": {"columns": columns}}).json() == {"result": [10.5, 21.0]}


def test_what_breaks_the_schema_is_refused_with_every_violation() -> None:
    served = Caller(application("churn", [Served("score", score, {"model": 10})]))
    reply = served.post("/score", json={"batch": [{**ROW, "visits": -1, "plan": "z"}]})
    assert reply.status_code == 422
    assert {one["argument"] for one in reply.json()["violations"]} == {"batch.visits", "batch.plan"}
    missing = served.post("/score", json={"batch": [{"visits": 1}]})
    assert missing.status_code == 422
    assert "minutes" in missing.text
    assert served.post("/score", json={"batch": [ROW], "extra": 1}).status_code == 422
    assert served.post("/score", content=b"{").status_code == 422
    assert served.post("/score", json={"batch": [ROW], "model": 3}).status_code == 422


def test_the_schema_is_in_the_api_description() -> None:
    """Columns, their types and bounds can be read at /openapi.json, and what the run fills is no parameter."""
    api = Caller(application("churn", [Served("score", score, {"model": 10})])).get("/openapi.json").json()
    row = api["components"]["schemas"]["score_batch_row"]
    assert row["required"] == ["visits", "minutes", "plan"]
    assert row["properties"]["visits"] == {"type": "integer", "minimum": 0, "title": "visits"}
    assert row["properties"]["plan"]["enum"] == ["a", "b"]
    assert list(api["components"]["schemas"]["score_arguments"]["properties"]) == ["batch"]
    assert api["paths"]["/score"]["post"]["summary"] == "One value a row."


def test_arrays_defaults_annotations_and_coroutines() -> None:
    @validate_input(x=Array("n", "float32"))
    def total(x: Any, copy: float = 1.0) -> Any:
        assert x.dtype == np.float32
        return {"sum": x.sum() * copy, "nan": float("nan"), "pair": (1, "é")}

    async def later(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    served = client(total, later)
    assert served.post("/total", json={"x": [1, 2]}).json() == {"result": {"sum": 3.0, "nan": None, "pair": [1, "é"]}}
    assert served.post("/total", json={"x": [1, 2], "copy": 2}).json()["result"]["sum"] == 6.0
    assert served.post("/later", json={"n": 1}).json() == {"result": 2}
    assert served.post("/later", json={"n": "no"}).status_code == 422
    assert served.post("/nothing", json={}).status_code == 404


def test_what_a_function_raises_becomes_a_status() -> None:
    """503 says when to come again; the user's own error is a 500 and the server goes on."""

    def short() -> None:
        raise MemoryPressure("RAM", 2, 1, retry_after=7.4)

    def refused() -> None:
        raise CircuitOpen("refused", 3.0)

    def broken() -> None:
        raise KeyError("column")

    served = client(short, refused, broken)
    assert served.post("/short", json={}).status_code == 503
    assert served.post("/short", json={}).headers["retry-after"] == "7"
    assert served.post("/refused", json={}).headers["retry-after"] == "3"
    reply = served.post("/broken", json={})
    assert (reply.status_code, reply.json()["type"]) == (500, "KeyError")
    assert served.get("/health").json() == {"status": "ok", "functions": ["broken", "refused", "short"]}


def test_guards_stay_in_force() -> None:
    breaker = CircuitBreaker(failure_rate=0.5, minimum_calls=2, open_for=60.0)

    @retry(attempts=1, on=ValueError, breaker=breaker)
    def flaky() -> None:
        raise ValueError("down")

    served = client(flaky)
    assert [served.post("/flaky", json={}).status_code for _ in range(4)] == [500, 500, 503, 503]


def test_readiness_ends_under_memory_pressure() -> None:
    """The strictest memory guard of what is served decides; health goes on."""

    @memory_guard(ram=0.5)
    def fit() -> int:
        return 1

    served = client(fit)
    with FakeDevices(ram_used="7GB", ram_limit="16GB") as machine:
        assert served.get("/ready").json() == {"status": "ready"}
        machine.ram_used = 9 * 10**9
        reply = served.get("/ready")
        assert reply.status_code == 503
        assert reply.headers["retry-after"] == "5"
        assert reply.json()["reason"] == "RAM: 8.4 GiB in use, the limit is 7.5 GiB (container)"
        assert served.get("/health").status_code == 200


def test_pressure_is_told_of_devices_and_never_of_what_nobody_can_read() -> None:
    policy = MemoryPolicy(ram=None, gpu=0.9)
    assert "GPU 1" in pressure(policy, FakeDevices(gpus=(fake_gpu(0), fake_gpu(1, used="75GB"))).read())
    assert pressure(policy, FakeDevices(gpus=(fake_gpu(0, used="71GB"),)).read()) == ""
    assert pressure(policy, FakeDevices(gpus=Unknown("no driver")).read()) == ""


def test_metrics_count_calls_also_of_functions_without_a_monitor() -> None:
    @monitor(name="watched_serving")
    def watched() -> int:
        return 1

    def plain_serving() -> int:
        return 1

    served = client(watched, plain_serving)
    for _ in range(3):
        served.post("/watched", json={})
        served.post("/plain_serving", json={})
    text = served.get("/metrics").text
    assert 'mlguard_calls_total{function="watched_serving",outcome="ok"} 3.0' in text
    assert 'mlguard_calls_total{function="plain_serving",outcome="ok"} 3.0' in text


def test_a_body_that_is_too_large_is_not_read_to_its_end() -> None:
    def size(x: str) -> int:
        return len(x)

    served = client(size)
    assert served.post("/size", content=b'"' + b"x" * LARGEST_BODY + b'"').status_code == 413
    assert served.post("/size", json={"x": "ab"}).json() == {"result": 2}


def module_of(source: str) -> types.ModuleType:
    module = types.ModuleType("churn.functions")
    vars(module)["__name__"] = "churn.functions"
    exec(source, vars(module))
    return module


def test_only_functions_whose_values_were_saved_are_served(tmp_path: Path) -> None:
    module = module_of("def score(batch, *, model): ...\ndef other(*, lost): ...\ndef free(x): ...\ndef _own(): ...\n")
    save_results({"model": 3}, tmp_path)
    assert {one.name: dict(one.filled) for one in served_functions([module], tmp_path, None)} == {
        "score": {"model": 3},
        "free": {},
    }
    assert [one.name for one in served_functions([module], None, None)] == ["free"]
    with pytest.raises(ResultsError, match="'lost' was not saved"):
        served_functions([module], tmp_path, ["other"])
    with pytest.raises(ResultsError, match="it needs model of a run: `run --save DIR`, then `serve --from DIR`"):
        served_functions([module], None, ["score"])
    with pytest.raises(ResultsError, match="there is no function 'nothing'; there are score"):
        served_functions([module], None, ["nothing"])
    with pytest.raises(ResultsError, match="there is no function to serve"):
        served_functions([module_of("x = 1")], None, None)


def test_a_served_function_gets_a_secret_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run saves one; without it the function is left out, or refused where it was named."""

    class Params(BaseModel):
        rate: int = 3
        api_key: SecretStr = Field(default_factory=FromEnvironment("CHURN_API_KEY"))
        login: Secret[dict] = Secret[dict]({"me": "there"})

    module = module_of("def fetch(x, *, api_key, rate, login): ...\ndef free(x): ...\n")
    save_results({"rate": 4}, tmp_path)
    assert [one.name for one in served_functions([module], tmp_path, None, Params)] == ["free"]
    with pytest.raises(PolicyError, match="CHURN_API_KEY is not set"):
        served_functions([module], tmp_path, ["fetch"], Params)
    monkeypatch.setenv("CHURN_API_KEY", "hunter2")
    (fetch,) = served_functions([module], tmp_path, ["fetch"], Params)
    assert dict(fetch.filled) == {"api_key": "hunter2", "rate": 4, "login": {"me": "there"}}


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_the_command_serves_real_requests_and_ends_by_a_signal(tmp_path: Path) -> None:
    package = tmp_path / "src" / "churn"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""Customer churn."""\n')
    (package / "functions.py").write_text("def double(n: int) -> int:\n    return 2 * n\n")
    (package / "__main__.py").write_text(
        "from mlguard_nb.pipeline import command_line\ndef run(*, base_dir=None): return {}\n"
        "run.__module__ = 'churn.pipeline'\nmain = command_line(run)\nraise SystemExit(main())\n"
    )
    paths = os.pathsep.join([str(tmp_path / "src"), *sys.path])
    command = [sys.executable, "-m", "churn", "serve", "--port", "0"]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": paths}, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        address = next(word for word in server.stderr.readline().split() if word.startswith("http"))
        transport = httpx.HTTPTransport(retries=20)
        with httpx.Client(base_url=address, transport=transport, timeout=30) as caller:
            assert caller.post("/double", json={"n": 21}).json() == {"result": 42}
            assert caller.get("/health").json()["functions"] == ["double"]
            assert caller.get("/ready").status_code in (200, 503)
            assert 'function="double",outcome="ok"} 1.0' in caller.get("/metrics").text
            assert caller.get("/openapi.json").json()["info"] == {
                "title": "churn", "version": "0", "description": "Customer churn.",
            }  # fmt: skip
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0


def nothing() -> dict[str, Any]:
    return {}


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taken", types.ModuleType("taken"))
    monkeypatch.setitem(sys.modules, "taken.functions", module_of("def free(x): ..."))
    main = command_line(nothing, name="taken")
    with socket.create_server(("127.0.0.1", 0)) as holder:
        assert main(["serve", "--port", str(holder.getsockname()[1])]) == 2
    assert "taken serve: " in capsys.readouterr().err
    assert main(["serve", "--function", "none"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_its_libraries_serve_names_the_extra_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(MissingExtra, match=r"pip install 'my-churn\[serve\]'"):
        application("my_churn", [])


def test_json_of_every_result() -> None:
    from mlguard_nb.pipeline.bodies import plain

    frame = pd.DataFrame({"a": [1.0, float("nan")], "t": pd.to_datetime(["2026-01-01", None])})
    told = plain({"frame": frame, "series": frame["a"], "int": np.int64(3), "inf": np.float64("inf"), "set": {1}})
    assert json.loads(json.dumps(told, allow_nan=False))["frame"]["columns"]["a"] == [1.0, None]
    assert told["series"] == [1.0, None]
    assert told["inf"] is None
