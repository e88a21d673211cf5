"""The FastAPI application of a package: its functions, health, readiness under memory pressure, and metrics."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

from mlguard_nb import devices
from mlguard_nb.devices.readings import Reading, Unknown, limit_in_bytes
from mlguard_nb.errors import CircuitOpen, GuardError, InputRejected, MemoryPressure, MissingExtra
from mlguard_nb.pipeline import bodies
from mlguard_nb.policy.values import MemoryPolicy

__all__ = ["LARGEST_BODY", "Served", "application", "pressure"]

LARGEST_BODY = 64 * 2**20
# Served functions without a memory guard: above this share the next request may be the one that is killed.
_READY_BELOW = MemoryPolicy(ram=0.95, gpu=0.98)
_RETRY_SECONDS = 5
_LOG = logging.getLogger(__name__)
_STATUS: tuple[tuple[type[BaseException], HTTPStatus], ...] = (
    (InputRejected, HTTPStatus.UNPROCESSABLE_ENTITY),
    (MemoryPressure, HTTPStatus.SERVICE_UNAVAILABLE),
    (CircuitOpen, HTTPStatus.SERVICE_UNAVAILABLE),
)


@dataclass(frozen=True, slots=True)
class Served:
    """One function to be served: what requests call, and the values of parameters that a saved run fills."""

    name: str
    function: Callable[..., Any]
    filled: Mapping[str, Any]

    @property
    def schemas(self) -> dict[str, Any]:
        """The schemas of its `validate_input`, by parameter."""
        policy = getattr(self.function, "__mlguard__", None)
        return dict(policy.validate.schemas) if policy is not None and policy.validate is not None else {}

    @property
    def memory(self) -> MemoryPolicy | None:
        """The policy of its `memory_guard`."""
        policy = getattr(self.function, "__mlguard__", None)
        return policy.memory if policy is not None else None


def application(title: str, served: Sequence[Served], *, version: str = "0", about: str = "") -> Any:
    """`POST /NAME` for each function, `GET /health`, `/ready`, `/metrics`, and the OpenAPI pages of FastAPI.

    A function without a monitor gets one, so that /metrics counts every call. MissingExtra without FastAPI or
    prometheus_client.
    """
    try:
        import prometheus_client as prometheus
        from fastapi import FastAPI
        from fastapi.responses import JSONResponse, Response
    except ImportError as error:
        raise MissingExtra("serve", "serve", distribution=title.partition(".")[0].replace("_", "-")) from error

    from mlguard_nb.telemetry import bus, sinks

    sinks.attach_configured()
    app = FastAPI(title=title, version=version, description=about)
    policies = [one.memory for one in served if one.memory is not None] or [_READY_BELOW]

    @app.get("/health", summary="The process answers.")
    def health() -> dict[str, Any]:
        return {"status": "ok", "functions": sorted(one.name for one in served)}

    @app.get("/ready", summary="There is memory for another request; 503 when there is not.")
    def ready() -> Any:
        reading = devices.current().read()
        short = next((found for policy in policies if (found := pressure(policy, reading))), None)
        if short is None:
            return {"status": "ready"}
        headers = {"Retry-After": str(_RETRY_SECONDS)}
        return JSONResponse({"status": "memory pressure", "reason": short}, 503, headers)

    @app.get("/metrics", summary="Prometheus text.")
    def metrics() -> Any:
        bus.flush()
        return Response(prometheus.generate_latest(_registry(prometheus)), media_type=prometheus.CONTENT_TYPE_LATEST)

    for one in served:
        app.post(f"/{one.name}", summary=_first_line(one.function), responses=_RESPONSES)(_endpoint(one))
    app.add_middleware(_BodyLimit)
    return app


def pressure(policy: MemoryPolicy, reading: Reading) -> str:
    """In one sentence what is above its limit in `reading`; "" where nothing is, or where nobody can say."""
    ram = reading.ram
    if policy.ram is not None and (over := _over(ram.used_bytes, policy.ram, ram.limit_bytes)):
        return f"RAM: {over} ({ram.source})"
    for gpu in () if policy.gpu is None or isinstance(reading.gpus, Unknown) else reading.gpus:
        if policy.gpu is not None and (over := _over(gpu.used_bytes, policy.gpu, gpu.total_bytes)):
            return f"GPU {gpu.index} ({gpu.name}): {over}"
    return ""


def _over(used: int | Unknown, share: float, total: int | Unknown) -> str:
    """The two sizes in words where `used` has reached the limit, else ""."""
    limit = limit_in_bytes(share, total)
    if isinstance(limit, Unknown) or isinstance(used, Unknown) or used < limit:
        return ""
    return f"{used / 2**30:.1f} GiB in use, the limit is {limit / 2**30:.1f} GiB"


_RESPONSES: dict[int | str, dict[str, Any]] = {
    422: {"description": "The arguments do not fit the schema; every violation is named."},
    503: {"description": "Short of memory, or the circuit breaker is open; Retry-After says when to come again."},
}


def _endpoint(one: Served) -> Callable[..., Any]:
    """What FastAPI calls: a coroutine where the function is one, else it runs in a thread."""
    parameters = {name: each for name, each in bodies.hinted(one.function).items() if name not in one.filled}
    model = bodies.body_model(one.name, parameters, one.schemas)
    call = one.function if _is_monitored(one.function) else _monitored(one)

    def arguments(body: Any) -> dict[str, Any]:
        return {**bodies.arguments_of(body, parameters, one.schemas), **one.filled}

    async def awaited(body: Any) -> Any:
        try:
            return {"result": bodies.plain(await call(**arguments(body)))}
        except Exception as error:
            return _refusal(one.name, error)

    def called(body: Any) -> Any:
        try:
            return {"result": bodies.plain(call(**arguments(body)))}
        except Exception as error:
            return _refusal(one.name, error)

    endpoint: Any = awaited if inspect.iscoroutinefunction(one.function) else called
    endpoint.__annotations__ = {"body": model}
    endpoint.__name__ = one.name
    return cast("Callable[..., Any]", endpoint)


def _refusal(name: str, error: Exception) -> Any:
    """A status for what a function raised: refusals say why, the user's own errors go to the log with their trace."""
    from fastapi.responses import JSONResponse

    status = next((code for kind, code in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
    if not isinstance(error, GuardError):
        _LOG.error("%s failed", name, exc_info=error)
    content: dict[str, Any] = {"error": str(error), "type": type(error).__name__}
    if isinstance(error, InputRejected):
        content["violations"] = [
            {"argument": one.argument, "rule": one.rule, "expected": one.expected, "found": one.found}
            for one in error.violations
        ]
    headers = {}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        after = getattr(error, "retry_after", None)
        headers["Retry-After"] = str(max(1, round(after)) if after else _RETRY_SECONDS)
    return JSONResponse(content, status, headers)


def _is_monitored(function: Any) -> bool:
    policy = getattr(function, "__mlguard__", None)
    return policy is not None and policy.monitor is not None


def _monitored(one: Served) -> Callable[..., Any]:
    from mlguard_nb.runtime.monitoring import monitor

    return monitor(name=one.name)(one.function)


def _registry(prometheus: Any) -> Any:
    """Every process's metrics where PROMETHEUS_MULTIPROC_DIR asks for that, else this one's."""
    import os

    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return prometheus.REGISTRY
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = prometheus.CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _first_line(function: Any) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0] or function.__name__


class _BodyLimit:
    """413 for bodies above LARGEST_BODY, whether or not they say their length; the rest of such a body is not read."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Count what comes in; a body that is too long looks like a lost client to the application."""
        taken = 0

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            return message if taken <= LARGEST_BODY else {"type": "http.disconnect"}

        async def answered(message: Any) -> None:
            if taken <= LARGEST_BODY:
                await send(message)
            elif message["type"] == "http.response.start":
                data = json.dumps({"error": f"at most {LARGEST_BODY} bytes a request"}).encode()
                headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
                await send({"type": "http.response.start", "status": 413, "headers": headers})
                await send({"type": "http.response.body", "body": data})

        await self.app(scope, counted, answered)
