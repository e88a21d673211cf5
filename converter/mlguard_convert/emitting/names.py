"""Names that the package brings along, none of them a name of the notebook; and the imports that a module needs."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Collection, Iterable

from mlguard_convert.plan import Import, Plan
from mlguard_convert.planning.formulas import formula_names, may_mention
from mlguard_convert.rewriting.statements import code_of, kept
from mlguard_nb.dataflow import combine, statement_facts

__all__ = ["PIPELINE", "Introduced", "import_lines", "names_read"]

PIPELINE = "mlguard_nb.pipeline"


class Introduced:
    """The helpers that one module uses: a name is imported when it is asked for."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._own = {(one.name, one.module, one.attribute) for one in plan.imports}
        self._taken = set(plan.names) | {step.name for step in plan.steps}
        self._taken |= {one.name for step in plan.steps for one in step.inner}
        self.imports: dict[str, Import] = {}

    def name(self, wanted: str, module: str) -> str:
        """The name under which `wanted` of `module` may be used here."""
        found = wanted
        if wanted in self._taken and (wanted, module, wanted) not in self._own:
            found = f"mlguard_{wanted}"
            while found in self._taken:
                found += "_"
        self.imports[found] = Import(found, module, wanted)
        return found

    def module(self, wanted: str) -> str:
        """The name under which the standard module `wanted` may be used here."""
        found = wanted
        if wanted in self._taken and (wanted, wanted, None) not in self._own:
            found = f"{wanted}_module"
            while found in self._taken:
                found += "_"
        self.imports[found] = Import(found, wanted)
        return found

    def builtin(self, wanted: str) -> str:
        """The source that means the builtin `wanted`, whatever the notebook calls by its name."""
        return f"{self.module('builtins')}.{wanted}" if wanted in self._plan.shadowed else wanted

    def if_bound(self, name: str, where: str = "locals") -> str:
        """The source of a variable's value where it may be unbound: UNBOUND then, or the builtin that it means."""
        unbound = f"{self.module('builtins')}.{name}" if hasattr(builtins, name) else self.name("UNBOUND", PIPELINE)
        return f'{self.builtin(where)}().get("{name}", {unbound})'

    def local(self, wanted: str) -> str:
        """A name of a local variable."""
        while wanted in self._taken:
            wanted = f"the_{wanted}"
        return wanted


def names_read(code: str, known: Collection[str] = ()) -> frozenset[str]:
    """Every global that a module's code reads, at import or when its functions run, and that the annotation of a
    variable names; of those that the text of a model formula mentions only the `known` ones.
    """
    tree = ast.parse(code)
    facts = combine(statement_facts(statement) for statement in tree.body)
    annotations = [node.annotation for node in ast.walk(tree) if isinstance(node, ast.AnnAssign)]
    named = {one.id for node in annotations for one in ast.walk(node) if isinstance(one, ast.Name)}
    mentioned = formula_names(tree, known) if may_mention(code) else set[str]()
    return facts.uses | facts.late_reads | named | mentioned


def import_lines(
    plan: Plan, code: str, introduced: Introduced, home: dict[str, str], *, effects: bool = False, keep: bool = False
) -> str:
    """The imports of a module whose code is `code`: hoisted ones that it reads, helpers, and names of the package's
    own modules (`home` maps a name to its module). `effects` keeps imports that are made for their effect, `keep`
    all of them.
    """
    known = {*(one.name for one in plan.imports), *home}
    read = names_read(code, known)
    for constant in plan.constants:
        if constant.name in read and "~" in constant.piece.source:
            read |= formula_names(ast.parse(constant.piece.source), known)
    found: dict[str, str] = {}
    for one in plan.imports:
        helper = introduced.imports.get(one.name)
        if helper is not None and helper.source != one.source:  # what the helper stands in for
            continue
        if one.name in read:
            found[one.source] = ""
        elif (effects and one.has_effect) or keep:
            found[one.source] = "  # noqa: F401"
    for one in introduced.imports.values():
        if one.name in read:
            found.setdefault(one.source, "")
    for name, module in home.items():
        if name in read:
            found[f"from {plan.package}.{module} import {name}"] = ""
    for name, module in plan.shared:
        if name in read:
            found[f"from {module} import {name}"] = ""
    text = "".join(f"from __future__ import {name}\n" for name in plan.futures if not _is_gone(name))
    groups: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for source, mark in _merged(found):
        groups[_group(source, plan.package)].append(source + mark)
    parts = ["\n".join(sorted(lines, key=_order)) for lines in groups.values() if lines]
    blocks = [code_of(kept(block.piece)) for block in plan.blocks if set(block.names) & read]
    return "\n\n".join([*([text.strip()] if text else []), *parts, *blocks])


def _merged(found: dict[str, str]) -> Iterable[tuple[str, str]]:
    """`from a import b` and `from a import c` as one line, where neither carries a mark."""
    together: dict[str, list[str]] = {}
    for source, mark in found.items():
        if source.startswith("from ") and not mark:
            module, _, name = source[5:].partition(" import ")
            together.setdefault(module, []).append(name)
        else:
            yield source, mark
    for module, names in together.items():
        yield f"from {module} import {', '.join(sorted(set(names)))}", ""


def _group(source: str, package: str) -> int:
    top = source.split()[1].partition(".")[0]
    return 0 if top in sys.stdlib_module_names else 2 if top == package.partition(".")[0] else 1


def _order(source: str) -> tuple[bool, str]:
    return source.startswith("from "), source.split()[1].lower()


def _is_gone(future: str) -> bool:
    """Features that every supported Python has anyway."""
    return future not in ("annotations", "barry_as_FLUFL")
