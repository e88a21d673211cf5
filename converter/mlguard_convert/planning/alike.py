"""Functions that several notebooks define alike: they move to one module, which the notebooks' packages share."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from dataclasses import replace

from mlguard_convert.plan import Constant, Function, Import, Piece, Plan
from mlguard_nb.dataflow import combine, statement_facts

__all__ = ["share"]

_BUILTINS = frozenset(dir(builtins))


def share(plans: Sequence[Plan], package: str) -> tuple[tuple[Plan, ...], Plan | None]:
    """The plans without what they define alike, and a plan that holds just that; None where they share nothing.

    A function is shared when every notebook that defines it does so with the same code and guards, and when all that
    it reads means the same in each of them: the same imports, equal constants, functions that are shared too.
    """
    alike = _Alike(plans)
    functions = alike.functions()
    if not functions:
        return tuple(plans), None
    constants = alike.constants_of(functions)
    names = (*(one.name for one in functions), *(one.name for one in constants))
    module = f"{package}.shared"
    thinner = tuple(_without(plan, set(names), module) for plan in plans)
    home = replace(
        plans[0],
        package=package,
        steps=(),
        functions=functions,
        constants=constants,
        imports=alike.imports_of(functions),
        blocks=(),
        params=(),
        schemas=(),
        vendor=(),
        names=frozenset().union(*(plan.names for plan in plans)),
        shadowed=frozenset().union(*(plan.shadowed for plan in plans)),
        acting=frozenset().union(*(plan.acting for plan in plans)),
        fragile=frozenset().union(*(plan.fragile for plan in plans)),
    )
    return thinner, home


def _without(plan: Plan, names: set[str], module: str) -> Plan:
    own = {one.name for one in plan.functions} | {one.name for one in plan.constants}
    return replace(
        plan,
        functions=tuple(one for one in plan.functions if one.name not in names),
        constants=tuple(one for one in plan.constants if one.name not in names),
        shared=tuple((name, module) for name in sorted(own & names)),
    )


class _Alike:
    """What the plans have in common."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = plans
        self.holders: dict[str, list[tuple[Plan, Function]]] = {}
        for plan in plans:
            for function in plan.functions:
                self.holders.setdefault(function.name, []).append((plan, function))
        self.imports = [{one.name: one for one in plan.imports} for plan in plans]
        self.constants = [{one.name: one for one in plan.constants} for plan in plans]

    def functions(self) -> tuple[Function, ...]:
        """Those that may move, in the order of the first notebook that has them."""
        found = {name: held[0][1] for name, held in self.holders.items() if len(held) > 1 and _same(held)}
        while True:
            kept = {
                name: one for name, one in found.items() if all(self._means_one(name, found, n) for n in _reads(one))
            }
            if len(kept) == len(found):
                return tuple(found.values())
            found = kept

    def _means_one(self, function: str, shared: dict[str, Function], name: str) -> bool:
        """Whether `name` means the same wherever `function` is defined."""
        if name in shared:
            return True
        places = [at for at, plan in enumerate(self.plans) if any(one.name == function for one in plan.functions)]
        imports = {_source(self.imports[at].get(name)) for at in places}
        constants = [self.constants[at].get(name) for at in places]
        if imports == {""} and all(one is None for one in constants):
            return name in _BUILTINS and not any(name in step.outputs for plan in self.plans for step in plan.steps)
        if any(one is not None for one in constants):
            return all(one is not None and len(_bound(one.piece)) == 1 for one in constants) and (
                len({_dump(one.piece) for one in constants if one is not None}) == 1
            )
        return len(imports) == 1

    def constants_of(self, functions: Sequence[Function]) -> tuple[Constant, ...]:
        """The constants that the functions read."""
        known = {name: one for constants in reversed(self.constants) for name, one in constants.items()}
        return tuple(
            known[name] for name in dict.fromkeys(n for one in functions for n in _reads(one)) if name in known
        )

    def imports_of(self, functions: Sequence[Function]) -> tuple[Import, ...]:
        """The imports that the functions read, as in the first notebook that has each function."""
        found: dict[str, Import] = {}
        for function in functions:
            at = next(at for at, plan in enumerate(self.plans) if function in plan.functions)
            found.update({name: self.imports[at][name] for name in _reads(function) if name in self.imports[at]})
        return tuple(found.values())


def _same(held: Sequence[tuple[Plan, Function]]) -> bool:
    first = held[0][1]
    name = first.name
    return all(
        not one.takes
        and one.policy == first.policy
        and (one.policy is None or not (one.policy.references() or one.policy.validate))
        and _dump(one.piece) == _dump(first.piece)
        and plan.futures == held[0][0].futures
        and not any(name in (step.fallback, *(cell.fallback for cell in step.inner)) for step in plan.steps)
        for plan, one in held
    )


def _source(one: Import | None) -> str:
    return "" if one is None else one.source


def _statements(piece: Piece) -> list[ast.stmt]:
    body = ast.parse(piece.source).body
    return [body[place] for place in piece.keep]


def _dump(piece: Piece) -> str:
    return "\n".join(ast.dump(statement) for statement in _statements(piece))


def _bound(piece: Piece) -> frozenset[str]:
    return frozenset(combine(statement_facts(statement) for statement in _statements(piece)).bound)


def _reads(function: Function) -> list[str]:
    facts = combine(statement_facts(statement) for statement in _statements(function.piece))
    return sorted((facts.uses | facts.late_reads) - {function.name})
