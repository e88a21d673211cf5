"""Which cells become one step: those of a region, and plain neighbours under one heading up to forty lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlguard_convert.planning.draft import Draft, Unit
from mlguard_convert.planning.drawing import Drawing
from mlguard_nb.dataflow import CellFacts, combine

__all__ = ["Group", "group_cells"]

_LONGEST = 40


@dataclass(slots=True)
class Group:
    """Cells that become one step. `facts` are theirs together; `draws` whether a figure is drawn."""

    units: list[Unit] = field(default_factory=list)
    facts: CellFacts = field(default_factory=CellFacts)
    lines: int = 0
    draws: bool = False
    alone: bool = False
    region: int = -1

    @property
    def first(self) -> Unit:
        """The first statement."""
        return self.units[0]

    @property
    def cells(self) -> tuple[int, ...]:
        """The numbers of its cells, in run order."""
        return tuple(dict.fromkeys(unit.number for unit in self.units))


def group_cells(draft: Draft, regions: list[int], facts: list[CellFacts]) -> list[Group]:
    """The steps-to-be, in run order; cells of which nothing is left are in none."""
    drawing = Drawing(draft)
    units: list[list[Unit]] = [[] for _ in draft.cells]
    for unit in draft.of_fate("step"):
        units[unit.position].append(unit)
    groups: list[Group] = []
    for position, own in enumerate(units):
        if not own:
            continue
        cell = own[0].cell
        one = Group(
            units=own,
            facts=facts[position],
            lines=sum((unit.node.end_lineno or 0) - unit.node.lineno + 1 for unit in own),
            draws=any(drawing.draws(unit.node) for unit in own),
            alone=cell.directive is not None or cell.may_raise,
            region=regions[position],
        )
        if groups and (groups[-1].region == one.region or _may_join(groups[-1], one)):
            _join(groups[-1], one)
        else:
            groups.append(one)
    return groups


def _may_join(before: Group, one: Group) -> bool:
    same = before.units[-1].cell.cell.section == one.first.cell.cell.section
    draws = before.draws or one.draws
    return same and not before.alone and not one.alone and not draws and before.lines + one.lines <= _LONGEST


def _join(before: Group, one: Group) -> None:
    before.units = [*before.units, *one.units]
    before.facts = combine([before.facts, one.facts])
    before.lines += one.lines
    before.draws |= one.draws
    before.alone |= one.alone
    before.region = one.region
