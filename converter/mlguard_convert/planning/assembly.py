"""The phases of planning in their order, from a notebook to a frozen plan."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import replace

from mlguard_convert.diagnostics import Findings
from mlguard_convert.guard_lines import GuardLines
from mlguard_convert.ipython_syntax import PlainCell, plain_cell
from mlguard_convert.plan import Change, Plan, PlanOptions, Step
from mlguard_convert.planning.binders import bind_known_names
from mlguard_convert.planning.checks import check_names, check_order, check_shell_object, data_files
from mlguard_convert.planning.constants import find_constants, find_params
from mlguard_convert.planning.credentials import check_secrets
from mlguard_convert.planning.displays import drop_displays, print_displays
from mlguard_convert.planning.draft import Draft
from mlguard_convert.planning.evaluated_texts import hand_over_names
from mlguard_convert.planning.explaining import explain
from mlguard_convert.planning.flow import build_steps
from mlguard_convert.planning.fragile import acting_names, fragile_names
from mlguard_convert.planning.global_statements import drop_needless_globals
from mlguard_convert.planning.guarding import function_policies
from mlguard_convert.planning.handlers import rename_handlers
from mlguard_convert.planning.history import bind_history
from mlguard_convert.planning.hoisting import hoist_imports
from mlguard_convert.planning.ipython_only import leave_ipython
from mlguard_convert.planning.lifting import lift_functions
from mlguard_convert.planning.naming import package_name
from mlguard_convert.planning.output_widgets import go_on_after_errors
from mlguard_convert.planning.prose import plain_text, sentence
from mlguard_convert.planning.resetting import delete_reset_names
from mlguard_convert.planning.schemas import find_schemas
from mlguard_convert.planning.sharing import mark_sharing
from mlguard_convert.planning.unit_tests import hand_over_test_cases
from mlguard_convert.reader import Cell, Notebook
from mlguard_nb.errors import Diagnostic

__all__ = ["assemble"]


def assemble(notebook: Notebook, options: PlanOptions) -> Plan:
    """Run every phase; ConversionError with every error found."""
    findings = Findings()
    cells, skipped = _plain_cells(notebook, options, findings)
    findings.refuse_if_errors(notebook.path)
    draft = Draft(notebook, options, findings, cells, skipped=skipped)
    draft.fill()
    leave_ipython(draft)
    drop_needless_globals(draft)
    hand_over_names(draft)
    hand_over_test_cases(draft)
    go_on_after_errors(draft)
    bind_history(draft)
    print_displays(draft)
    delete_reset_names(draft)
    draft.package = _package(draft)
    for cell in cells:
        for text in cell.changes:
            draft.change((cell.number,), text)
    draft.is_dynamic = any(unit.facts.is_dynamic for unit in draft.units)
    if draft.is_dynamic:
        first = next(unit for unit in draft.units if unit.facts.is_dynamic)
        findings.warning(
            "dynamic", first.number, "runs code as text or reaches into the namespace, so the notebook stays one step",
            "Write exec, eval, globals() and locals() out to get a step for each heading.", line=first.node.lineno,
        )  # fmt: skip
    rename_handlers(draft)
    bind_known_names(draft)
    hoist_imports(draft)
    find_params(draft)
    find_schemas(draft)
    if not draft.is_dynamic:
        find_constants(draft)
        lift_functions(draft)
        drop_displays(draft)
    function_policies(draft)
    check_secrets(draft)
    check_order(draft)
    check_names(draft)
    check_shell_object(draft)
    steps, results = build_steps(draft)
    findings.refuse_if_errors(notebook.path)
    steps = mark_sharing(draft, steps)
    files = data_files(draft)
    explain(draft, steps, files)
    return _plan(draft, steps, results, files)


def _plain_cells(notebook: Notebook, options: PlanOptions, findings: Findings) -> tuple[list[PlainCell], list[int]]:
    """Every cell as plain Python, in run order; with `skip_bad_cells` those that cannot be are left out."""
    order: list[Cell] = list(notebook.cells)
    if options.order == "executed":
        order.sort(key=lambda cell: (cell.execution_count is None, cell.execution_count or 0, cell.number))
    cells: list[PlainCell] = []
    skipped: list[int] = []
    lines = GuardLines.of(notebook.metadata)
    for cell in order:
        own = Findings()
        plain = plain_cell(cell, own, lines)
        told = [_newer(one, notebook) for one in own.all()]
        errors = [one for one in told if one.severity == "error"]
        if plain is not None and not errors:
            cells.append(plain)
        elif options.skip_bad_cells:
            skipped.append(cell.number)
            for one in errors:
                findings.warning(one.code, one.cell, f"left out: {one.message}", line=one.line)
            continue
        for one in told:
            if one.code == "shell" and options.allow_shell:
                continue
            findings.add(one)
    return cells, skipped


def _newer(one: Diagnostic, notebook: Notebook) -> Diagnostic:
    """What is no Python here may be Python there: the notebook says which one wrote it."""
    about = notebook.metadata.get("language_info")
    written = re.match(r"(\d+)\.(\d+)", str(about.get("version"))) if isinstance(about, dict) else None
    if one.code != "syntax" or written is None or tuple(map(int, written.groups())) <= sys.version_info[:2]:
        return one
    here = ".".join(map(str, sys.version_info[:2]))
    return replace(one, next_step=f"It was written with Python {written[0]}, and this is {here}: convert it with that.")


def _package(draft: Draft) -> str:
    imported = {one.module.partition(".")[0] for unit in draft.units for one in unit.facts.imports}
    name = package_name(draft.options.name, draft.notebook.path.stem, imported | {"mlguard_nb"})
    return name if draft.options.inside is None else f"{draft.options.inside}.{name}"


def _plan(draft: Draft, steps: list[Step], results: list[str], files: tuple[str, ...]) -> Plan:
    notebook = draft.notebook
    title = notebook.title or draft.package.rpartition(".")[2].replace("_", " ").capitalize()
    first = re.split(r"(?<=[.!?])\s", plain_text(notebook.prose).replace("\n", " "))[0]
    description = sentence(f"{title}: {first[0].lower()}{first[1:]}" if first and len(first) < 120 else title)
    needed = {one.module.partition(".")[0] for one in draft.imports.values()}
    handled: set[str] = set()
    for unit in draft.units:
        if unit.fate in ("step", "function", "block"):
            _inner_imports(unit.node, needed, handled)
    modules = sorted((needed | handled) - {draft.package.partition(".")[0], ""} - set(sys.stdlib_module_names))
    loose = [unit for unit in draft.units if unit.fate == "step"]
    names = draft.names | {unit.cell.cell.title for unit in loose if unit.cell.cell.title.isidentifier()}
    return Plan(
        package=draft.package,
        title=title,
        description=description,
        notebook=notebook,
        steps=tuple(steps),
        functions=tuple(draft.functions.values()),
        cached=tuple(draft.cached),
        constants=tuple(draft.constants),
        params=tuple(draft.params),
        schemas=tuple(draft.schemas.values()),
        imports=tuple(draft.imports.values()),
        blocks=tuple(draft.blocks),
        futures=tuple(draft.futures),
        vendor=tuple(draft.vendor.values()),
        results=tuple(results),
        names=frozenset(names),
        shadowed=draft.shadowed,
        acting=acting_names(draft),
        fragile=fragile_names(draft),
        changes=_merged(draft.changes),
        diagnostics=draft.findings.all(),
        modules=tuple(modules),
        optional=tuple(name for name in modules if name not in needed),
        requirements=tuple(dict.fromkeys(need for cell in draft.cells for need in cell.requirements)),
        data_files=files,
        skipped=tuple(draft.skipped),
        order=tuple(cell.number for cell in draft.cells),
        is_async=any(step.is_async for step in steps),
        allow_shell=draft.options.allow_shell,
        secrets=frozenset(draft.secrets),
    )


def _inner_imports(node: ast.AST, needed: set[str], handled: set[str]) -> None:
    """Add the modules that `node` imports to `needed`, or to `handled` where their absence is caught."""
    if isinstance(node, ast.Import):
        needed |= {alias.name.partition(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        needed.add(node.module.partition(".")[0])
    elif isinstance(node, ast.Try) and any(map(_catches_absence, node.handlers)):
        for tried in node.body:
            _inner_imports(tried, handled, handled)
        for other in (*node.handlers, *node.orelse, *node.finalbody):
            _inner_imports(other, needed, handled)
    else:
        for inner in ast.iter_child_nodes(node):
            _inner_imports(inner, needed, handled)


def _catches_absence(handler: ast.ExceptHandler) -> bool:
    """Whether the clause catches ImportError, by this or a wider name."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        one is None
        or (
            isinstance(one, ast.Name) and one.id in ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")
        )
        for one in caught
    )


def _merged(changes: list[Change]) -> tuple[Change, ...]:
    """The same change of several cells once, in the order of the first cell."""
    found: dict[str, list[int]] = {}
    for change in changes:
        found.setdefault(change.text, []).extend(change.cells)
    merged = [Change(tuple(sorted(set(cells))), text) for text, cells in found.items()]
    merged.sort(key=lambda change: change.cells[:1])
    return tuple(_with_one_drop_a_cell(merged))


def _with_one_drop_a_cell(changes: list[Change]) -> list[Change]:
    """ "`%a` dropped", "`%b` dropped" of the same cells as one line."""
    found: list[Change] = []
    for change in changes:
        before = found[-1] if found and found[-1].cells == change.cells else None
        if before is not None and before.text.endswith(" dropped") and change.text.endswith(" dropped"):
            both = f"{before.text.removesuffix(' dropped').replace(' and ', ', ')} and {change.text}"
            found[-1] = Change(change.cells, both)
            continue
        found.append(change)
    return found
