"""The guards of a cell as the guards of a step: what a %%guard line means once the cell is a function."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from mlguard_convert.plan import Step
from mlguard_convert.planning.draft import BUILTINS, Draft, Unit
from mlguard_convert.planning.lifting import scope_is_defs
from mlguard_convert.planning.schemas import with_known_schemas
from mlguard_nb.policy.values import GuardPolicy, NameRef

if TYPE_CHECKING:
    from mlguard_convert.planning.grouping import Group

__all__ = [
    "cell_policy",
    "check_all_guarded",
    "function_policies",
    "inner_policies",
    "known_policy",
    "names_step",
    "step_policy",
]


def step_policy(draft: Draft, group: Group, step: Step) -> tuple[GuardPolicy | None, str | None]:
    """The policy of a step of one cell, and the notebook's function behind its fallback=; (None, None): no guards."""
    policy = cell_policy(group.first)
    return (None, None) if policy is None else known_policy(draft, policy, step.inputs, group.first.number)


def cell_policy(unit: Unit) -> GuardPolicy | None:
    """What the line of this unit's cell asks for the cell's run; None where it guards nothing, or functions only."""
    directive = unit.cell.directive
    if directive is None or not directive.policy.parts():
        return None
    return None if scope_is_defs(unit) and directive.cell.scope != "both" else directive.policy


def names_step(group: Group) -> bool:
    """Whether a name= on the first line is the step's: where other cells share the step it names a guarded one."""
    return len(group.cells) == 1 or not any(cell_policy(unit) for unit in group.units)


def known_policy(
    draft: Draft, policy: GuardPolicy, inputs: tuple[str, ...], cell: int, local: Collection[str] = ()
) -> tuple[GuardPolicy, str | None]:
    """The policy over what the function takes, and the notebook's function behind its fallback=. `local` are further
    names that the decorators may mention where they stand.
    """
    policy = _with_inputs(draft, with_known_schemas(draft, policy, inputs, cell), inputs, cell)
    fallback = None
    if policy.memory is not None and isinstance(policy.memory.fallback, NameRef):
        fallback = policy.memory.fallback.name
        if fallback not in draft.functions:
            draft.findings.error(
                "fallback", cell, f"fallback={fallback}: it is no function that can move to module level",
                "Define it once, with def, reading no notebook variables.",
            )  # fmt: skip
    _check_references(draft, policy, cell, local)
    return policy, fallback


def _with_inputs(draft: Draft, policy: GuardPolicy, inputs: tuple[str, ...], cell: int) -> GuardPolicy:
    """Keys and schemas speak of live-ins: what is a constant now has no place in them."""
    if policy.cache is not None:
        key = policy.cache.key
        if isinstance(key, tuple):
            key = tuple(name for name in key if not isinstance(name, str) or name in inputs) or None
        # A cell's results are variables, which later cells may change in place: each caller gets its own.
        policy = replace(policy, cache=replace(policy.cache, watch_files=True, hand_out="copy", key=key))
    if policy.validate is not None:
        known = tuple(pair for pair in policy.validate.schemas if pair[0] in inputs)
        for parameter, _ in policy.validate.schemas:
            if parameter not in inputs:
                draft.findings.warning(
                    "validate", cell, f"validate={parameter}: the cell does not read {parameter}, so it is not checked"
                )
        validate = replace(policy.validate, schemas=known) if known or policy.validate.returns else None
        policy = replace(policy, validate=validate)
    if policy.retry is not None and policy.retry.on_oom.startswith("halve:"):
        name = policy.retry.on_oom.partition(":")[2]
        if name not in inputs:
            draft.findings.error("halve", cell, f"oom=halve:{name}: the cell does not read {name}")
    return policy


def _check_references(draft: Draft, policy: GuardPolicy, cell: int, local: Collection[str] = ()) -> None:
    for role, reference in policy.references():
        top = reference.name.partition(".")[0]
        if top not in draft.module_names and top not in BUILTINS and top not in local:
            draft.findings.error(
                "guard-name", cell, f"{role}={reference.name}: {top} is not known where the step is defined",
                "Import or define it at the top of a cell, once.",
            )  # fmt: skip


def inner_policies(draft: Draft, group: Group) -> tuple[tuple[int, str, GuardPolicy], ...]:
    """The guards of functions that stay inside the step, for a cell that only defines."""
    found = []
    for unit in group.units:
        directive = unit.cell.directive
        if directive is None or not directive.policy.parts() or not scope_is_defs(unit):
            continue
        for name in unit.facts.functions:
            policy = with_known_schemas(draft, directive.policy, (), unit.number)
            _check_references(draft, policy, unit.number)
            found.append((unit.number, name, policy))
    return tuple(found)


def check_all_guarded(draft: Draft, steps: Iterable[Step]) -> None:
    """Say of each guarded cell from which nothing is left to guard that its line is gone."""
    kept = {one.piece.cell for one in draft.functions.values() if one.policy is not None}
    for step in steps:
        kept |= {step.cells[0]} if step.policy is not None else set()
        kept |= {one.cell for one in step.inner} | {cell for cell, *_ in step.guarded}
    for cell in draft.cells:
        if cell.directive is not None and cell.directive.policy.parts() and cell.number not in kept:
            draft.findings.warning(
                "guard", cell.number, "its %%guard line guards nothing in the package: no step and no function is made"
                " of this cell alone (imports, constants, classes and what is only shown need no guard)",
                "Put what is to be guarded into a cell of its own.",
            )  # fmt: skip


def function_policies(draft: Draft) -> None:
    """Guards of cells that only define: their schemas resolved, their names checked."""
    for name, function in list(draft.functions.items()):
        if function.policy is None:
            continue
        if function.is_class:
            draft.functions[name] = replace(function, policy=None)
            continue
        policy = with_known_schemas(draft, function.policy, (), function.piece.cell)
        _check_references(draft, policy, function.piece.cell)
        draft.functions[name] = replace(function, policy=policy)
