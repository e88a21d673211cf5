"""The export from one end to the other: read, plan, emit, write, check, compare. Every front end calls `export`."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mlguard_convert import assembling, tidying
from mlguard_convert.notebook_run import NotebookRun
from mlguard_convert.package import Package, StepRow, command_of
from mlguard_convert.package_writer import check_target, package_files, place, staged
from mlguard_convert.plan import Param, Plan, PlanOptions, make_plan
from mlguard_convert.reader import read_notebook
from mlguard_convert.settings import ExportOptions
from mlguard_convert.verify import Verification, observe, verify
from mlguard_nb.errors import Diagnostic
from mlguard_nb.pipeline.recording import recorded_text

__all__ = [
    "ExportResult", "export", "learned", "plan_options", "planned", "rewrite", "tidied", "verified", "with_values",
]  # fmt: skip

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """What came of an export. `folder` is None when nothing was written (check); `kept` are files that were changed
    by hand and stay, the new text beside them as NAME.new, `left` such files that the export no longer makes; `cells`
    counts code cells; `notes` say in sentences what became of cells that are no steps; `run` is the command that runs
    the package. `parts` are the results of the single notebooks where several went into one package; steps and
    findings of the whole name their notebook then.
    """

    package: str
    notebook: str
    cells: int
    folder: Path | None = None
    files: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    steps: tuple[StepRow, ...] = ()
    parameters: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    verification: Verification | None = None
    run: str = ""
    parts: tuple[ExportResult, ...] = ()


def export(
    notebook: str | Path,
    output: str | Path | None = None,
    *,
    name: str | None = None,
    verify: bool | None = None,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
    output_root: Path | None = None,
) -> ExportResult:
    """Turn the notebook at `notebook` into a package in the folder `output`.

    `output` None: a folder of the package's name in `output_root` (None: the current folder). `name` and `verify`
    are the two options one mostly wants, and win over `options`. `progress` is told (what, done, of how many).
    Nothing of the notebook is executed unless it is to be verified. ConversionError when the notebook cannot be
    converted or the folder is somebody else's, MissingExtra when --verify lacks what it needs; then nothing was
    written.
    """
    wanted = options or ExportOptions()
    wanted = replace(wanted, name=name or wanted.name, verify=wanted.verify if verify is None else verify)
    tell = progress or (lambda text, done, of: None)
    tell("reading the notebook", 0, 1)
    plan = make_plan(read_notebook(notebook), plan_options(wanted))
    first: NotebookRun | None = None
    if wanted.verify and not wanted.check:
        target = _target(output, output_root, plan)
        check_target(target, str(notebook), force=wanted.force)
        plan, first = learned(plan, wanted, tell)
    result = planned(plan)
    if wanted.check:
        return result
    target = _target(output, output_root, plan)
    check_target(target, str(notebook), force=wanted.force)
    return _write(plan, result, target, wanted, tell, first)


def planned(plan: Plan) -> ExportResult:
    """What the plan alone says; nothing is written yet."""
    return ExportResult(
        package=plan.package,
        notebook=plan.notebook.path.name,
        cells=len(plan.notebook.cells),
        steps=assembling.step_rows(plan),
        parameters=tuple(param.name for param in plan.params),
        notes=assembling.notes(plan),
        diagnostics=plan.diagnostics,
        run=f"{command_of(plan.package)} run",
    )


def _target(output: str | Path | None, output_root: Path | None, plan: Plan) -> Path:
    return (Path(output) if output is not None else (output_root or Path.cwd()) / plan.package).absolute()


def learned(
    plan: Plan, wanted: ExportOptions, tell: Progress, inside: str | None = None
) -> tuple[Plan, NotebookRun | None]:
    """The plan again after a run of the notebook, where it learns schemas whose outputs were cleared."""
    cells = plan.notebook.cells
    if not any("%guard schema" in cell.source and not cell.views for cell in cells):
        return plan, None
    run = observe(
        plan.notebook.path, progress=tell, skip=plan.skipped, order=plan.order or None, timeout=wanted.timeout
    )
    if run.error is not None:
        return plan, run
    with tempfile.TemporaryDirectory(prefix="mlguard-learned-") as folder:
        executed = Path(folder) / plan.notebook.path.name
        executed.write_text(run.executed, encoding="utf-8")
        seen = read_notebook(executed)
    known = [replace(cell, views=new.views) for cell, new in zip(cells, seen.cells, strict=True)]
    return make_plan(replace(plan.notebook, cells=tuple(known)), plan_options(wanted, inside)), run


def _write(
    plan: Plan, result: ExportResult, target: Path, wanted: ExportOptions, tell: Progress, first: NotebookRun | None
) -> ExportResult:
    from mlguard_convert.emit import emit_modules  # libcst takes 0.2 s, and a check does without it

    tell("writing the package", 0, 1)
    package, findings = assembling.package_of(plan, emit_modules(plan), wanted)
    with staged(package_files(package), target, str(plan.notebook.path)) as folder:
        package = tidied(folder, package)
        tell("importing the package", 0, 1)
        findings = [*findings, *tidying.import_check(folder, package.name)]
        verification: Verification | None = None
        if wanted.verify:
            verification = verified(plan, folder, wanted, tell, first)
            package, more = with_values(plan, package, verification, wanted)
            findings = [*findings, *more]
            rewrite(folder, package)
            package = tidied(folder, package)
        tell("moving the package into place", 0, 1)
        origin = {"notebook": package.notebook, "sha256": package.notebook_sha256}
        written = place(folder, target, origin, force=wanted.force)
    return replace(
        result,
        folder=written.folder,
        files=written.files,
        kept=written.kept,
        left=written.left,
        diagnostics=tuple(dict.fromkeys((*result.diagnostics, *findings))),
        verification=verification,
    )


def verified(
    plan: Plan, folder: Path, wanted: ExportOptions, tell: Progress, first: NotebookRun | None
) -> Verification:
    """The notebook's run beside that of its package in the staged `folder`."""
    return verify(
        plan.notebook.path,
        folder,
        python=wanted.python,
        progress=tell,
        skip=plan.skipped,
        order=plan.order or None,
        timeout=wanted.timeout,
        first=first,
        module=plan.package,
        secrets={param.variable: _secret(param) for param in plan.params if param.variable},
    ).hiding(plan.secrets)


def _secret(param: Param) -> str | None:
    """The notebook's value of a secret that the package does not hold; None leaves it its own default."""
    return str(ast.literal_eval(param.default)) if param.is_withheld else None


def with_values(
    plan: Plan, package: Package, verification: Verification, wanted: ExportOptions
) -> tuple[Package, list[Diagnostic]]:
    """The package again, with what the two runs showed: types, recorded values, the files and engines it uses."""
    from mlguard_convert.emit import emit_modules

    if verification.error is not None:
        return package, []
    types = {name: str(value["type"]) for name, value in verification.values.items()}
    types.update(verification.types)
    again, findings = assembling.package_of(plan, emit_modules(plan, types=types), wanted, seen=verification)
    returned = {name: verification.values[name] for name in plan.results if name in verification.values}
    recorded = recorded_text(
        returned,
        notebook=package.notebook,
        own=("__main__", package.name.partition(".")[0]),
        unstable={*verification.unstable, *verification.hidden},
    )
    return replace(again, recorded=recorded), findings


def tidied(folder: Path, package: Package) -> Package:
    """Format the code, and say in pyproject.toml which of the notebook's habits the linter has to bear."""
    ignored = tidying.tidy(folder, package.name)
    if ignored == package.lint_ignored:
        return package
    package = replace(package, lint_ignored=ignored)
    (folder / "pyproject.toml").write_bytes(package_files(package)["pyproject.toml"])
    return package


def rewrite(folder: Path, package: Package) -> None:
    """The package's files again, over those in the staged `folder`."""
    for path, data in package_files(package).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def plan_options(wanted: ExportOptions, inside: str | None = None) -> PlanOptions:
    """The part of the options that the plan depends on; `inside` is the package of several notebooks."""
    outputs = "auto" if wanted.outputs == "assigned" else wanted.outputs
    return PlanOptions(
        name=wanted.name if inside is None else None,
        inside=inside,
        outputs=outputs,  # type: ignore[arg-type]
        order="executed" if wanted.order == "executed" else "file",
        keep_displays=wanted.keep_displays,
        allow_shell=wanted.allow_shell,
        skip_bad_cells=wanted.skip_bad_cells,
    )
