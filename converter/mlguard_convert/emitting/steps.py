"""steps.py: one decorated function a step, and functions.py: what was lifted."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping
from dataclasses import replace

import libcst as cst

from mlguard_convert.emitting.annotations import Types
from mlguard_convert.emitting.guarded_cells import fallback_name, fallback_of, guarded_cell
from mlguard_convert.emitting.names import PIPELINE, Introduced, import_lines
from mlguard_convert.emitting.raising import raised
from mlguard_convert.emitting.returning import returned_at_once
from mlguard_convert.magics import CAPTURE, MEASURED, SHELL, SHOWN_ERRORS
from mlguard_convert.plan import Import, Piece, Plan, Step
from mlguard_convert.rewriting.annotating import AnnotateFunctions
from mlguard_convert.rewriting.calls import PassVariables
from mlguard_convert.rewriting.dead_stores import DropDeadStores
from mlguard_convert.rewriting.definitions import AddGuards, TakeVariables
from mlguard_convert.rewriting.namespaces import DropAnnotations, GlobalToNonlocal, ModuleNamespace, RestoreBuiltins
from mlguard_convert.rewriting.notebook_calls import NameHelper, PrintDisplays, RunShell, SaveFigures
from mlguard_convert.rewriting.statements import Body, code_of, function_of, joined, kept, lines_of
from mlguard_convert.rewriting.unread_locals import DropUnreadLocals, has_unread_locals
from mlguard_nb.policy.render import DECORATOR_OF, decorators
from mlguard_nb.policy.values import GuardPolicy, NameRef

__all__ = ["constants_home", "functions_module", "steps_module"]

_HELPERS = {CAPTURE: "captured_output", MEASURED: "measured", SHOWN_ERRORS: "shown_errors"}


class Writer:
    """What both modules need: the passes of a piece, and the names that these bring along."""

    def __init__(self, plan: Plan, seen: Mapping[str, str] | None) -> None:
        self.plan = plan
        self.introduced = Introduced(plan)
        self.types = Types(plan, seen, self.introduced)
        self.own = {one.name for one in plan.functions} | {one.name for one in plan.constants}
        self.takes = {one.name: one.takes for one in plan.functions if one.takes}
        self.pyplot = {
            one.name
            for one in plan.imports
            if (one.module, one.attribute) in (("matplotlib.pyplot", None), ("matplotlib", "pyplot"), ("pylab", None))
        }

    def body(self, piece: Piece, figures: str | None = None) -> Body:
        """The statements of a piece after every pass that its text calls for."""
        passes: list[cst.CSTTransformer] = []
        text = piece.source
        if SHELL in text:
            passes.append(RunShell(self.introduced.name("shell", PIPELINE), self.plan.allow_shell))
        for stand_in, helper in _HELPERS.items():
            if stand_in in text:
                passes.append(NameHelper(stand_in, self.introduced.name(helper, PIPELINE)))
        if ".show(" in text and self.pyplot:
            passes.append(SaveFigures(self.introduced.name("save_figures", PIPELINE), self.pyplot, figures))
        if "display" in text and "display" not in self.own:
            if "display" not in self.plan.shadowed:
                passes.append(PrintDisplays(self.introduced.builtin("print")))
            self.introduced.imports["display"] = Import("display", PIPELINE, "display")
        words = set(re.findall(r"\w+", text)) if self.takes else set()
        takes = {name: self.takes[name] for name in words & self.takes.keys()}
        if takes:
            passes.append(PassVariables(takes))
        if "def " in text and has_unread_locals(text):
            passes += [DropUnreadLocals(), DropUnreadLocals()]  # what only a dropped store read is unread then
        return kept(piece).rewritten(*passes)

    def guards(self, policy: GuardPolicy | None, falls_back: str | None = None) -> list[str]:
        """The decorators of a policy, under names that the notebook does not use. `falls_back`: the function whose
        fallback is written beside it.
        """
        if policy is None:
            return []
        if falls_back is not None and policy.memory is not None:
            policy = replace(policy, memory=replace(policy.memory, fallback=NameRef(fallback_name(falls_back))))
        found = []
        for one in decorators(policy):
            wanted = DECORATOR_OF[one.part]
            name = self.introduced.name(wanted, "mlguard_nb")
            found.append(name + one.source[len(wanted) :])
        return found


def constants_home(plan: Plan) -> str:
    """The module that holds the constants: functions, where there is one."""
    return "functions" if plan.functions else "steps"


def _constants(plan: Plan, writer: Writer) -> list[str]:
    places: dict[tuple[int, str], dict[int, None]] = {}
    for one in plan.constants:
        places.setdefault((one.piece.cell, one.piece.source), {}).update(dict.fromkeys(one.piece.keep))
    pieces = (Piece(cell, source, tuple(keep)) for (cell, source), keep in places.items())
    texts = [code_of(writer.body(piece)).strip("\n") for piece in pieces]
    return ["\n".join(texts)] if texts else []


def functions_module(plan: Plan, seen: Mapping[str, str] | None) -> str:
    """The text of functions.py; "" where nothing was lifted."""
    if not plan.functions:
        return ""
    writer = Writer(plan, seen)
    parts = _constants(plan, writer)
    for function in plan.functions:
        body = writer.body(function.piece)
        passes: list[cst.CSTTransformer] = []
        if function.takes:
            passes.append(TakeVariables(writer.takes))
        if seen:
            passes.append(AnnotateFunctions(writer.types.of_function))
        if function.policy is not None:
            passes.append(AddGuards({function.name: writer.guards(function.policy)}))
        parts.append(code_of(body.rewritten(*passes)).strip("\n"))
    code = "\n\n\n".join(parts) + "\n"
    home = {name: "schemas" for one in plan.schemas for name in (one.name, one.profile_name)}
    classes = [one.is_class for one in plan.functions]
    kinds = [*(["functions"] if not all(classes) else []), *(["classes"] if any(classes) else [])]
    kinds += ["constants"] if plan.constants else []
    listed = " and ".join([", ".join(kinds[:-1]), kinds[-1]] if kinds[:-1] else kinds)
    about = f'"""The notebook\'s {listed}."""'
    return _module(about, import_lines(plan, code, writer.introduced, home, keep=_is_state(plan)), code)


def steps_module(plan: Plan, seen: Mapping[str, str] | None) -> str:
    """The text of steps.py."""
    writer = Writer(plan, seen)
    parts = _constants(plan, writer) if constants_home(plan) == "steps" else []
    for step in plan.steps:
        if step.fallback is not None:
            parts.append(
                fallback_of(
                    writer, step.name, step.fallback, step.inputs, step.outputs, step.inputs, step.unbound_outputs
                )
            )
        parts.append(_step(writer, step))
    code = "\n\n\n".join(part.strip("\n") for part in parts) + "\n"
    home = {name: "schemas" for one in plan.schemas for name in (one.name, one.profile_name)}
    home |= {one.name: "functions" for one in plan.functions}
    home |= {one.name: "functions" for one in plan.constants} if plan.functions else {}
    what = "a step reads its arguments and returns what later cells or the caller use"
    about = f'"""The notebook\'s cells as functions: {what}."""'
    imports = import_lines(plan, code, writer.introduced, home, effects=True, keep=_is_state(plan))
    return _module(about, imports, code)


def _is_state(plan: Plan) -> bool:
    return any(step.state for step in plan.steps)


def _module(about: str, imports: str, code: str) -> str:
    return "\n\n".join(part for part in (about, imports, code if not imports else f"\n{code}") if part.strip())


def _step(writer: Writer, step: Step) -> str:
    bodies = []
    for at, piece in enumerate(step.pieces):
        body = writer.body(piece, step.figures)
        if step.dead or "except" in piece.source:
            is_tried = piece.cell in step.tolerated
            body = body.rewritten(
                DropDeadStores(
                    step.dead,
                    _unread_handlers(piece),
                    acting=writer.plan.acting,
                    fragile=writer.plan.fragile,
                    is_tried=is_tried,
                )
            )
        guarded = {name: writer.guards(policy) for cell, name, policy in step.guarded if cell == piece.cell}
        if guarded:
            body = body.rewritten(AddGuards(guarded))
        if step.freed:
            body = body.rewritten(RestoreBuiltins(step.freed, writer.introduced.module("builtins")))
        if step.nonlocals:
            body = body.rewritten(GlobalToNonlocal(step.nonlocals))
        if step.state:
            body = body.rewritten(ModuleNamespace(), DropAnnotations(_bound_globally(writer.plan, step)))
        inner = next((one for one in step.inner if one.cell == piece.cell), None)
        before = Body([], [])
        if inner is not None:
            before, body = guarded_cell(writer, step, inner, body)
        if piece.cell in step.tolerated and step.policy is None:
            body = _tolerated(body, piece.cell, writer)
        if step.figures is not None and at and body.statements and len(step.pieces) > 1:
            bodies.append(lines_of(f"{writer.introduced.name('save_figures', PIPELINE)}()"))
        bodies += [before, body]
    body = joined([_preamble(writer, step), *bodies, *_ending(writer, step)])
    keeps = step.state or step.declared or step.nonlocals or step.tolerated or step.unbound_outputs
    return function_of(_header(writer, step), body if keeps else returned_at_once(body, step.outputs))


def _header(writer: Writer, step: Step) -> str:
    arguments = [f"cell={_cells(step.cells)}"]
    if step.outputs:
        listed = ", ".join(f'"{name}"' for name in step.outputs)
        arguments.append(f"outputs=({listed}{',' if len(step.outputs) == 1 else ''})")
    if step.mutates:
        listed = ", ".join(f'"{name}"' for name in step.mutates)
        arguments.append(f"mutates=({listed}{',' if len(step.mutates) == 1 else ''})")
    if step.shares:
        arguments.append("shares=True")
    lines = [f"@{writer.introduced.name('step', PIPELINE)}({', '.join(arguments)})"]
    lines += [f"@{source}" for source in writer.guards(step.policy, step.name if step.fallback else None)]
    params = []
    for name in step.inputs:
        annotation = None if name in step.unbound_inputs else writer.types.taken(step, name)
        local = _handed_over(writer, step).get(name, name)
        params.append(f"{local}: {annotation}" if annotation else local)
    returned = writer.types.returned(step)
    returns = f" -> {returned}" if returned else ""
    lines.append(f"{'async ' if step.is_async else ''}def {step.name}({', '.join(params)}){returns}:")
    doc = step.doc.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    doc = doc[:-1] + '\\"' if doc.endswith('"') else doc
    text = "\n".join(f"    {line}" if line.strip() and at else line for at, line in enumerate(doc.split("\n")))
    lines.append(f'    """{text}{"    " if doc.endswith(chr(10)) else ""}"""')
    return "\n".join(lines) + "\n"


def _handed_over(writer: Writer, step: Step) -> dict[str, str]:
    """The inputs of a step that runs code as text, which sees globals only: each under the name of its parameter.

    Guards know the parameters by the notebook's names, so with guards these stay.
    """
    renamed = step.state and step.policy is None
    return {name: writer.introduced.local(f"given_{name}") for name in step.inputs} if renamed else {}


def _cells(cells: tuple[int, ...]) -> str:
    if len(cells) == 1:
        return str(cells[0])
    from mlguard_convert.templates.readme import cells_text

    return f'"{cells_text(cells)}"'


def _preamble(writer: Writer, step: Step) -> Body:
    if step.state and "__file__" in step.declared:
        lines = [f'{writer.introduced.builtin("globals")}().pop("__file__", None)  # a notebook has none']
    else:
        lines = [f"{name}: {writer.introduced.name('Any', 'typing')}" for name in step.declared]
    for name in step.unbound_inputs:
        unbound = writer.introduced.name("UNBOUND", PIPELINE)
        lines.append(f"if {name} is {unbound}:  # no cell before has bound it\n    del {name}")
    for name in step.restored:
        if name == "__name__":
            lines.append('__name__ = "__main__"')
        elif name == "display":
            lines.append(f"display = {writer.introduced.name('display', PIPELINE)}")
        else:
            lines.append(f"{name} = {writer.introduced.module('builtins')}.{name}")
    if step.state:
        given = _handed_over(writer, step)
        bound = sorted({*_bound_globally(writer.plan, step), *given} - (set(step.inputs) - given.keys()))
        fresh = f"{writer.introduced.name('fresh_namespace', PIPELINE)}(globals())"
        assigned = [f"{name} = {value}" for name, value in given.items()]
        assigned += [f'globals()["{name}"] = {name}' for name in step.inputs if name not in given]
        lines = [*([f"global {', '.join(bound)}"] if bound else []), fresh, *assigned, *lines]
    if step.by_name:
        lines = [f"global {', '.join(step.by_name)}  # where pickle looks for them", *lines]
    return lines_of(*lines)


def _bound_globally(plan: Plan, step: Step) -> set[str]:
    """What a step that runs code as text declares to be of the module."""
    return _state_names(plan, step) | set(step.outputs)


def _state_names(plan: Plan, step: Step) -> set[str]:
    """What a step that runs code as text binds, also by that code: names that it reads and nobody else binds."""
    from mlguard_nb.dataflow import combine, statement_facts

    parts = []
    for piece in step.pieces:
        tree = ast.parse(piece.source)
        parts += [statement_facts(tree.body[place]) for place in piece.keep]
    facts = combine(parts)
    modules = {one.name for one in plan.imports} | {name for block in plan.blocks for name in block.names}
    read = {name for name in facts.reads | facts.late_reads if not name.startswith("__")}
    return {*facts.bound, *(read - modules - set(dir(builtins)))}


def _ending(writer: Writer, step: Step) -> list[Body]:
    """The return; names that may be unbound are looked up, since reading one would fail."""
    values = list(step.outputs)
    for name in step.unbound_outputs:
        values[values.index(name)] = writer.introduced.if_bound(name, "globals" if step.state else "locals")
    return [lines_of(f"return {', '.join(values)}")] if values else []


def _tolerated(body: Body, cell: int, writer: Writer) -> Body:
    """`body` in a `try` that tells what it raised: a cell tagged raises-exception does not stop the notebook."""
    if not body.statements:
        return body
    head, told = raised(writer.introduced, f"cell {cell} is tagged raises-exception")
    frame = cst.parse_statement(f"try:\n    pass\n{head}\n    {told}\n")
    assert isinstance(frame, cst.Try)
    block = cst.IndentedBlock(body=body.statements, footer=body.footer)
    return Body([frame.with_changes(body=block)], [])


def _unread_handlers(piece: Piece) -> set[str]:
    """Names of `except E as e` that no handler of that name reads; behind a handler its name is gone."""
    handlers: set[str] = set()
    read: set[str] = set()
    for node in ast.walk(ast.parse(piece.source)):
        if isinstance(node, ast.ExceptHandler) and node.name:
            handlers.add(node.name)
            read |= {one.id for part in node.body for one in ast.walk(part) if isinstance(one, ast.Name)}
    return handlers - read
