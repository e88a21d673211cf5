"""What the package will be, decided before any text is written: frozen values, and `make_plan` which fills them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mlguard_convert.reader import Notebook
from mlguard_nb.errors import Diagnostic
from mlguard_nb.policy.values import GuardPolicy

__all__ = [
    "Change",
    "Constant",
    "Function",
    "GuardedCell",
    "Import",
    "ImportBlock",
    "Param",
    "Piece",
    "Plan",
    "PlanOptions",
    "Schema",
    "Step",
    "VendorFile",
    "make_plan",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What a caller may choose. `inside` is the package of several notebooks to which this one's belongs. `outputs`:
    "auto" (what is bound by assignment and lives to the end), "all", or the names to return. `name` None: from the
    file's name. `skip_bad_cells` leaves out cells that cannot be converted.
    """

    name: str | None = None
    inside: str | None = None
    outputs: Literal["auto", "all"] | tuple[str, ...] = "auto"
    order: Literal["file", "executed"] = "file"
    keep_displays: bool = False
    allow_shell: bool = False
    skip_bad_cells: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Statements of one cell: its plain Python `source`, and which of its top-level statements (by place) are meant."""

    cell: int
    source: str
    keep: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Import:
    """One hoisted name. `attribute` None: `import module [as name]`; `has_effect`: kept even if nobody reads it."""

    name: str
    module: str
    attribute: str | None = None
    cell: int = 0
    has_effect: bool = False

    @property
    def source(self) -> str:
        """The statement."""
        if self.attribute is None:
            return f"import {self.module}" + ("" if self.name == self.module.partition(".")[0] else f" as {self.name}")
        alias = "" if self.name == self.attribute else f" as {self.name}"
        return f"from {self.module} import {self.attribute}{alias}"


@dataclass(frozen=True, slots=True)
class ImportBlock:
    """A `try: import ... except ImportError: ...` that stays one; `names` are what it binds, `values` those of them
    that one of its paths assigns.
    """

    names: tuple[str, ...]
    piece: Piece
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal bound once: a module constant under the notebook's own name."""

    name: str
    piece: Piece


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a run: the source of its default, its type where that is plain, and its comment.

    A secret is neither shown nor saved. A text comes from the environment `variable` ("": something else, which stays
    in the package); one that `is_withheld` has no default in the package.
    """

    name: str
    default: str = field(repr=False)
    annotation: str
    description: str
    cell: int
    is_secret: bool = False
    variable: str = ""
    is_withheld: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema declared or learned in the notebook, as source. `note` is the comment above it, `profile` the JSON of
    what the numbers looked like that it was learned from.
    """

    name: str
    source: str
    note: str = ""
    of: str = ""
    profile: str = ""

    @property
    def profile_name(self) -> str:
        """What the module of schemas calls the profile."""
        return f"{self.name}Profile"

    @property
    def profile_file(self) -> str:
        """The file beside the module of schemas that holds the profile."""
        return f"{self.name.lower()}_profile.json"


@dataclass(frozen=True, slots=True)
class VendorFile:
    """A helper module of the notebook's folder: its path below the package, and its text."""

    path: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function or class that moves to module level. `takes` are notebook variables that become keyword-only
    parameters; `policy` the guards of a cell that only defines (`scope=defs`).
    """

    name: str
    piece: Piece
    takes: tuple[str, ...] = ()
    policy: GuardPolicy | None = None
    is_class: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedCell:
    """A cell with guards of its own that shares a step with other cells: a function inside the step.

    `inputs` are the step's variables that it takes, `outputs` what it returns and the step assigns, UNBOUND those of
    the `unbound` ones that it has not bound. `shared` are variables of the step that it binds where functions beside
    it see them; of these a failed attempt takes the `restored` ones back and unbinds the `fresh` ones, which no cell
    before has bound; `declared` are bound by no other statement of the step. `known` have a value when the cell
    begins. `is_async`: the cell awaits.
    """

    cell: int
    name: str
    policy: GuardPolicy
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    unbound: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    fallback: str | None = None
    is_async: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. `pieces` in order; `inputs` in the order of first reading; `outputs` what it returns.

    `unbound_inputs` may come as UNBOUND and `unbound_outputs` leave as it, because no path is sure to bind them;
    `declared` are variables of the step that only functions inside it bind; `freed` have a builtin of their name,
    which the step means again when it has deleted them; `restored` are builtins that the step both
    reads and shadows; `tolerated` cells may raise; `dead` names are bound and read by nobody; `nonlocals` are
    notebook variables that functions inside it bind; `by_name` are functions and classes inside it that pickling looks
    for by name in the module; `deletes` leave the namespace for good; `fallback` is the
    notebook's function of a policy with fallback=; `shares` says that it depends on state outside its arguments;
    `guarded` are functions inside it with guards of their own, by cell and name; `inner` its cells with guards of
    their own, where it has several cells (then it has no `policy`); `figures` the name plt.show() saves under ("": the
    step's own), None where it draws nothing; `state` marks the one step of a notebook that runs code as text: its
    names are globals of a module.
    """

    name: str
    title: str
    doc: str
    cells: tuple[int, ...]
    pieces: tuple[Piece, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    unbound_inputs: tuple[str, ...] = ()
    unbound_outputs: tuple[str, ...] = ()
    declared: tuple[str, ...] = ()
    restored: tuple[str, ...] = ()
    freed: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    nonlocals: tuple[str, ...] = ()
    by_name: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    mutates: tuple[str, ...] = ()
    shares: bool = False
    tolerated: tuple[int, ...] = ()
    policy: GuardPolicy | None = None
    fallback: str | None = None
    guarded: tuple[tuple[int, str, GuardPolicy], ...] = ()
    inner: tuple[GuardedCell, ...] = ()
    figures: str | None = None
    is_async: bool = False
    state: bool = False

    @property
    def policies(self) -> tuple[GuardPolicy, ...]:
        """The guards of the whole step, and of the cells and functions inside it."""
        whole = () if self.policy is None else (self.policy,)
        return (*whole, *(one.policy for one in self.inner), *(policy for _cell, _name, policy in self.guarded))


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from the notebook, and why. `cells` empty: it concerns the whole."""

    cells: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that the package's files are written from.

    `results` are the names `run()` returns, in the order the notebook first binds them; `cached` the functions whose
    caches it empties before it starts, since at module level they outlive a run; `names` all names that it
    uses, `shadowed` the builtins, and IPython's `display`, whose names it binds, `acting` those whose calls may do
    anything, `fragile` those that may change by being looked at. `modules` are the top-level modules
    that are imported, without those copied to vendor/; `optional` the part of them whose absence the notebook handles;
    `requirements` what pip lines asked for; `data_files` the literal relative paths of files that exist beside it.
    `shared` are functions and constants that live in a module outside `package`, by name and module: those that
    several notebooks define alike. `secrets` are literals that look like credentials: nobody prints or records them.
    """

    package: str
    title: str
    description: str
    notebook: Notebook
    steps: tuple[Step, ...]
    functions: tuple[Function, ...] = ()
    cached: tuple[str, ...] = ()
    constants: tuple[Constant, ...] = ()
    params: tuple[Param, ...] = ()
    schemas: tuple[Schema, ...] = ()
    imports: tuple[Import, ...] = ()
    blocks: tuple[ImportBlock, ...] = ()
    futures: tuple[str, ...] = ()
    vendor: tuple[VendorFile, ...] = ()
    results: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()
    shadowed: frozenset[str] = frozenset()
    acting: frozenset[str] = frozenset()
    fragile: frozenset[str] = frozenset()
    changes: tuple[Change, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    modules: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    data_files: tuple[str, ...] = ()
    skipped: tuple[int, ...] = ()
    order: tuple[int, ...] = ()
    is_async: bool = False
    allow_shell: bool = False
    shared: tuple[tuple[str, str], ...] = ()
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def folder(self) -> Path:
        """Where the notebook lies."""
        return self.notebook.path.parent

    @property
    def unbound_results(self) -> frozenset[str]:
        """The results that the notebook may leave unbound."""
        last = {name: step for step in self.steps for name in step.outputs}
        return frozenset(name for name in self.results if name in last and name in last[name].unbound_outputs)


def make_plan(notebook: Notebook, options: PlanOptions | None = None) -> Plan:
    """Decide everything about the package of `notebook`; nothing of it is executed.

    ConversionError names every cell that cannot be converted, all at once.
    """
    from mlguard_convert.planning.assembly import assemble

    return assemble(notebook, options or PlanOptions())
