"""What a reader of the notebook should know: order of execution, secrets, names that nobody binds, data files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mlguard_convert.planning.draft import BUILTINS, Draft

__all__ = ["check_names", "check_order", "check_secrets", "check_shell_object", "data_files"]

_SECRET_TEXT = re.compile(
    r"AKIA[0-9A-Z]{16}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}|\bxox[abprs]-[\w-]{10,}"
    r"|AIza[\w-]{35}|\bhf_[A-Za-z0-9]{30,}|-----BEGIN [A-Z ]*PRIVATE KEY|://[^/\s:@]+:[^/\s:@]{3,}@"
)
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:password|passwd|pwd|secret|token|api_?key|access_?key|auth_?key|credentials?)(?:$|_)", re.IGNORECASE
)
# Without one of these a cell holds no secret that could be told.
_TELLING = re.compile(
    r"AKIA|sk-|gh[pousr]_|github_pat_|xox|AIza|hf_|PRIVATE KEY|://|passw|pwd|secret|token|api_?key|access_?key|auth_?key|credential",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"your|xxx|\*\*\*|<|>|\.\.\.|change|example|dummy|none|test|todo|\s|^$", re.IGNORECASE)


def check_order(draft: Draft) -> None:
    """Cells that were last executed in another order than they stand in."""
    order = [cell.number for cell in draft.cells]
    if order != sorted(order):
        draft.change((), f"the cells run as they were executed last: {', '.join(map(str, order))}")
    last, before = 0, 0
    for cell in draft.cells:
        count = cell.cell.execution_count
        if count is None:
            continue
        if count < last and draft.options.order == "file":
            draft.findings.warning(
                "order", cell.number,
                f"executed as [{count}], before cell {before} which stands above it ([{last}]); the package runs the "
                "cells as they stand in the file",
                remedies=("order",),
            )  # fmt: skip
        else:
            last, before = count, cell.number
    known: set[str] = {param.name for param in draft.params} | draft.module_names
    for unit in draft.of_fate("step"):
        for name in sorted(unit.facts.certain - known - BUILTINS):
            later = [one for one in draft.binders.get(name, ()) if one.position > unit.position]
            earlier = [one for one in draft.binders.get(name, ()) if one.position <= unit.position]
            if later and not earlier and not unit.cell.may_raise:
                is_file = draft.options.order == "file"
                draft.findings.warning(
                    "order", unit.number,
                    f"reads {name}, which only cell {later[0].number} {'below' if is_file else 'behind'} it binds",
                    f"Run {'from top to bottom' if is_file else 'in the order of execution'} the notebook fails here "
                    "too: move the cell.", unit.node.lineno, ("order",) if is_file else (),
                )  # fmt: skip
        known |= unit.facts.bound


def check_shell_object(draft: Draft) -> None:
    """`ip = get_ipython()` is None in a package: whatever the notebook asks of it cannot be kept."""
    names = {name for cell in draft.cells for name in cell.shells}
    for unit in draft.units if names else ():
        for node in ast.walk(unit.node):
            if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
                continue
            if node.value.id in names and not unit.cell.may_raise:
                draft.findings.error(
                    "get-ipython", unit.number, f"{ast.unparse(node)} asks something of IPython: a package has none",
                    "Write it in Python.", line=node.lineno,
                )  # fmt: skip
                break


def check_secrets(draft: Draft) -> None:
    """Literals that look like credentials; their values are never repeated, only remembered so that nobody does."""
    for cell in draft.cells:
        for node in ast.walk(cell.tree) if _TELLING.search(cell.source) else ():
            named = [value for name, value in _named(node) if _SECRET_NAME.search(name)]
            for value in [node, *named]:
                text = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
                is_told = value is not node and len(text) >= 6 and not _PLACEHOLDER.search(text)
                if not is_told and not _SECRET_TEXT.search(text):
                    continue
                draft.secrets.add(text)
                draft.findings.warning(
                    "secret", cell.number, "a literal looks like a secret, and it would be written into the package",
                    "Read it from the environment: os.environ[...].", line=getattr(value, "lineno", None),
                )  # fmt: skip


def _named(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """What a variable, attribute, key, keyword argument or parameter of a name is given, where `node` gives it."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
                yield str(target.slice.value), node.value
            else:
                yield getattr(target, "id", getattr(target, "attr", "")), node.value
    elif isinstance(node, ast.keyword):
        yield node.arg or "", node.value
    elif isinstance(node, ast.arguments):
        plain = [*node.posonlyargs, *node.args]
        given = [*zip(reversed(plain), reversed(node.defaults), strict=False)]
        given += [(one, value) for one, value in zip(node.kwonlyargs, node.kw_defaults, strict=True) if value]
        yield from ((one.arg, value) for one, value in given)


def check_names(draft: Draft) -> None:
    """Names that are read although no cell, no import and no builtin binds them."""
    known = draft.module_names | BUILTINS | set(draft.binders) | {param.name for param in draft.params} | {"display"}
    for unit in draft.units:
        if unit.fate not in ("step", "function", "constant"):
            continue
        needed = unit.facts.reads | unit.facts.late_reads
        for name in sorted(needed - known):
            if name.startswith("__mlguard_") or unit.cell.may_raise:
                continue
            draft.findings.warning("unknown-name", unit.number, f"{name} is bound by no cell", line=unit.node.lineno)


def data_files(draft: Draft) -> tuple[str, ...]:
    """Relative paths, written as literals, of files that exist beside the notebook."""
    folder = draft.notebook.path.parent
    found: dict[str, None] = {}
    for cell in draft.cells:
        for node in ast.walk(cell.tree):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            text = node.value
            if (
                not (0 < len(text) < 250)
                or "\n" in text
                or "\0" in text
                or text.startswith(("/", "~"))
                or "." not in text
            ):
                continue
            try:
                inside = (folder / text).resolve().is_relative_to(folder.resolve())
                if inside and (folder / text).is_file():
                    found[text] = None
            except (OSError, ValueError):
                continue
    return tuple(found)
