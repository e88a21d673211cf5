"""Several notebooks as one package: each becomes a package inside it, and what they define alike is there once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlguard_convert import assembling, exporting, tidying
from mlguard_convert.exporting import ExportResult, Progress
from mlguard_convert.notebook_run import NotebookRun
from mlguard_convert.package import Package, command_of
from mlguard_convert.package_writer import check_target, package_files, place, staged
from mlguard_convert.plan import Plan, make_plan
from mlguard_convert.planning.alike import share
from mlguard_convert.planning.naming import package_name
from mlguard_convert.reader import read_notebook
from mlguard_convert.settings import ExportOptions
from mlguard_convert.verify import Verification
from mlguard_nb.errors import ConversionError, Diagnostic

__all__ = ["export_several"]


def export_several(
    notebooks: Sequence[Path],
    output: Path | None = None,
    *,
    options: ExportOptions,
    progress: Progress | None = None,
    output_root: Path | None = None,
) -> ExportResult:
    """Turn `notebooks` into one package named `options.name`, as `exporting.export` does with one.

    ConversionError when one of them cannot be converted, two have the same name, or the folder is somebody else's;
    then nothing was written.
    """
    tell = progress or (lambda text, done, of: None)
    name = package_name(options.name, notebooks[0].parent.absolute().name, {"mlguard_nb"})
    plans = [make_plan(read_notebook(one), exporting.plan_options(options, name)) for one in notebooks]
    _refuse_twins(plans)
    target = (output if output is not None else (output_root or Path.cwd()) / name).absolute()
    first: list[NotebookRun | None] = [None] * len(plans)
    if not options.check:
        check_target(target, ", ".join(map(str, notebooks)), force=options.force)
    if options.verify and not options.check:
        again = [exporting.learned(plan, options, tell, name) for plan in plans]
        plans, first = [plan for plan, _ in again], [run for _, run in again]
    thinner, home = share(plans, name)
    results = [exporting.planned(plan) for plan in thinner]
    if options.check:
        return _joined(name, results, [])
    return _write(name, thinner, home, results, first, target, options, tell)


def _refuse_twins(plans: Sequence[Plan]) -> None:
    seen: dict[str, Plan] = {}
    for plan in plans:
        twin = seen.setdefault(plan.package, plan)
        if twin is not plan:
            message = f"another notebook of this export would become {plan.package} as well"
            found = Diagnostic("name", "error", None, None, message, "Rename one of the two")
            raise ConversionError(str(plan.notebook.path), [found])


def _write(
    name: str,
    plans: Sequence[Plan],
    home: Plan | None,
    results: Sequence[ExportResult],
    first: Sequence[NotebookRun | None],
    target: Path,
    options: ExportOptions,
    tell: Progress,
) -> ExportResult:
    from mlguard_convert.emit import emit_modules, shared_module

    tell("writing the package", 0, 1)
    made = [assembling.package_of(plan, emit_modules(plan), options) for plan in plans]
    parts = [package for package, _ in made]
    found = [list(findings) for _, findings in made]
    whole = _whole(name, parts, shared_module(home))
    verifications: list[Verification | None] = [None] * len(plans)
    with staged(package_files(whole), target, str(plans[0].notebook.path)) as folder:
        whole = exporting.tidied(folder, whole)
        tell("importing the package", 0, 1)
        for at, plan in enumerate(plans):
            found[at] += tidying.import_check(folder, plan.package)
        if options.verify:
            seen: dict[str, str] = {}
            for at, plan in enumerate(plans):
                verification = exporting.verified(plan, folder, options, tell, first[at])
                parts[at], more = exporting.with_values(plan, parts[at], verification, options)
                found[at] += more
                verifications[at] = verification
                seen.update(verification.types)
            whole = _whole(name, parts, shared_module(home, seen))
            exporting.rewrite(folder, whole)
            whole = exporting.tidied(folder, whole)
        tell("moving the package into place", 0, 1)
        origin = {one.notebook: one.notebook_sha256 for one in parts}
        written = place(folder, target, origin, force=options.force)
    results = [
        replace(result, diagnostics=tuple(dict.fromkeys((*result.diagnostics, *more))), verification=verification)
        for result, more, verification in zip(results, found, verifications, strict=True)
    ]
    return replace(
        _joined(name, results, [one for one in verifications if one is not None]),
        folder=written.folder,
        files=written.files,
        kept=written.kept,
        left=written.left,
    )


def _whole(name: str, parts: Sequence[Package], shared: str) -> Package:
    """The package that holds the packages of the notebooks."""
    listed = ", ".join(f"`{name}.{_last(one.name)}`" for one in parts)
    modules = {path: text for one in parts for path, text in one.modules.items()}
    modules[f"src/{name}/__init__.py"] = f'"""The notebooks {", ".join(_last(one.name) for one in parts)}."""\n'
    if shared:
        modules[f"src/{name}/shared.py"] = shared
    needed = {one.name: one for part in parts for one in part.requirements}
    return replace(
        parts[0],
        name=name,
        description=f"{len(parts)} notebooks as one package: {listed}.",
        notebook=", ".join(one.notebook for one in parts),
        code_cells=sum(one.code_cells for one in parts),
        modules=modules,
        requirements=tuple(needed[key] for key in sorted(needed, key=str.lower)),
        extras=tuple({one.name: one for part in parts for one in part.extras if one.name not in needed}.values()),
        locked=tuple(sorted({line for one in parts for line in one.locked}, key=str.lower)),
        steps=(),
        changes=(),
        data=tuple(sorted({item for one in parts for item in one.data})),
        too_large=tuple(sorted({item for one in parts for item in one.too_large})),
        recorded=None,
        untyped=tuple(sorted({item for one in parts for item in one.untyped})),
        requests=tuple((f"{_last(one.name)}.{step}", table) for one in parts for step, table in one.requests),
        parts=tuple(parts),
    )


def _joined(name: str, results: Sequence[ExportResult], verifications: Sequence[Verification]) -> ExportResult:
    """One result for all: each step, note and finding with the name of its notebook."""
    verification: Verification | None = None
    if verifications:
        errors = [
            f"{one.notebook}: {seen.error}" for one, seen in zip(results, verifications, strict=True) if seen.error
        ]
        named = _by_notebook(results, verifications)
        verification = Verification(
            rows=tuple(replace(row, name=f"{part}.{row.name}") for part, seen in named.items() for row in seen.rows),
            unstable=tuple(f"{part}.{one}" for part, seen in named.items() for one in seen.unstable),
            error="; ".join(errors) or None,
            notebook_seconds=sum(seen.notebook_seconds for seen in verifications),
            package_seconds=sum(seen.package_seconds for seen in verifications),
            notebook_peak_bytes=_highest(seen.notebook_peak_bytes for seen in verifications),
            package_peak_bytes=_highest(seen.package_peak_bytes for seen in verifications),
        )
    return ExportResult(
        package=name,
        notebook=", ".join(one.notebook for one in results),
        cells=sum(one.cells for one in results),
        steps=tuple(replace(step, name=f"{_last(one.package)}.{step.name}") for one in results for step in one.steps),
        parameters=tuple(f"{_last(one.package)}.{param}" for one in results for param in one.parameters),
        notes=tuple(f"{one.notebook}: {note}" for one in results for note in one.notes),
        diagnostics=tuple(
            replace(found, message=f"{one.notebook}: {found.message}") for one in results for found in one.diagnostics
        ),
        verification=verification,
        run=f"{command_of(results[0].package)} run",
        parts=tuple(results),
    )


def _highest(peaks: Iterable[int | None]) -> int | None:
    """The highest of those that are known: the runs come one after the other."""
    return max((peak for peak in peaks if peak is not None), default=None)


def _by_notebook(results: Sequence[ExportResult], seen: Sequence[Verification]) -> Mapping[str, Verification]:
    return {_last(one.package): verification for one, verification in zip(results, seen, strict=True)}


def _last(package: str) -> str:
    return package.rpartition(".")[2]
