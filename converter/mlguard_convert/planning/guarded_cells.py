"""Guarded cells that share a step with other cells: each becomes a function inside the step, guarded by itself."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from mlguard_convert.plan import GuardedCell, Step
from mlguard_convert.planning.draft import Draft, Unit
from mlguard_convert.planning.grouping import Group
from mlguard_convert.planning.guarding import cell_policy, known_policy
from mlguard_convert.planning.naming import free_name, slug, step_name
from mlguard_convert.planning.ordering import binding_order, reading_order
from mlguard_nb.dataflow import CellFacts, combine
from mlguard_nb.policy.values import GuardPolicy

__all__ = ["guarded_cells"]


def guarded_cells(draft: Draft, group: Group, step: Step, used: set[str]) -> tuple[GuardedCell, ...]:
    """The guarded cells of a step of several, in run order; `used` are the names of steps so far, theirs are added."""
    cells: dict[int, list[Unit]] = {}
    for unit in group.units:
        cells.setdefault(unit.number, []).append(unit)
    names = (group.facts.bound - draft.module_names) | set(step.inputs)
    sure = {*step.inputs, *(name for name in step.restored if name in names)} - {*step.unbound_inputs}
    found: list[GuardedCell] = []
    for number, own in cells.items():
        policy = cell_policy(own[0])
        if policy is not None:
            place = _Place(draft, group, step, Group(own, combine(unit.facts for unit in own)), names, frozenset(sure))
            found.append(place.cell(policy, used))
        elif own[0].cell.directive is not None and own[0].cell.directive.policy.name and len(cells) > 1:
            name = own[0].cell.directive.policy.name
            if slug(name) != step.name:
                message = f"name={name}: the cell guards nothing and stays inside the step {step.name}"
                draft.findings.info("guard", number, message)
        facts = combine(unit.facts for unit in own)
        sure -= facts.deleted
        if not own[0].cell.may_raise:
            sure |= facts.definite & names
    return tuple(found if step.state else _with_variables(group, step, found))


def _with_variables(group: Group, step: Step, found: list[GuardedCell]) -> list[GuardedCell]:
    """The cells with those shared names alone that are variables of the step: bound in it outside these cells, or
    read there, when they are declared first. Others are the cell's own.
    """
    numbers = {one.cell for one in found}
    beside = [unit.facts for unit in group.units if unit.number not in numbers]
    bound = {*step.inputs, *step.declared, *step.restored}
    for one in found:
        bound |= {*one.outputs}
    for facts in beside:
        bound |= (facts.bound - facts.written_globals) | facts.definite
    whole: list[GuardedCell] = []
    for one in found:
        others = [unit.facts for unit in group.units if unit.number != one.cell]
        read = {*step.outputs}.union(*(facts.uses | facts.late_reads | facts.written_globals for facts in others))
        declared = tuple(name for name in one.shared if name not in bound and name in read)
        bound |= {*declared}
        whole.append(replace(one, shared=tuple(name for name in one.shared if name in bound), declared=declared))
    return whole


@dataclass(slots=True)
class _Place:
    """One guarded cell among the others. `names` are the step's variables, `sure` those that have a value before it."""

    draft: Draft
    group: Group
    step: Step
    own: Group
    names: Collection[str]
    sure: frozenset[str]

    @property
    def facts(self) -> CellFacts:
        return self.own.facts

    def cell(self, policy: GuardPolicy, used: set[str]) -> GuardedCell:
        """What the function in the step takes, gives, and binds of the step's."""
        facts, number = self.facts, self.own.first.number
        bound = facts.bound & set(self.names) - set(self.step.dead)
        sure = self.sure
        fresh = bound - facts.definite - sure - self._others("bound", before=True) - set(self.step.inputs)
        takes_back = policy.retry is not None and policy.retry.attempts > 1
        takes_back |= policy.memory is not None and policy.memory.fallback is not None
        shared = self._shared(bound, sure | fresh, takes_back=takes_back)
        asked = self._asked(policy) & set(self.names)
        if self.step.state:  # its names are the module's: only what the guards ask for is handed over
            shared |= set(self.names) - (asked - bound)
        reads = facts.reads | facts.late_reads | (bound - facts.definite)
        unsure = bound - facts.definite - sure - (fresh - shared)
        self._check(policy, asked & shared & reads, unsure, takes_back=takes_back)
        kept = self.group.facts.functions + self.group.facts.classes
        inputs = [
            name
            for name in reading_order(self.own, reads & sure)
            if name not in shared and (name in bound or name in self.step.inputs or name not in kept)
        ]
        outputs = [name for name in self._outputs(policy) if name in sure | facts.definite or name not in shared]
        changed = shared & (bound | facts.deleted | self.group.facts.written_globals)
        mentioned = facts.uses | facts.late_reads | bound | facts.deleted
        restored = changed & mentioned & sure if takes_back else set()
        policy, fallback = known_policy(self.draft, policy, tuple(inputs), number, sure)
        return GuardedCell(
            cell=number,
            name=self._name(policy, outputs, used),
            policy=policy,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            shared=tuple(sorted(shared & (bound | facts.deleted) | restored)),
            restored=tuple(sorted(restored)),
            fresh=tuple(sorted(fresh & changed)) if takes_back else (),
            unbound=tuple(name for name in outputs if name in fresh),
            known=sure,
            fallback=fallback,
            is_async=facts.is_async,
        )

    def _shared(self, bound: Collection[str], sure: Collection[str], *, takes_back: bool) -> set[str]:
        """The step's variables that must stay variables of the step: functions beside the cell see what it binds, its
        own functions see what later cells bind, or it may end without a value for them.
        """
        facts = self.facts
        bound = set(bound)
        shared = set(self.group.facts.written_globals)
        shared |= bound & self._others("late_reads", before=True)
        shared |= facts.late_reads & self._others("bound", before=False)
        shared |= facts.deleted | ((bound | facts.reads | facts.late_reads) - facts.definite - set(sure))
        if self.own.first.cell.may_raise and not takes_back:
            shared |= bound  # what it bound before it failed stays bound
        return shared & set(self.names)

    def _outputs(self, policy: GuardPolicy) -> list[str]:
        """What it binds that anybody else reads; of a cached cell also what it changes in place."""
        facts = self.facts
        elsewhere = set(self.step.outputs)
        for kind in ("uses", "late_reads", "written_globals"):
            elsewhere |= self._others(kind, before=True) | self._others(kind, before=False)
        given = [name for name in binding_order(self.own) if name in facts.bound]
        if policy.cache is not None:
            given += sorted(facts.mutated - facts.bound)
        gone = facts.deleted | set(self.step.dead)
        return [name for name in given if name in self.names and name in elsewhere and name not in gone]

    def _others(self, kind: str, *, before: bool) -> set[str]:
        """The names of one kind in the cells of the step before, or behind, this one."""
        here = self.own.first.position
        return {
            name
            for unit in self.group.units
            if (unit.position < here if before else unit.position > here)
            for name in getattr(unit.facts, kind)
        }

    def _asked(self, policy: GuardPolicy) -> set[str]:
        """The variables that the guard line names, or that the schemas of a bare `validate` are about: arguments."""
        names = {_halved(policy)}
        if policy.cache is not None and isinstance(policy.cache.key, tuple):
            names |= {name for name in policy.cache.key if isinstance(name, str)}
        if policy.validate is not None:
            names |= {name for name, _ in policy.validate.schemas}
            if not policy.validate.schemas:
                names |= {schema.of for schema in self.draft.schemas.values()}
        return names - {""}

    def _check(self, policy: GuardPolicy, asked: Collection[str], unsure: Collection[str], *, takes_back: bool) -> None:
        """Errors for what a function inside the step cannot do as the cell did."""
        number, findings = self.own.first.number, self.draft.findings
        for name in sorted(asked):
            findings.error(
                "guard", number, f"the guard line asks for {name}, which functions beside this cell read or bind too:"
                " it can be no argument of the guarded cell",
                "Give those functions what they need as arguments: then each cell is a step of its own.",
            )  # fmt: skip
        halved = _halved(policy)
        if halved in self._others("late_reads", before=True) - set(asked):
            findings.error(
                "halve", number, f"oom=halve:{halved}: functions beside this cell read {halved} too, and would not see"
                " the smaller value",
                f"Give those functions {halved} as an argument.",
            )  # fmt: skip
        if self.facts.is_dynamic and policy.cache is not None:
            message = "cache: the cell binds names that cannot be seen in its text (exec, globals(), a magic)"
            findings.error("cache", number, message, "Write that code out, or leave cache out.")
        for name in sorted(unsure) if policy.cache is not None else ():
            message = f"cache: the cell may leave {name} without a value, and so may the cells before it"
            findings.error("cache", number, message, f"Bind {name} in every case.")
        if self.facts.is_dynamic and takes_back:
            findings.warning(
                "guard", number, "names that its code as text binds are not taken back when an attempt fails",
                "Write exec, eval, globals() and locals() out.",
            )  # fmt: skip
        if policy.cache is not None and policy.cache.backend == "memory":
            findings.warning(
                "cache", number, f"it stays inside the step {self.step.name}, so its cache lasts for one run only",
                "Write store=disk to keep results from run to run.",
            )  # fmt: skip

    def _name(self, policy: GuardPolicy, outputs: list[str], used: set[str]) -> str:
        cell = self.own.first.cell
        nodes = [unit.node for unit in self.own.units]
        wanted = slug(policy.name or "")
        wanted = wanted or step_name(
            self.draft.own_title(cell), outputs, nodes, plots=False, used=used, cell=cell.number
        )
        name = free_name(wanted, self.draft.reserved, used, suffix="cell")
        used.add(name)
        return name


def _halved(policy: GuardPolicy) -> str:
    """The variable of oom=halve:NAME; "" without one."""
    if policy.retry is None or not policy.retry.on_oom.startswith("halve:"):
        return ""
    return policy.retry.on_oom.partition(":")[2]
