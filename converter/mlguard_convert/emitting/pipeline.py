"""pipeline.py, params.py, schemas.py, __init__.py and __main__.py."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

from mlguard_convert.emitting.annotations import Types
from mlguard_convert.emitting.names import PIPELINE, Introduced, import_lines
from mlguard_convert.emitting.raising import raised
from mlguard_convert.emitting.steps import constants_home
from mlguard_convert.package import command_of
from mlguard_convert.plan import Param, Plan

__all__ = ["init_module", "main_module", "params_module", "pipeline_module", "schemas_module"]


def pipeline_module(plan: Plan, seen: Mapping[str, str] | None) -> str:
    """The notebook from top to bottom: `run()` and what it returns."""
    introduced = Introduced(plan)
    types = Types(plan, seen, introduced)
    constants = {one.name for one in plan.constants}
    home = constants_home(plan)
    steps = introduced.name("steps", plan.package)
    holder = introduced.name("functions", plan.package) if constants and home == "functions" else steps
    given = introduced.local("params")
    params_class = introduced.name("Params", f"{plan.package}.params") if plan.params else ""
    fields = []
    for name in plan.results:
        annotation = types.final(name)
        fields.append(f"    {name}: {annotation or introduced.name('Any', 'typing')}")
    results = "Results" not in plan.names
    lines = [
        f"class Results({introduced.name('TypedDict', 'typing')}):",
        '    """The names that the notebook ends with."""',
        "",
        *fields,
        "",
        "",
    ]
    path = introduced.name("Path", "pathlib")
    accepted = f"params: {params_class} | None = None, *, " if plan.params else "*, "
    kind = "async def" if plan.is_async else "def"
    lines.append(f"{kind} run({accepted}base_dir: str | {path} | None = None) -> {'Results' if results else 'dict'}:")
    lines.append(
        '    """Run every step in the notebook\'s order; '
        'relative paths start at `base_dir` (default: the current folder)."""'
    )
    if plan.params:
        lines.append(f"    {given} = params or {params_class}()")
    lines += [f"    {name}.cache_clear()" for name in plan.cached]
    lines.append(f"    with {introduced.name('working_directory', PIPELINE)}(base_dir):")
    lines += [f"        {line}" for line in _calls(plan, steps, given, introduced)] or ["        pass"]
    bound = {name for step in plan.steps for name in step.outputs}
    bound |= {name for name, _ in plan.shared} | {name for block in plan.blocks for name in block.names}
    values = [(name, name if name in bound else f"{holder}.{name}") for name in plan.results]
    if results:
        returned = f"Results({', '.join(f'{name}={value}' for name, value in values)})"
    else:
        returned = "{" + ", ".join(f'"{name}": {value}' for name, value in values) + "}"
    if plan.unbound_results:
        returned = f"{introduced.name('without_unbound', PIPELINE)}({returned})"
    lines.append(f"    return {returned}")
    code = "\n".join(lines) + "\n"
    if not results:
        code = code.replace("-> dict:", "-> dict:  # one of the notebook's names is Results", 1)
    about = '"""The notebook from top to bottom."""'
    named = {one.name: "functions" for one in plan.functions if one.is_class or one.name in plan.cached}
    return f"{about}\n\n{import_lines(plan, code, introduced, named)}\n\n\n{code}"


def _calls(plan: Plan, steps: str, given: str, introduced: Introduced) -> list[str]:
    found: list[str] = []
    values = {param.name: _value(param, given) for param in plan.params}
    bound: set[str] = set()
    read = {name for step in plan.steps for name in (*step.inputs, *step.deletes)} | set(plan.results)
    for step in plan.steps:
        arguments = [name if name in bound else values.get(name, name) for name in step.inputs]
        call = f"{'await ' if step.is_async else ''}{steps}.{step.name}({', '.join(arguments)})"
        taken = len(step.outputs) > 1 or set(step.outputs) & read
        line = f"{', '.join(step.outputs)} = {call}" if taken else call
        if step.tolerated and step.policy is not None:  # its guards may raise before its body runs
            unbound = introduced.name("UNBOUND", PIPELINE)
            found += [f"{name} = {unbound}" for name in step.outputs if name not in bound]
            head, told = raised(introduced, f"cell {step.cells[0]} may raise")
            found += ["try:", f"    {line}", head, f"    {told}"]
        else:
            found.append(line)
        bound |= set(step.outputs)
        gone = [name for name in step.deletes if name in bound]
        if gone:
            found.append(f"del {', '.join(gone)}")
            bound -= set(gone)
    return found


def params_module(plan: Plan) -> str:
    """The pydantic model of the parameters; "" without any."""
    if not plan.params:
        return ""
    introduced = Introduced(plan)
    # Older versions of pydantic warn of fields such as model_name.
    config = 'frozen=True, extra="forbid"'
    config += ", protected_namespaces=()" if any(param.name.startswith("model_") for param in plan.params) else ""
    body = "".join(f"    {param.name}: {_field(param, introduced)}\n" for param in plan.params)
    code = (
        f"class Params({introduced.name('BaseModel', 'pydantic')}):\n"
        '    """What may change from run to run."""\n\n'
        f"    model_config = {introduced.name('ConfigDict', 'pydantic')}({config})\n\n"
        f"{body}"
    )
    about = '"""The notebook\'s `parameters` cell: each field is an option of the command line."""'
    return f"{about}\n\n{import_lines(plan, code, introduced, {})}\n\n\n{code}"


def _field(param: Param, introduced: Introduced) -> str:
    """The annotation of a parameter and its default. A text that is secret comes from the environment."""
    default = ast.unparse(ast.parse(param.default, mode="eval")) if "\n" in param.default else param.default
    kind = introduced.name("Any", "typing") if param.annotation == "Any" else param.annotation
    given = f"default={default}"
    if param.variable:
        kind = f"{introduced.name('SecretStr', 'pydantic')}{' | None' if _may_be_none(param) else ''}"
        otherwise = "" if param.is_withheld else f", {default}"
        given = f'default_factory={introduced.name("FromEnvironment", PIPELINE)}("{param.variable}"{otherwise})'
    elif param.is_secret:
        kind = f"{introduced.name('Secret', 'pydantic')}[{kind}]"
        given = f"default={kind}({default})"
    if not param.description and not param.variable:
        return f"{kind} = {given.removeprefix('default=')}"
    if param.description:
        given += f", description={json.dumps(param.description, ensure_ascii=False)}"
    return f"{kind} = {introduced.name('Field', 'pydantic')}({given})"


def _may_be_none(param: Param) -> bool:
    """Whether a secret text may be missing."""
    return bool(param.variable) and param.annotation == "Any"


def _value(param: Param, given: str) -> str:
    """How a step gets the parameter's value from the model."""
    value = f"{given}.{param.name}"
    if not param.is_secret:
        return value
    shown = f"{value}.get_secret_value()"
    return f"None if {value} is None else {shown}" if _may_be_none(param) else shown


def schemas_module(plan: Plan) -> str:
    """The schemas; "" without any."""
    if not plan.schemas:
        return ""
    parts = []
    for schema in plan.schemas:
        note = f"# {schema.note}\n" if schema.note else ""
        parts.append(f"{note}{schema.name} = {schema.source}\n")
        if schema.profile:
            load = f'Reference.load(Path(__file__).with_name("{schema.profile_file}"))'
            parts.append(
                f"# What the numbers looked like: drift is measured from here.\n{schema.profile_name} = {load}\n"
            )
    code = "\n".join(parts)
    kinds = sorted(
        kind for kind in ("Array", "Col", "Frame", "Reference") if f"{kind}(" in code or f"{kind}.load" in code
    )
    path = "from pathlib import Path\n\n" if "Reference" in kinds else ""
    about = '"""Schemas declared or learned in the notebook."""'
    return f"{about}\n\n{path}from mlguard_nb import {', '.join(kinds)}\n\n{code}"


def init_module(plan: Plan) -> str:
    """What the package offers."""
    names = ["Params", "Results", "run"] if plan.params else ["Results", "run"]
    doc = plan.description.replace("\\", "\\\\").replace('"', "'")
    imports = f"from {plan.package}.params import Params\n" if plan.params else ""
    listed = ", ".join(f'"{name}"' for name in names)
    return f'"""{doc}"""\n\n{imports}from {plan.package}.pipeline import Results, run\n\n__all__ = [{listed}]\n'


def main_module(plan: Plan) -> str:
    """The command."""
    imports = f"from {plan.package}.params import Params\n" if plan.params else ""
    call = "run, Params" if plan.params else "run"
    options = ", with one option for each parameter" if plan.params else ""
    command = command_of(plan.package)
    return (
        f'"""`{command}`, or `python -m {plan.package}`: `run` the pipeline{options}."""\n\n'
        f"from {PIPELINE} import command_line\n\n"
        f"{imports}from {plan.package}.pipeline import run\n\n"
        f"main = command_line({call})\n\n"
        'if __name__ == "__main__":\n    raise SystemExit(main())\n'
    )
