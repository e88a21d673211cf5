"""Steps with what goes in and what comes out: liveness over the groups, decided once for the whole run."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mlguard_convert.plan import Piece, Step
from mlguard_convert.planning.draft import BUILTINS, Draft, Unit
from mlguard_convert.planning.grouping import Group, group_cells
from mlguard_convert.planning.guarded_cells import guarded_cells
from mlguard_convert.planning.guarding import check_all_guarded, inner_policies, names_step, step_policy
from mlguard_convert.planning.naming import free_name, slug, step_name
from mlguard_convert.planning.ordering import binding_order, reading_order
from mlguard_convert.planning.prose import comment_block, docstring
from mlguard_convert.planning.regions import cell_facts_of, find_regions
from mlguard_nb.dataflow import CellFacts

__all__ = ["build_steps"]


@dataclass(frozen=True, slots=True)
class _After:
    """Of a group's names those that live behind it, are certainly read there, are bound again there."""

    live: frozenset[str]
    certain: frozenset[str]
    rebound: frozenset[str]


def build_steps(draft: Draft) -> tuple[list[Step], list[str]]:
    """The steps in run order, and the names that `run()` returns."""
    units: list[list[Unit]] = [[] for _ in draft.cells]
    for unit in draft.of_fate("step"):
        units[unit.position].append(unit)
    facts = [cell_facts_of(own, may_raise=draft.cells[at].may_raise) for at, own in enumerate(units)]
    regions = [0] * len(facts) if draft.is_dynamic else find_regions(draft, facts)
    groups = group_cells(draft, regions, facts)
    known = {param.name for param in draft.params}
    fixed = draft.module_names
    finals = _finals(draft, groups, known, fixed)
    alive: dict[str, None] = {}
    steps: list[Step] = []
    used: set[str] = set()
    unsure: set[str] = set()
    for group, after in zip(groups, _afters(groups, frozenset(finals)), strict=True):
        step = _step(draft, group, after, known, unsure, used, fixed)
        used.add(step.name)
        local = group.facts.bound - fixed
        gone = _gone(group.facts) & (local | known)
        unsure = (unsure - group.facts.definite - gone) | set(step.unbound_outputs)
        known |= local
        known -= gone
        for name in step.outputs:
            if name in finals and name not in after.rebound:
                alive[name] = None
        if not step.outputs and not _does_anything(group):
            continue
        steps.append(step)
    check_all_guarded(draft, steps)
    chosen = draft.options.outputs
    named = [*(one.name for one in draft.constants), *(name for one in draft.blocks for name in one.values)]
    constants = [
        name
        for name in named
        if chosen == "all" or (name in chosen if isinstance(chosen, tuple) else not name.startswith("_"))
    ]
    return steps, [*constants, *alive]


def _does_anything(group: Group) -> bool:
    return any(not isinstance(unit.node, ast.Pass) for unit in group.units)


def _afters(groups: list[Group], finals: frozenset[str]) -> list[_After]:
    """For each group what is known behind it of the names that it touches."""
    live, certain, rebound = set(finals), set[str](), set[str]()
    found: list[_After] = []
    for group in reversed(groups):
        one = group.facts
        own = one.bound | one.deleted | one.maybe_deleted | one.mutated
        found.append(_After(own & live, own & certain, own & rebound))
        live -= one.definite
        live |= one.reads | one.late_reads
        certain -= one.bound
        certain |= one.certain
        rebound |= one.bound
    found.reverse()
    return found


def _finals(draft: Draft, groups: list[Group], known: set[str], fixed: frozenset[str]) -> set[str]:
    """The names that the notebook surely ends with and that the caller gets: on some path assigned last."""
    chosen = draft.options.outputs
    here = set(known)
    assigned: set[str] = set()
    bound: set[str] = set()
    for group in groups:
        one = group.facts
        kinds = {*one.functions, *one.classes, *(imported.name for imported in one.imports)}
        sure = one.definite | (one.assigned if group.first.cell.may_raise else frozenset())
        kinds -= one.assigned
        assigned -= sure
        assigned |= one.assigned
        assigned -= kinds
        here.difference_update(*(unit.facts.deleted for unit in group.units))
        here |= sure
        bound -= one.deleted
        bound |= one.bound - kinds
    bound -= fixed
    if isinstance(chosen, tuple):
        return {name for name in bound if name in chosen}
    if chosen == "all":
        return bound
    return {name for name in bound & here & assigned if not name.startswith("_")}


def _gone(facts: CellFacts) -> frozenset[str]:
    """The names that are deleted whatever happens."""
    return facts.deleted - facts.definite - facts.maybe_deleted


def _step(
    draft: Draft,
    group: Group,
    after: _After,
    known: set[str],
    unsure: set[str],
    used: set[str],
    fixed: frozenset[str],
) -> Step:
    """`known` are bound before the group on some path, `unsure` the part of these that may be unbound all the same,
    `used` the names of the steps so far, `fixed` those of modules.
    """
    one = group.facts
    local = one.bound - fixed
    gone = _gone(one)
    outputs = ((local | (one.maybe_deleted & known)) & after.live) - gone
    dead, targets = _dead(group, local - outputs, one)
    kept = {name for name in dead if name not in after.rebound and name not in known and name not in targets}
    kept = set() if draft.is_dynamic else kept  # globals of the module: they are kept anyway
    outputs |= {name for name in kept if name not in gone}
    maybe = {name for name in outputs if name not in one.definite}
    reads = one.reads | one.late_reads | maybe | one.written_globals | (one.bound & known & one.late_reads)
    inputs = [name for name in reading_order(group, reads) if name in known and name not in fixed]
    deleted = {name for unit in group.units for name in unit.facts.deleted}
    read = _read_after_deletion(group)
    leaving = {name for name in maybe if name not in inputs or name in unsure | deleted}
    leaving = {name for name in leaving if name not in after.certain or hasattr(builtins, name)}  # else it fails there
    declared = {name for name in one.written_globals & local if name not in inputs and name not in one.definite}
    restored = sorted(
        name
        for name in one.reads & one.bound
        if (hasattr(builtins, name) or name == "display") and name not in inputs and name not in fixed
    )
    of_module = one.uses | one.late_reads
    if "__name__" in of_module:
        restored.append("__name__")
    if "__file__" in of_module - local and "__file__" not in inputs:  # a notebook has none
        declared.add("__file__")
    order = [name for name in dict.fromkeys([*binding_order(group), *inputs]) if name in outputs]
    mutates = tuple(name for name in inputs if _changes_argument(group, name))
    cell = group.first.cell
    directive = cell.directive
    if directive is not None and directive.policy.cache is not None and len(group.cells) == 1:
        order += [name for name in mutates if name not in order and name not in gone]  # a hit brings the change back
    name = _named(draft, group, order, used)
    if draft.is_dynamic:
        inputs = [param.name for param in draft.params if param.name in one.uses | one.late_reads | one.bound]
        declared, restored = declared & {"__file__"}, ["__name__"] if "__name__" in of_module else []
    comment, pieces = _commented(draft, group)
    step = Step(
        name=name,
        title=cell.cell.title,
        doc=docstring(draft.own_title(cell) or name.replace("_", " ").capitalize(), cell.cell.prose, comment),
        cells=group.cells,
        pieces=pieces,
        inputs=tuple(inputs),
        outputs=tuple(order),
        unbound_inputs=tuple(name for name in inputs if name in unsure),
        unbound_outputs=tuple(name for name in order if name in leaving),
        declared=tuple(sorted(declared)),
        restored=tuple(restored),
        freed=() if draft.is_dynamic else tuple(sorted(name for name in deleted & read if hasattr(builtins, name))),
        dead=() if draft.is_dynamic else tuple(sorted(dead - kept)),
        nonlocals=() if draft.is_dynamic else tuple(sorted(one.written_globals & (local | set(inputs)))),
        by_name=tuple(_found_by_name(draft, group, local - leaving - set(inputs))),
        deletes=tuple(sorted(gone & known)),
        mutates=mutates,
        tolerated=tuple(dict.fromkeys(unit.number for unit in group.units if unit.cell.may_raise)),
        figures=slug(draft.own_title(cell)) if group.draws else None,
        is_async=one.is_async,
        state=draft.is_dynamic,
    )
    if len(group.cells) > 1:  # a guard is about its own cell
        inner = guarded_cells(draft, group, step, used)
        return replace(step, inner=inner, guarded=inner_policies(draft, group), by_name=() if inner else step.by_name)
    policy, fallback = step_policy(draft, group, step)
    return replace(step, policy=policy, fallback=fallback, guarded=inner_policies(draft, group))


def _found_by_name(draft: Draft, group: Group, names: frozenset[str]) -> Iterator[str]:
    """The functions and classes of the group that pickling must find: `names` that nothing but definitions binds."""
    if not draft.pickles or draft.is_dynamic:
        return
    other = BUILTINS | draft.written | draft.deleted | draft.caught
    for name in sorted(names - other):
        binders = [unit for unit in group.units if name in unit.facts.bound]
        if all(getattr(unit.node, "name", "") == name and not unit.cell.may_raise for unit in binders):
            yield name


def _read_after_deletion(group: Group) -> set[str]:
    """The names that some statement deletes and that it, or one behind it, reads."""
    found: set[str] = set()
    deleted: set[str] = set()
    for unit in group.units:
        found |= deleted & (unit.facts.uses | unit.facts.late_reads)
        deleted |= unit.facts.deleted
        found |= set() if isinstance(unit.node, ast.Delete) else unit.facts.deleted
    return found


def _changes_argument(group: Group, name: str) -> bool:
    """Whether the object that came in may be changed in place, before the name means another one."""
    for unit in group.units:
        if name in unit.facts.mutated:
            return True
        if name in unit.facts.definite:
            return False
    return False


def _dead(group: Group, names: frozenset[str] | set[str], one: CellFacts) -> tuple[set[str], set[str]]:
    """Names bound here that nobody reads and nobody gets: stores without a purpose. The second part are those that a
    loop or an unpacking binds too: there they stay.
    """
    read = one.uses | one.late_reads
    kinds = {*one.functions, *one.classes}
    found = {name for name in names if name not in read and name not in kinds and name not in one.written_globals}
    targets: set[str] = set()
    for unit in group.units:
        for node in ast.walk(unit.node):
            if isinstance(node, (ast.For, ast.AsyncFor)):
                targets |= {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}
            elif isinstance(node, (ast.Tuple, ast.List)) and isinstance(node.ctx, ast.Store):
                targets |= {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return found, found & targets


def _named(draft: Draft, group: Group, outputs: list[str], used: set[str]) -> str:
    """The step's name: of its guard line, its heading, or what it does. `used` takes what was wanted."""
    cell = group.first.cell
    nodes = [unit.node for unit in group.units]
    wanted = step_name(draft.own_title(cell), outputs, nodes, plots=group.draws, used=used, cell=cell.number)
    if cell.directive is not None and cell.directive.policy.name and names_step(group):
        wanted = slug(cell.directive.policy.name) or wanted
    name = free_name(wanted, draft.reserved, used)
    used.add(wanted)
    return name


def _commented(draft: Draft, group: Group) -> tuple[str, tuple[Piece, ...]]:
    """The comment at the top of the first cell under a heading, for the docstring, and the pieces without it."""
    pieces = _pieces(group)
    first, at = group.first, group.first.position
    is_opening = at == 0 or draft.cells[at - 1].cell.section != first.cell.cell.section
    if not is_opening or first.place or not draft.own_title(first.cell):
        return "", pieces
    comment, source = comment_block(pieces[0].source)
    return comment, (replace(pieces[0], source=source), *pieces[1:])


def _pieces(group: Group) -> tuple[Piece, ...]:
    places: dict[int, list[int]] = {}
    sources: dict[int, str] = {}
    for unit in group.units:
        places.setdefault(unit.number, []).append(unit.place)
        sources[unit.number] = unit.cell.source
    return tuple(Piece(number, sources[number], tuple(keep)) for number, keep in places.items())
