"""The notebook while it is planned: its statements as units, each with its facts and its fate."""

from __future__ import annotations

import ast
import builtins
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from mlguard_convert.diagnostics import Findings
from mlguard_convert.ipython_syntax import PlainCell
from mlguard_convert.plan import (
    Change,
    Constant,
    Function,
    Import,
    ImportBlock,
    Param,
    Piece,
    PlanOptions,
    Schema,
    VendorFile,
)
from mlguard_convert.planning.formulas import SQL_ENGINES, asks_below, formula_names, is_text, may_mention, table_names
from mlguard_convert.reader import Notebook
from mlguard_nb.dataflow import CellFacts, ImportedName, statement_facts

__all__ = ["BUILTINS", "Draft", "Fate", "Unit"]

BUILTINS = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__", "__builtins__"}

# Libraries that write objects down, or hand them to other processes, with functions and classes by name.
_PICKLING = frozenset({"concurrent", "joblib", "multiprocessing", "pickle", "shelve", "torch"})

# What becomes of a statement: part of a step, or moved somewhere else, or gone.
Fate = Literal["step", "import", "block", "function", "constant", "param", "shown", "gone"]


@dataclass(slots=True, eq=False)
class Unit:
    """One statement at the top of a cell. `place` is its index in the cell; `position` the cell's in the run order."""

    cell: PlainCell
    position: int
    place: int
    node: ast.stmt
    facts: CellFacts
    fate: Fate = "step"

    @property
    def number(self) -> int:
        """The number of its cell."""
        return self.cell.number

    @property
    def piece(self) -> Piece:
        """Only this statement."""
        return Piece(self.cell.number, self.cell.source, (self.place,))

    @property
    def text(self) -> str:
        """Its source."""
        return ast.get_source_segment(self.cell.source, self.node) or ""


@dataclass
class Draft:
    """Everything decided so far. Phases read what earlier ones left and add their own part.

    `mentioned` are the names that model formulas and queries read, `secrets` literals that look like credentials.
    """

    notebook: Notebook
    options: PlanOptions
    findings: Findings
    cells: list[PlainCell]
    units: list[Unit] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    imports: dict[tuple[str, str, str | None], Import] = field(default_factory=dict)
    blocks: list[ImportBlock] = field(default_factory=list)
    futures: list[str] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    params: list[Param] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)
    cached: list[str] = field(default_factory=list)
    schemas: dict[str, Schema] = field(default_factory=dict)
    vendor: dict[str, VendorFile] = field(default_factory=dict)
    mentioned: set[str] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set, repr=False)
    is_dynamic: bool = False
    package: str = "notebook"

    def fill(self) -> None:
        """Take every statement of every cell as a unit; binders and readers are gathered anew."""
        self.units = [
            Unit(cell, position, place, node, statement_facts(node))
            for position, cell in enumerate(self.cells)
            for place, node in enumerate(cell.tree.body)
        ]
        self._read_formulas()
        for name in ("binders", "readers", "deleted", "caught", "written", "names", "reserved"):
            self.__dict__.pop(name, None)

    def above(self, position: int, line: int) -> list[Unit]:
        """The statements of the cells before this one, and those of this one that begin before `line`."""
        return [
            unit
            for unit in self.units
            if unit.position < position or (unit.position == position and unit.node.lineno < line)
        ]

    def rewrite(self, position: int, source: str) -> None:
        """Give a cell another source; `fill` takes its statements as units."""
        self.cells[position] = replace(self.cells[position], source=source, tree=ast.parse(source))

    def _read_formulas(self) -> None:
        """Names that model formulas and queries mention count as read, where the text stands and where a name for it
        is used.
        """
        known = {name for unit in self.units for name in unit.facts.bound}
        queries = not self._modules().isdisjoint(SQL_ENGINES)
        texts: dict[str, set[str]] = {}
        telling = [may_mention(cell.source) for cell in self.cells]
        for unit in self.units:
            if not texts and not telling[unit.position] and not queries:
                continue
            mentioned = formula_names(unit.node, known)
            tables = table_names(unit.node, known) if queries else set()
            if queries and asks_below(unit.node):
                unit.facts = replace(unit.facts, is_dynamic=True)
            for name in unit.facts.assigned if mentioned or tables else ():
                texts.setdefault(name, set()).update(mentioned | (tables if is_text(unit.node) else set()))
            mentioned |= tables
            for name in texts.keys() & (unit.facts.uses | unit.facts.late_reads):
                mentioned |= texts[name]
            self.mentioned |= mentioned
            if not mentioned:
                continue
            if unit.facts.functions or unit.facts.classes:
                unit.facts = replace(unit.facts, late_reads=unit.facts.late_reads | mentioned)
            else:
                new = mentioned - unit.facts.definite
                unit.facts = replace(unit.facts, reads=unit.facts.reads | new, uses=unit.facts.uses | mentioned)

    def _modules(self) -> set[str]:
        return {one.module.partition(".")[0] for unit in self.units for one in unit.facts.imports}

    def own_title(self, cell: PlainCell) -> str:
        """The heading above the cell; not the notebook's own title, which says nothing about one step."""
        return "" if cell.cell.level == 1 and cell.cell.title == self.notebook.title else cell.cell.title

    def change(self, cells: Iterable[int], text: str) -> None:
        """Note a line of the README."""
        self.changes.append(Change(tuple(dict.fromkeys(cells)), text))

    def of_fate(self, fate: Fate) -> Iterator[Unit]:
        """The units with this fate, in order."""
        return (unit for unit in self.units if unit.fate == fate)

    @cached_property
    def binders(self) -> dict[str, list[Unit]]:
        """For each name the units that may bind it, in order."""
        found: dict[str, list[Unit]] = defaultdict(list)
        for unit in self.units:
            for name in unit.facts.bound:
                found[name].append(unit)
        return dict(found)

    @cached_property
    def readers(self) -> dict[str, list[Unit]]:
        """For each name the units that read it, at once or later, in order."""
        found: dict[str, list[Unit]] = defaultdict(list)
        for unit in self.units:
            for name in unit.facts.uses | unit.facts.late_reads:
                found[name].append(unit)
        return dict(found)

    @cached_property
    def deleted(self) -> frozenset[str]:
        """Names that some statement deletes."""
        return frozenset(name for unit in self.units for name in unit.facts.deleted)

    @cached_property
    def caught(self) -> frozenset[str]:
        """Names that some handler binds (`except E as name`): where it stands they are local to its step."""
        return frozenset(name for unit in self.units for name in unit.facts.caught)

    @cached_property
    def written(self) -> frozenset[str]:
        """Names that a function binds through `global`."""
        return frozenset(name for unit in self.units for name in unit.facts.written_globals)

    @cached_property
    def pickles(self) -> bool:
        """Whether the notebook imports a library that looks for functions and classes by name."""
        return not self._modules().isdisjoint(_PICKLING)

    @property
    def shadowed(self) -> frozenset[str]:
        """Builtins whose names the notebook binds, and `display` where it binds that to something of its own."""
        own = any(
            one.name == "display" and not one.module.startswith("IPython")
            for unit in self.binders.get("display", ())
            for one in unit.facts.imports or (ImportedName("display", ""),)
        )
        # IPython puts display among the builtins of a process in which it runs.
        return frozenset(name for name in self.binders if (own if name == "display" else hasattr(builtins, name)))

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name of the notebook, local ones and attributes' roots included: no introduced name may be one."""
        found: set[str] = set(self.binders) | set(self.readers)
        for cell in self.cells:
            for node in ast.walk(cell.tree):
                if isinstance(node, ast.Name):
                    found.add(node.id)
                elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    found.add(node.name)
                elif isinstance(node, ast.arg):
                    found.add(node.arg)
                elif isinstance(node, ast.alias):
                    found.add((node.asname or node.name).partition(".")[0])
        return frozenset(found)

    @cached_property
    def reserved(self) -> frozenset[str]:
        """Names that no step may have, once it is decided what needs no passing."""
        return self.names | self.module_names | frozenset(dir(builtins)) | {"step", "steps", "run"}

    @property
    def module_names(self) -> frozenset[str]:
        """Names that need no passing: imports, constants, lifted functions."""
        return frozenset(
            {one.name for one in self.imports.values()}
            | {name for block in self.blocks for name in block.names}
            | {one.name for one in self.constants}
            | set(self.functions)
            | set(self.schemas)
            | {one.profile_name for one in self.schemas.values() if one.profile}
        )
