"""`PKG serve`: the functions of a package over HTTP, with the models that a run saved."""

from __future__ import annotations

import importlib
import inspect
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlguard_nb.errors import MissingExtra, PolicyError
from mlguard_nb.pipeline.application import Served, application
from mlguard_nb.pipeline.environment import is_secret_field, value_of
from mlguard_nb.pipeline.results import ResultsError, load_results

__all__ = ["serve", "served_functions"]


def serve(
    package: str,
    source: Path | None,
    names: Sequence[str] | None,
    host: str,
    port: int,
    params_model: type[Any] | None = None,
) -> int:
    """Answer requests until SIGINT or SIGTERM; returns the exit status. `port` 0 takes a free one and says which.

    `source` is a folder that `run --save` wrote, None where no function needs a value of a run; secrets of
    `params_model`, which no run saves, come from the environment. ResultsError when values are missing, PolicyError
    when a secret is, OSError when nobody may listen there, MissingExtra without FastAPI and uvicorn.
    """
    served = served_functions(_homes(package), source, names, params_model)
    top = importlib.import_module(package)
    app = application(package, served, version=_version(package), about=inspect.getdoc(top) or "")
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra("serve", "serve", distribution=package.partition(".")[0].replace("_", "-")) from error
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listening:
        shown = f"[{host}]" if ":" in host else host
        names_shown = ", ".join(sorted(one.name for one in served))
        sys.stderr.write(f"serving {names_shown} on http://{shown}:{listening.getsockname()[1]} (try /docs)\n")
        sys.stderr.flush()
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=10)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has answered what was under way, and raises the signal again
            return 0
    return 0


def served_functions(
    modules: Sequence[Any],
    source: Path | None,
    names: Sequence[str] | None,
    params_model: type[Any] | None = None,
) -> list[Served]:
    """The functions of `modules` (`names` None: all), their keyword-only parameters filled from `source`, those that
    are secrets of `params_model` from the environment.

    Only the results that these functions need are loaded. Without `names`, functions whose values were not saved
    are left out; a function that was named and cannot be bound is a ResultsError.
    """
    public = {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isroutine(value) and not name.startswith("_") and value.__module__ == module.__name__
    }
    place = modules[0].__name__
    found: list[Served] = []
    lacking: list[str] = []
    for name in public if names is None else dict.fromkeys(names):
        if name not in public:
            raise ResultsError(place, f"there is no function {name!r}; there are {', '.join(public)}")
        needed = _needed(public[name])
        try:
            found.append(Served(name, public[name], _filled(source, needed, name, params_model)))
        except (ResultsError, PolicyError) as error:
            if names is not None:
                raise
            lacking.append(str(error))
    if not found:
        raise ResultsError(place, lacking[0] if lacking else "there is no function to serve")
    return found


def _needed(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]


def _filled(source: Path | None, needed: list[str], name: str, params_model: type[Any] | None) -> dict[str, Any]:
    """The needed values: secrets as a run without options would take them, the others as one has saved them."""
    fields = {} if params_model is None else params_model.model_fields
    secrets = [one for one in needed if one in fields and is_secret_field(fields[one])]
    saved = [one for one in needed if one not in secrets]
    given = {one: value_of(fields[one].get_default(call_default_factory=True)) for one in secrets}
    return {**given, **(_saved(source, saved, name) if saved else {})}


def _saved(source: Path | None, needed: list[str], name: str) -> dict[str, Any]:
    if source is None:
        raise ResultsError(name, f"it needs {', '.join(needed)} of a run: `run --save DIR`, then `serve --from DIR`")
    return load_results(source, needed)


def _homes(package: str) -> list[Any]:
    """The modules that hold the notebook's functions: its own, and what it shares with other notebooks."""
    above = package.rpartition(".")[0]
    found: list[Any] = []
    for name in (f"{package}.functions", *([f"{above}.shared"] if above else [])):
        try:
            found.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    if not found:
        raise ResultsError(package, "there is nothing to serve: the notebook defines no function of its own")
    return found


def _version(package: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(package.partition(".")[0])
    except metadata.PackageNotFoundError:
        return "0"
