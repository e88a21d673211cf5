"""Guarded cells inside a step: each as a decorated function where the cell stood, and the line that calls it."""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import TYPE_CHECKING

import libcst as cst

from mlguard_convert.emitting.names import PIPELINE
from mlguard_convert.emitting.returning import returned_at_once
from mlguard_convert.plan import GuardedCell, Step
from mlguard_convert.rewriting.namespaces import DropAnnotations, GlobalToNonlocal
from mlguard_convert.rewriting.statements import Body, function_of, joined, lines_of

if TYPE_CHECKING:
    from mlguard_convert.emitting.steps import Writer

__all__ = ["fallback_name", "fallback_of", "guarded_cell"]


def guarded_cell(writer: Writer, step: Step, cell: GuardedCell, body: Body) -> tuple[Body, Body]:
    """The function made of `body`, with what stands above it, and the statement that calls it."""
    parts = [f"{name}: {writer.introduced.name('Any', 'typing')}" for name in cell.declared]
    if cell.fallback is not None:
        parts.append(fallback_of(writer, cell.name, cell.fallback, cell.inputs, cell.outputs, cell.known, cell.unbound))
    kind = "async def" if cell.is_async else "def"
    header = [f"@{source}" for source in writer.guards(cell.policy, cell.name if cell.fallback else None)]
    header += [f"{kind} {cell.name}({', '.join(cell.inputs)}):", f'    """Cell {cell.cell}, with its guards."""', ""]
    of_module = [name for name in cell.shared if step.state]
    of_step = [name for name in cell.shared if name not in of_module]
    own = body.rewritten(GlobalToNonlocal(step.nonlocals), DropAnnotations(cell.shared))
    declared = lines_of(
        *([f"global {', '.join(of_module)}"] if of_module else []),
        *([f"nonlocal {', '.join(of_step)}"] if of_step else []),
    )
    values = [writer.introduced.if_bound(name) if name in cell.unbound else name for name in cell.outputs]
    returned = lines_of(f"return {', '.join(values)}") if values else Body([], [])
    whole = joined([declared, *_taking_back(writer, cell, own), returned])
    keeps = cell.shared or cell.unbound
    function = function_of("\n".join(header), whole if keeps else returned_at_once(whole, cell.outputs))
    call = f"{'await ' if cell.is_async else ''}{cell.name}({', '.join(cell.inputs)})"
    given = f"{', '.join(cell.outputs)} = " if cell.outputs else ""
    lines = [f"{given}{call}"]
    for name in cell.unbound:
        unbound = writer.introduced.name("UNBOUND", PIPELINE)
        lines.append(f"if {name} is {unbound}:  # the cell has not bound it\n    del {name}")
    return lines_of(*parts, function), lines_of(*lines)


def _taking_back(writer: Writer, cell: GuardedCell, body: Body) -> list[Body]:
    """`body`; where it binds what functions beside it see, a failed attempt takes that back."""
    if not (cell.restored or cell.fresh) or not body.statements:
        return [body]
    before, names = writer.introduced.local("before"), ", ".join(cell.restored)
    back = [f"{names} = {before}"] if cell.restored else []
    for name in cell.fresh:  # whether it has been bound or not
        back += [f"{name} = None", f"del {name}"]
    caught = "".join(f"    {line}\n" for line in back)
    error = writer.introduced.builtin("BaseException")
    frame = cst.parse_statement(f"try:\n    pass\nexcept {error}:\n{caught}    raise\n")
    assert isinstance(frame, cst.Try)
    block = cst.IndentedBlock(body=body.statements, footer=body.footer)
    kept = [lines_of(f"{before} = {names}")] if cell.restored else []
    return [*kept, Body([frame.with_changes(body=block)], [])]


def fallback_name(function: str) -> str:
    """What is called in place of `function` when memory is short."""
    return f"{function}_on_pressure"


def fallback_of(
    writer: Writer,
    name: str,
    fallback: str,
    inputs: Collection[str],
    outputs: Collection[str],
    known: Collection[str],
    unbound: Collection[str] = (),
) -> str:
    """The notebook's fallback returns a mapping of names; that of the function `name` must return what it returns.

    `known` have a value when it is called; those of the outputs that are `unbound` need none.
    """
    plan = writer.plan
    function = next(one for one in plan.functions if one.name == fallback)
    tree = ast.parse(function.piece.source).body[function.piece.keep[0]]
    assert isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef))
    asked = [one.arg for one in (*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs)]
    fixed = {one.name for one in plan.constants} | {one.name for one in plan.imports}
    passed = [f"{name}={name}" for name in (*asked, *function.takes) if name in known or name in fixed]
    call = f"{fallback}({', '.join(passed)})"
    lines = [
        f"def {fallback_name(name)}({', '.join(inputs)}):",
        f'    """What `{name}` gives when memory is short."""',
    ]
    if not outputs:
        lines.append(f"    {call}")
    else:
        missing = {one: one for one in outputs if one in known}
        missing |= {one: writer.introduced.name("UNBOUND", PIPELINE) for one in unbound}
        values = [f'given.get("{one}", {missing[one]})' if one in missing else f'given["{one}"]' for one in outputs]
        lines += [f"    given = {call}", f"    return {', '.join(values)}"]
    return "\n".join(lines) + "\n"
