"""`PKG serve`: the functions of a package over HTTP, with the models that a run saved."""

from __future__ import annotations

import importlib
import inspect
import json
import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from mlguard_nb.errors import CircuitOpen, GuardError, InputRejected, MemoryPressure
from mlguard_nb.pipeline.results import ResultsError, load_results

__all__ = ["Application", "bound_functions", "serve"]

_LOG = logging.getLogger(__name__)
_LARGEST_BODY = 64 * 2**20
_STATUS: tuple[tuple[type[BaseException], HTTPStatus], ...] = (
    (InputRejected, HTTPStatus.UNPROCESSABLE_ENTITY),
    (MemoryPressure, HTTPStatus.SERVICE_UNAVAILABLE),
    (CircuitOpen, HTTPStatus.SERVICE_UNAVAILABLE),
)


def serve(package: str, source: Path, names: list[str] | None, host: str, port: int) -> int:
    """Answer `POST /FUNCTION` until interrupted; returns the exit status. ResultsError when values are missing."""
    functions = bound_functions(importlib.import_module(f"{package}.functions"), source, names)
    application = Application(functions)

    class Handler(_Handler):
        app = application

    with ThreadingHTTPServer((host, port), Handler) as server:
        sys.stderr.write(f"serving {', '.join(sorted(functions))} on http://{host}:{server.server_port}\n")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def bound_functions(module: Any, source: Path, names: list[str] | None) -> dict[str, Callable[..., Any]]:
    """The functions of `module` (None: all), their keyword-only parameters filled with saved results.

    Only the results that these functions need are loaded. Without `names`, functions whose values were not saved
    are left out; a function that was named and cannot be bound is a ResultsError.
    """
    found: dict[str, Callable[..., Any]] = {}
    public = {
        name: value
        for name, value in vars(module).items()
        if inspect.isroutine(value) and not name.startswith("_") and value.__module__ == module.__name__
    }
    for name in public if names is None else names:
        if name not in public:
            raise ResultsError(module.__name__, f"there is no function {name!r}; there are {', '.join(public)}")
        needed = [
            one.name
            for one in inspect.signature(public[name]).parameters.values()
            if one.kind is one.KEYWORD_ONLY and one.default is one.empty
        ]
        try:
            values = load_results(source, needed) if needed else {}
        except ResultsError:
            if names is not None:
                raise
            continue
        found[name] = partial(public[name], **values) if values else public[name]
    if not found:
        raise ResultsError(str(source), f"no function of {module.__name__} can be served with what was saved here")
    return found


class Application:
    """Requests in, status and JSON out; knows nothing of sockets."""

    def __init__(self, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.functions = functions

    def answer(self, method: str, path: str, body: bytes) -> tuple[HTTPStatus, dict[str, Any]]:
        """`GET /` lists the functions, `GET /health` says ok, `POST /NAME` calls one with a JSON object of arguments.

        An argument {"columns": {...}} becomes a DataFrame and {"array": [...]} an array.
        """
        name = path.partition("?")[0].strip("/")
        if method == "GET" and name in ("", "health"):
            return HTTPStatus.OK, {"status": "ok", "functions": sorted(self.functions)}
        function = self.functions.get(name)
        if function is None or method != "POST":
            known = ", ".join(f"POST /{one}" for one in sorted(self.functions))
            return HTTPStatus.NOT_FOUND, {"error": f"no such thing here; there are {known}"}
        try:
            arguments = json.loads(body or b"{}")
            if not isinstance(arguments, dict):
                return HTTPStatus.BAD_REQUEST, {"error": "the body must be a JSON object of arguments"}
            bound = {key: _argument(value) for key, value in arguments.items()}
            inspect.signature(function).bind(**bound)
        except (ValueError, TypeError) as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}
        return self._call(function, bound)

    def _call(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[HTTPStatus, dict[str, Any]]:
        try:
            return HTTPStatus.OK, {"result": _plain(function(**arguments))}
        except GuardError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), HTTPStatus.INTERNAL_SERVER_ERROR)
            return status, {"error": str(error), "type": type(error).__name__}
        except Exception as error:  # the user's function failed: the server goes on, the trace goes to the log
            _LOG.exception("a served function failed")
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error), "type": type(error).__name__}


class _Handler(BaseHTTPRequestHandler):
    app: Application

    def do_GET(self) -> None:
        """What is served here."""
        self._reply(*self.app.answer("GET", self.path, b""))

    def do_POST(self) -> None:
        """Call a function."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_BODY:
            self._reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"at most {_LARGEST_BODY} bytes a request"})
            return
        self._reply(*self.app.answer("POST", self.path, self.rfile.read(length)))

    def _reply(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        data = json.dumps(content, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests go to the log, not to standard error."""
        _LOG.info(format, *args)


def _argument(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"columns"}:
        import pandas as pd

        return pd.DataFrame(value["columns"])
    if isinstance(value, dict) and set(value) == {"array"}:
        import numpy as np

        return np.asarray(value["array"])
    return value


def _plain(value: Any) -> Any:
    """Arrays, frames and series as lists and mappings; everything else as JSON takes it."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return {"columns": value.to_dict(orient="list")}
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
