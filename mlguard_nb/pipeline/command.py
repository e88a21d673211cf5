"""The command of an exported package: `run` with one option a parameter, progress, logs, saved results, exit codes."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from mlguard_nb import clock
from mlguard_nb.errors import GuardError, MissingExtra, PolicyError
from mlguard_nb.pipeline import engines, options
from mlguard_nb.pipeline.arguments import ArgumentParser
from mlguard_nb.pipeline.directory import RunInProgress, working_directory
from mlguard_nb.pipeline.environment import holds_secret, secret_texts, without_secrets
from mlguard_nb.pipeline.logs import Output, chosen_output
from mlguard_nb.pipeline.resources import read_requests

__all__ = ["DONE", "FAILED", "USAGE", "Main", "command_line"]

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class Main(Protocol):
    """The command of a package."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Do what `arguments` ask for (None: those of the process); the exit status."""
        ...


def command_line(run: Callable[..., Any], params_model: type[Any] | None = None, *, name: str | None = None) -> Main:
    """The `main` of a package whose pipeline is `run(params=None, *, base_dir=None)`.

    `main(arguments=None)` reads the command line and returns the exit status: 0 done, 1 the run failed, 2 bad
    usage, 130 interrupted. `params_model` is the pydantic model of the parameters, None without any; `name` is the
    command's name, None: the package's. Values that the notebook prints go to standard output, everything else to
    standard error.
    """
    package = name or run.__module__.rpartition(".")[0] or run.__module__

    def main(arguments: Sequence[str] | None = None) -> int:
        parser = _parser(package, run, params_model)
        given = parser.parse_args(arguments)
        if given.verb is None:
            parser.print_help()
            return DONE
        if given.verb == "serve":
            return _serve(package, params_model, given)
        try:
            params = None if params_model is None else options.params_from(params_model, given)
        except PolicyError as error:
            sys.stderr.write(f"{package} run: {error}\n")
            return USAGE
        return _run(package, run, params, given)

    return main


def _parser(package: str, run: Callable[..., Any], params_model: type[Any] | None) -> ArgumentParser:
    about = (inspect.getdoc(sys.modules.get(package)) or "").partition("\n")[0]
    parser = ArgumentParser(prog=package, description=about or None)
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND")
    runner = verbs.add_parser("run", help="run the pipeline from top to bottom", description=about or None)
    if params_model is not None:
        options.add_options(runner.add_argument_group("parameters"), params_model)
    how = runner.add_argument_group("how to run")
    how.add_argument("--base-dir", type=Path, metavar="DIR", help="where relative paths start (default: this folder)")
    how.add_argument("--save", type=Path, metavar="DIR", help="write every result there, with type, hash and version")
    how.add_argument("--json-logs", action="store_true", help="one JSON object a line on standard error")
    how.add_argument("--traceback", action="store_true", help="say of a missing file, too, where it was asked for")
    how.add_argument("--quiet", action="store_true", help="no progress, only errors")
    how.add_argument("--engine", choices=engines.ENGINES, default="local", help="where the steps are executed")
    how.add_argument("--address", metavar="HOST:PORT", help="the cluster for --engine ray (default: a local one)")
    server = verbs.add_parser("serve", help="answer calls of the package's functions over HTTP")
    server.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help="what run --save wrote, for functions that need it"
    )
    server.add_argument("--function", action="append", metavar="NAME", help="serve only this one; may be repeated")
    server.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    server.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: 8000)")
    return parser


def _run(package: str, run: Callable[..., Any], params: Any, given: argparse.Namespace) -> int:
    output = chosen_output(json_logs=given.json_logs, quiet=given.quiet)
    started = clock.current().now()
    base_dir = given.base_dir.absolute() if given.base_dir is not None else None
    save = given.save.absolute() if given.save is not None else None
    if base_dir is not None and not base_dir.is_dir():
        output.failed(f"--base-dir {given.base_dir} is not a folder")
        return USAGE
    secrets = secret_texts(dict(params or ()))
    with output:
        try:
            results = _execute(package, run, params, base_dir, save, given)
            if save is not None:
                _save(results, dict(params or ()), save, package, output)
        except KeyboardInterrupt:
            output.failed("interrupted")
            return INTERRUPTED
        except (RunInProgress, MissingExtra) as error:
            output.failed(str(error))
            return USAGE
        except GuardError as error:
            message = without_secrets(f"{type(error).__name__}: {error}", secrets)
            output.failed(message, without_secrets("".join(getattr(error, "__notes__", ())), secrets))
            return FAILED
        except Exception as error:  # the user's own code failed: its traceback is the message
            from mlguard_nb.runtime.monitoring import trimmed

            step = _where_paths_start(error, base_dir)
            detail = "" if step and not given.traceback else trimmed(error)
            message = without_secrets(f"{type(error).__name__}: {error}", secrets)
            output.failed(f"{message}{step}", without_secrets(detail, secrets))
            return FAILED
        output.done(len(results), clock.current().now() - started)
    return DONE


def _where_paths_start(error: Exception, base_dir: Path | None) -> str:
    """The next step where a file with a relative path was not found, else nothing."""
    missing = error.filename if isinstance(error, FileNotFoundError) else None
    if not isinstance(missing, str) or Path(missing).is_absolute():
        return ""
    start = base_dir or Path.cwd()
    return f"; relative paths start at {start}: name another folder with --base-dir DIR (--traceback shows where)"


def _execute(
    package: str,
    run: Callable[..., Any],
    params: Any,
    base_dir: Path | None,
    save: Path | None,
    given: argparse.Namespace,
) -> dict[str, Any]:
    """What `run()` returned, gathered from the engine. Figures go below `save` where that is given."""
    from contextlib import ExitStack

    from mlguard_nb.pipeline.figures import figures_in
    from mlguard_nb.telemetry import otel_environment, sinks, tracing

    otel_environment.configure(package)
    sinks.attach_configured()
    arguments = () if params is None else (params,)
    with ExitStack() as around:
        if save is not None:
            around.enter_context(figures_in(save / "figures"))
        around.callback(otel_environment.send)
        around.enter_context(_measured(package))
        around.enter_context(tracing.span_if_on(f"{package} run", {}))
        extra = {"address": given.address, "requests": read_requests(package)} if given.engine == "ray" else {}
        gather = around.enter_context(engines.engine(given.engine, **extra))
        keywords = {"base_dir": base_dir} if "base_dir" in inspect.signature(run).parameters else {}
        if not keywords:
            around.enter_context(working_directory(base_dir))
        found = run(*arguments, **keywords)
        results: Mapping[str, Any] = asyncio.run(found) if inspect.iscoroutine(found) else found
        return gather(results or {})


@contextmanager
def _measured(package: str) -> Iterator[None]:
    """Tell the sinks how the run ended, and after how long."""
    from mlguard_nb.telemetry import bus
    from mlguard_nb.telemetry.events import RunEnded

    started, outcome = clock.current().now(), "cancelled"
    try:
        yield
        outcome = "ok"
    except Exception:
        outcome = "error"
        raise
    finally:
        seconds = clock.current().now() - started
        bus.emit(RunEnded(function=package, outcome=outcome, duration_seconds=seconds))


def _save(results: Mapping[str, Any], params: Mapping[str, Any], folder: Path, package: str, output: Output) -> None:
    """Write the results and the parameters, which functions may take as well: `serve` fills them in. Of a secret
    parameter nothing is written, and no plain data that it stands in.
    """
    from mlguard_nb.pipeline.results import save_results

    secrets = secret_texts(params)
    values = {**params, **results}
    hidden = [name for name, value in values.items() if holds_secret(value, secrets)]
    refused = save_results({name: values[name] for name in values if name not in hidden}, folder, source=package)
    for name, reason in {**dict.fromkeys(hidden, "it holds a secret"), **refused}.items():
        output.note(f"{name} was not saved: {reason}")


def _serve(package: str, params_model: type[Any] | None, given: argparse.Namespace) -> int:
    from mlguard_nb.pipeline.serving import serve

    try:
        return serve(package, given.source, given.function, given.host, given.port, params_model)
    except (GuardError, OSError) as error:
        sys.stderr.write(f"{package} serve: {error}\n")
        return USAGE
