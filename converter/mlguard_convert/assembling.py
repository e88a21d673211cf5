"""From the plan and its modules to the package: dependencies, data that travels, what the README tells."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlguard_convert.dependencies import locked, requirements, untyped
from mlguard_convert.package import Package, StepRow
from mlguard_convert.templates.readme import cells_text
from mlguard_convert.workloads import workload_of
from mlguard_nb.errors import Diagnostic
from mlguard_nb.pipeline.options import flag_of
from mlguard_nb.policy.describe import phrases
from mlguard_nb.units import format_bytes

if TYPE_CHECKING:
    from mlguard_convert.plan import Plan, Step
    from mlguard_convert.settings import ExportOptions
    from mlguard_convert.verify import Verification

__all__ = ["notes", "package_of", "step_rows"]

_PACKED_BYTES = 10**6
# Libraries that others load by themselves when they are there; what was computed depends on them.
_ENGINES = frozenset(
    {"fastparquet", "html5lib", "lxml", "openpyxl", "pyarrow", "sqlalchemy", "tables", "xlrd", "xlsxwriter"}
)


def package_of(
    plan: Plan, modules: Mapping[str, str], wanted: ExportOptions, seen: Verification | None = None
) -> tuple[Package, list[Diagnostic]]:
    """The package, and what to say about its dependencies and data. `seen` is what a run of it has shown."""
    engines = _ENGINES.intersection(seen.modules) if seen is not None else frozenset[str]()
    needed = requirements(
        [*plan.modules, *engines], plan.requirements, optional=plan.optional, with_pydantic=bool(plan.params)
    )
    findings = [
        Diagnostic(
            "dependency", "warning", None, None,
            f"no installed distribution provides the module {module!r}, so its name is a guess",
            "Correct it in pyproject.toml",
        )
        for module in needed.guessed
    ]  # fmt: skip
    read = seen.files if seen is not None else plan.data_files
    data, too_large = _packed(plan.folder, read, everything=wanted.pack_data)
    if too_large:
        findings.append(_stays_behind(too_large))
    package = Package(
        name=plan.package,
        description=plan.description or plan.title or f"What {plan.notebook.path.name} computes.",
        notebook=plan.notebook.path.name,
        notebook_sha256=plan.notebook.sha256,
        code_cells=len(plan.notebook.cells),
        modules=modules,
        requirements=needed.requirements,
        extras=needed.extras,
        locked=locked(needed.requirements),
        steps=step_rows(plan),
        changes=plan.changes,
        example_option=_example_option(plan),
        example_result=_example_result(plan, seen),
        served=tuple(one.name for one in plan.functions if not one.is_class and not one.name.startswith("_")),
        serves_results=any(one.takes for one in plan.functions if not one.is_class),
        secrets={param.variable: param.is_withheld for param in plan.params if param.variable},
        data=data,
        too_large=too_large,
        is_async=plan.is_async,
        kubernetes=workload_of(plan) if wanted.k8s else None,
        untyped=untyped(plan.modules),
        requests=_requests(plan),
    )
    return package, findings


def step_rows(plan: Plan) -> tuple[StepRow, ...]:
    """The steps as the README and the export dialog show them."""
    return tuple(
        StepRow(
            name=step.name,
            cells=step.cells,
            title=step.title,
            guards=_guards(step),
            reads=step.inputs,
            gives=step.outputs,
            figures=(f"figures/{step.figures}.png",) if step.figures else (),
        )
        for step in plan.steps
    )


def _guards(step: Step) -> tuple[str, ...]:
    """The guards of a step; those that are about a part of it say which."""
    whole = phrases(step.policy) if step.policy is not None else ()
    cells = (f"cell {one.cell}: {', '.join(phrases(one.policy))}" for one in step.inner)
    functions = (f"`{name}`: {', '.join(phrases(policy))}" for _, name, policy in step.guarded)
    return (*whole, *cells, *functions)


def _requests(plan: Plan) -> tuple[tuple[str, str], ...]:
    """What the guarded steps ask a cluster for: a GPU where they guard one, else the most memory that they need."""
    found: list[tuple[str, str]] = []
    for step in plan.steps:
        asked = [policy.memory for policy in step.policies if policy.memory is not None]
        if any(memory.gpu is not None or memory.device is not None for memory in asked):
            found.append((step.name, "{ num_gpus = 1 }"))
        elif needed := [memory.need for memory in asked if isinstance(memory.need, int)]:
            found.append((step.name, f'{{ memory = "{format_bytes(max(needed))}" }}'))
    return tuple(found)


def notes(plan: Plan) -> tuple[str, ...]:
    """In sentences what became of the cells that are no steps."""
    found: list[str] = []
    if plan.params:
        cells = cells_text(tuple({param.cell for param in plan.params}))
        found.append(f"Cell {cells} becomes the parameters ({', '.join(param.name for param in plan.params)}).")
    lifted = [function.name for function in plan.functions]
    if lifted:
        found.append(f"{_listed(lifted)} {'goes' if len(lifted) == 1 else 'go'} to functions.py.")
    if plan.skipped:
        found.append(f"Cell {cells_text(plan.skipped)} is left out.")
    return tuple(found)


def _example_option(plan: Plan) -> str:
    """The first option that takes a number, with its default; else the first one. None that is a secret."""
    names = [param.name for param in plan.params]
    shown = [param for param in plan.params if not param.is_secret]
    for param in shown:
        if re.fullmatch(r"-?\d[\d.]*", param.default):
            return f"{flag_of(param.name, names)} {param.default}"
    return f"{flag_of(shown[0].name, names)} VALUE" if shown else ""


def _example_result(plan: Plan, seen: Verification | None) -> str:
    """The last result that is a plain value, where that is known; else the last one."""
    values = seen.values if seen is not None else {}
    plain = [name for name in plan.results if "value" in values.get(name, {})]
    return (plain or list(plan.results) or [""])[-1]


def _packed(
    folder: Path, paths: Iterable[str], *, everything: bool
) -> tuple[tuple[tuple[str, Path], ...], tuple[str, ...]]:
    """The files that travel, smallest first while they fit, and the names of those that do not."""
    root = folder.resolve()
    found: dict[str, Path] = {}
    outside: list[str] = []
    for path in paths:
        for file in _files_at(root, path):
            inside = root in file.resolve().parents
            if not inside:
                outside.append(path)
            else:
                found[file.relative_to(root).as_posix()] = file
    data: list[tuple[str, Path]] = []
    too_large: list[str] = []
    size = 0
    for name, file in sorted(found.items(), key=lambda item: (item[1].stat().st_size, item[0])):
        size += file.stat().st_size
        if everything or size <= _PACKED_BYTES:
            data.append((name, file))
        else:
            too_large.append(name)
    return tuple(sorted(data)), tuple(sorted({*too_large, *outside}))


def _files_at(root: Path, path: str) -> list[Path]:
    """The files that a relative path, folder or pattern of the notebook means; none when it is not there."""
    if Path(path).is_absolute() or "\0" in path:
        return []
    place = root / path
    if place.is_dir():
        return sorted(file for file in place.rglob("*") if file.is_file()) if place.resolve() != root else []
    if place.is_file():
        return [place]
    return [root / match for match in sorted(glob.glob(path, root_dir=root)) if (root / match).is_file()]


def _stays_behind(names: tuple[str, ...]) -> Diagnostic:
    verb = "does" if len(names) == 1 else "do"
    return Diagnostic(
        "data", "warning", None, None,
        f"{_listed(names)} {verb} not travel with the package, so its test needs the data put below tests/data",
        remedies=("pack_data",),
    )  # fmt: skip


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
