"""The command `mlguard-nb`: export, check, report, top, doctor.

Exit status: 0 done; 1 values differ, or findings are errors; 2 cannot be done, or bad usage.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlguard_convert import messages
from mlguard_convert.settings import ExportOptions, named_outputs
from mlguard_nb.errors import ConversionError, GuardError, MissingExtra, on_one_line
from mlguard_nb.pipeline.arguments import ArgumentParser
from mlguard_nb.version import __version__

__all__ = ["CANNOT", "DIFFERS", "DONE", "main"]

DONE, DIFFERS, CANNOT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, do it, return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0].endswith(".ipynb"):  # a notebook alone is to be exported
        words.insert(0, "export")
    given = _parser().parse_args(words)
    act: Callable[[argparse.Namespace], int] | None = getattr(given, "act", None)
    if act is None:
        _parser().print_help(sys.stderr)
        sys.stderr.write("mlguard-nb: name a command, for example: mlguard-nb export NOTEBOOK.ipynb\n")
        return CANNOT
    try:
        return act(given)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing was left half-written\n")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone
        sys.stderr.close()
        return DONE


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="mlguard-nb", description="Production guards for notebooks, and the way out of them.")
    parser.add_argument("--version", action="version", version=f"mlguard-nb {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    export = commands.add_parser("export", help="turn a notebook into a package that computes the same values")
    _notebook_options(export)
    _export_options(export)
    export.set_defaults(act=_export, check=False)
    check = commands.add_parser("check", help="say what an export would do, and write nothing")
    _notebook_options(check)
    check.set_defaults(act=_export, check=True)
    report = commands.add_parser("report", help="calls, percentiles, retries and errors from a JSON log")
    report.add_argument("log", type=Path, metavar="LOG.jsonl")
    report.add_argument(
        "--baseline", type=Path, metavar="OLD.jsonl", help="flag what became slower or fails more often"
    )
    report.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots as well")
    report.add_argument("--json", action="store_true", help="one JSON object instead of text")
    report.set_defaults(act=_report)
    top = commands.add_parser("top", help="memory of this machine, and who holds it, while you watch")
    top.add_argument(
        "--every", type=float, default=1.0, metavar="SECONDS", help="seconds between readings (default: 1)"
    )
    top.add_argument("--once", action="store_true", help="print one picture and leave")
    top.set_defaults(act=_top)
    doctor = commands.add_parser("doctor", help="what works on this machine, and what to do about the rest")
    doctor.add_argument("--json", action="store_true", help="one JSON object instead of text")
    doctor.set_defaults(act=_doctor)
    return parser


def _notebook_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("notebooks", type=Path, nargs="+", metavar="NOTEBOOK.ipynb")
    parser.add_argument(
        "--name", metavar="PKG", help="the package's name (default: from the notebook's file name, or their folder's)"
    )
    parser.add_argument(
        "--outputs",
        metavar="all|NAME,...",
        help="results: all names, or only these (default: names bound by assignment)",
    )
    parser.add_argument("--order", choices=("file", "executed"), default="file", help="the order of the cells")
    parser.add_argument("--keep-displays", action="store_true", help="log what cells showed as their last expression")
    parser.add_argument("--allow-shell", action="store_true", help="let shell lines run in the package")
    parser.add_argument("--skip-bad-cells", action="store_true", help="leave out cells that Python cannot read")
    parser.add_argument("--sarif", type=Path, metavar="FILE", help="write the findings as SARIF too")
    parser.add_argument("--json", action="store_true", help="one JSON object a line: progress, then result or error")


def _export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, metavar="DIR", help="the package's folder (default: ./PKG)")
    parser.add_argument("--check", action="store_true", help="only say what would be done")
    parser.add_argument("--verify", action="store_true", help="run notebook and package and compare every final value")
    parser.add_argument("--python", metavar="PATH", help="the interpreter in which --verify runs the package")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="longest time of one cell under --verify")
    parser.add_argument("--force", action="store_true", help="overwrite files that were changed by hand")
    parser.add_argument("--pack-data", action="store_true", help="let data of any size travel in tests/data")
    parser.add_argument("--k8s", action="store_true", help="add Kubernetes manifests: a job, and a service")


def _options(given: argparse.Namespace) -> ExportOptions:
    extra = ("verify", "python", "timeout", "force", "pack_data", "k8s")
    known: dict[str, Any] = {name: getattr(given, name) for name in extra if hasattr(given, name)}
    return ExportOptions(
        name=given.name,
        outputs=named_outputs(given.outputs),
        order=given.order,
        keep_displays=given.keep_displays,
        allow_shell=given.allow_shell,
        skip_bad_cells=given.skip_bad_cells,
        check=given.check,
        **known,
    )


def _export(given: argparse.Namespace) -> int:
    """Convert one notebook, or several into one package; to check several is to check each by itself."""
    teller: messages.Teller = messages.JsonTeller() if given.json else messages.TextTeller()
    notebooks: list[Path] = given.notebooks
    groups = [[one] for one in notebooks] if given.check else [notebooks]
    findings: list[tuple[str, Sequence[Any]]] = []
    status = max(_convert(given, group, teller, findings) for group in groups)
    if given.sarif is not None:
        from mlguard_convert.sarif import sarif

        try:
            given.sarif.write_text(sarif(findings), encoding="utf-8")
        except OSError as error:
            teller.failed(_one_line(error))
            return CANNOT
    return status


def _convert(
    given: argparse.Namespace, notebooks: list[Path], teller: messages.Teller, findings: list[tuple[str, Sequence[Any]]]
) -> int:
    """The exit status for the one package of `notebooks`; `findings` takes what was found in each."""
    shown = ", ".join(map(str, notebooks))
    output: Path | None = getattr(given, "output", None)
    try:
        _need_extras(verify=bool(getattr(given, "verify", False)))
        if len(notebooks) > 1:
            from mlguard_convert.several import export_several

            result = export_several(notebooks, output, options=_options(given), progress=teller.progress)
        else:
            from mlguard_convert.exporting import export

            result = export(notebooks[0], output, options=_options(given), progress=teller.progress)
    except ConversionError as error:
        findings.append((error.notebook, error.diagnostics))
        teller.refused(shown, error)
        return DIFFERS if given.check and all(one.cell is not None for one in error.diagnostics) else CANNOT
    except (GuardError, OSError) as error:
        teller.failed(_one_line(error))
        return CANNOT
    parts = result.parts or (result,)
    findings += [(str(path), part.diagnostics) for path, part in zip(notebooks, parts, strict=True)]
    teller.result(result)
    failed = any(one.severity == "error" for one in result.diagnostics)
    return DIFFERS if failed or (result.verification is not None and not result.verification.ok) else DONE


def _need_extras(*, verify: bool) -> None:
    """MissingExtra, with the command that installs it, when a library of the converter is not there."""
    from importlib.util import find_spec

    if any(find_spec(module) is None for module in ("libcst", "IPython", "nbformat")):
        raise MissingExtra("exporting a notebook", "convert")
    if verify and any(find_spec(module) is None for module in ("nbclient", "ipykernel")):
        raise MissingExtra("export --verify", "lab,convert")


def _report(given: argparse.Namespace) -> int:
    from mlguard_convert.report import print_report

    try:
        return print_report(given.log, given.baseline, html=given.html, as_json=given.json)
    except (GuardError, OSError) as error:
        sys.stderr.write(f"mlguard-nb report: {_one_line(error)}\n")
        return CANNOT


def _top(given: argparse.Namespace) -> int:
    from mlguard_convert.top import watch

    return watch(every=given.every, once=given.once)


def _doctor(given: argparse.Namespace) -> int:
    from mlguard_convert.doctor import print_findings

    return print_findings(as_json=given.json)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{on_one_line(str(error.filename))}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
