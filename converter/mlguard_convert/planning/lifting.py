"""Functions and classes that move to module level, some with notebook variables as keyword-only parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mlguard_convert.plan import Function
from mlguard_convert.planning.draft import BUILTINS, Draft, Unit
from mlguard_convert.planning.purity import is_literal
from mlguard_convert.planning.remembering import is_cached, remembers
from mlguard_nb.dataflow import free_names
from mlguard_nb.dataflow.scopes import arguments, class_names, outside_expressions, target_names

__all__ = ["lift_functions", "scope_is_defs"]

_Def = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_OF_MODULE = frozenset({"__file__", "__name__"})  # they mean something else in a module of the package
# They have called the lambda, or used up the generator, that they are given by the time they return.
_EAGER = frozenset({
    "agg", "all", "any", "apply", "assign", "curve_fit", "dict", "fmin", "frozenset", "join", "list", "max", "min",
    "minimize", "odeint", "quad", "reduce", "root", "set", "solve_ivp", "sort", "sorted", "sum", "transform", "tuple",
})  # fmt: skip
_CLASS_CALLS = frozenset({"field", "Field", "Column", "ForeignKey", "property", "namedtuple", "auto", "TypeVar"})


@dataclass(slots=True)
class _Candidate:
    unit: Unit
    needs: frozenset[str]
    may_take: bool
    early: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()
    takes: frozenset[str] = frozenset()


def lift_functions(draft: Draft) -> None:
    """Decide which definitions move, to a fixed point: one that stays is a variable for all that use it."""
    if draft.is_dynamic:
        return
    fixed = draft.module_names
    found = {
        unit.node.name: _Candidate(unit, _needs(draft, unit), _may_take(draft, unit), _early(unit), _later(unit.node))
        for unit in draft.of_fate("step")
        if isinstance(unit.node, _Def) and _may_move(draft, unit, fixed)
    }
    variables = {name for unit in draft.units if unit.fate in ("step", "param") for name in unit.facts.bound}
    rebound = {name for name in variables if _is_bound_again(draft.binders.get(name, []))}
    changed = True
    while changed:
        changed = False
        for name, candidate in list(found.items()):
            takes = {need for need in candidate.needs if need in variables and need not in found and need not in fixed}
            for need in candidate.needs & found.keys():
                takes |= found[need].takes
            takes -= {name}
            early = any(one in variables and one not in found and one not in fixed for one in candidate.early)
            later = candidate.later.union(*(found[one].takes for one in candidate.later & found.keys()))
            changing = takes & (draft.written | (later & rebound))  # by a function that it calls, or after its call
            if early or changing or (takes and not (candidate.may_take and _callable_with(draft, name, takes))):
                del found[name]
                changed = True
            elif takes != candidate.takes:
                candidate.takes = frozenset(takes)
                changed = True
    for name, candidate in found.items():
        _lift(draft, name, candidate)
    _tell_of_classes(draft, variables - found.keys() - fixed)


def _tell_of_classes(draft: Draft, variables: set[str]) -> None:
    """A class that stays inside its step is no class of a module: its objects cannot be pickled, or, where the step
    makes it one, only be read back in a process in which the step has run.
    """
    what = "can be unpickled only where that step has run" if draft.pickles else "cannot be pickled"
    for unit in draft.of_fate("step"):
        if not isinstance(unit.node, ast.ClassDef):
            continue
        read = sorted(_needs(draft, unit) & variables)
        why = f", because it reads {', '.join(read)}" if read else ""
        draft.findings.info(
            "class", unit.number,
            f"the class {unit.node.name} stays inside its step{why}, so its objects {what}",
            "Give it what it reads as arguments." if read else "", unit.node.lineno,
        )  # fmt: skip


def _lift(draft: Draft, name: str, candidate: _Candidate) -> None:
    unit = candidate.unit
    unit.fate = "function"
    directive = unit.cell.directive
    policy = directive.policy if directive is not None and scope_is_defs(unit) else None
    assert isinstance(unit.node, _Def)
    if is_cached(draft, unit.node):
        draft.cached.append(name)
    order = tuple(sorted(candidate.takes, key=lambda one: _first_read(unit.node, one)))
    draft.functions[name] = Function(
        name=name, piece=unit.piece, takes=order, policy=policy, is_class=isinstance(unit.node, ast.ClassDef)
    )
    if order:
        shown = ", ".join(f"`{one}`" for one in order)
        many = "they are now keyword arguments" if len(order) > 1 else "it is now a keyword argument"
        draft.change((unit.number,), f"`{name}` read the notebook's {shown}: {many}, and every call passes the value")
        for other in draft.readers.get(name, ()):
            late, early = name in other.facts.late_reads, name in other.facts.uses
            if other.fate == "step" and (late or early):
                takes = candidate.takes
                facts = other.facts
                other.facts = replace(
                    facts,
                    reads=facts.reads | (takes if early else frozenset()),
                    uses=facts.uses | (takes if early else frozenset()),
                    certain=facts.certain | (takes - facts.bound if name in facts.certain else frozenset()),
                    late_reads=facts.late_reads | (takes if late else frozenset()),
                )


def scope_is_defs(unit: Unit) -> bool:
    """Whether the guard of this unit's cell belongs to the functions that the cell defines, not to the cell."""
    directive = unit.cell.directive
    if directive is None:
        return False
    if directive.cell.scope is not None:
        return directive.cell.scope in ("defs", "both")
    kinds = (*_Def, ast.Import, ast.ImportFrom, ast.Pass)
    body = unit.cell.tree.body
    texts = [one for one in body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)]
    defines = any(isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) for one in body)
    return defines and all(isinstance(one, kinds) or one in texts for one in body)


def _needs(draft: Draft, unit: Unit) -> frozenset[str]:
    """What the definition reads, now or later; not itself, not builtins that stay what they are."""
    facts = unit.facts
    node = unit.node
    found = facts.reads | facts.late_reads
    if isinstance(node, ast.ClassDef):
        found |= class_names(node).names
    found -= {getattr(node, "name", "")}
    return frozenset(name for name in found if name in draft.binders or name not in BUILTINS or name in _OF_MODULE)


def _may_move(draft: Draft, unit: Unit, fixed: frozenset[str]) -> bool:
    """Whether defining it at import does no work and means the same."""
    node = unit.node
    assert isinstance(node, _Def)
    name = node.name
    if len(draft.binders[name]) != 1 or name in draft.deleted | draft.caught | draft.written or unit.cell.may_raise:
        return False
    if unit.facts.written_globals or unit.facts.is_dynamic or name in BUILTINS or _OF_MODULE & _needs(draft, unit):
        return False
    if any(name in reader.facts.uses and reader.position < unit.position for reader in draft.readers.get(name, ())):
        return False
    if remembers(draft, node) or (is_cached(draft, node) and scope_is_defs(unit)):
        return False
    if not all(_may_decorate(one, fixed) for one in node.decorator_list):
        return False
    if any(not _is_quiet(one) for one in outside_expressions(node) if one not in node.decorator_list):
        return False
    if isinstance(node, ast.ClassDef):
        if _is_told_of_classes(draft, node):
            return False
        quiet = (*_Def, ast.Pass, ast.Assign, ast.AnnAssign)
        for item in node.body:
            text = isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
            if not (text or isinstance(item, quiet)):
                return False
            parts = outside_expressions(item) if isinstance(item, _Def) else [getattr(item, "value", None)]
            if any(part is not None and not _is_quiet(part) for part in parts):
                return False
    return all(one in fixed or one in BUILTINS or _is_earlier_definition(draft, unit, one) for one in _early(unit))


def _is_told_of_classes(draft: Draft, node: ast.ClassDef) -> bool:
    """Whether making the class runs code of the notebook: a metaclass, or a base with `__init_subclass__`."""
    waiting, seen = [node], set[int]()
    while waiting:
        one = waiting.pop()
        seen.add(id(one))
        keywords = {part.id for key in one.keywords for part in ast.walk(key.value) if isinstance(part, ast.Name)}
        if keywords & draft.binders.keys():
            return True
        names = [base.id for base in one.bases if isinstance(base, ast.Name)]
        above = [unit.node for name in names for unit in draft.binders.get(name, ())]
        bases = [base for base in above if isinstance(base, ast.ClassDef) and id(base) not in seen]
        if any(getattr(part, "name", "") == "__init_subclass__" for base in bases for part in base.body):
            return True
        waiting += bases
    return False


def _early(unit: Unit) -> frozenset[str]:
    """What is read when the definition itself is executed: defaults, annotations, bases, the body of a class."""
    return frozenset(unit.facts.reads)


def _later(node: ast.AST) -> frozenset[str]:
    """What a function reads when it may have returned: in lambdas, generators and functions that it makes and does not
    only call.
    """
    nodes = list(ast.walk(node))
    calls = [one for one in nodes if isinstance(one, ast.Call)]
    called = {id(call.func) for call in calls}
    used_up = {
        id(given)
        for call in calls
        if getattr(call.func, "attr", getattr(call.func, "id", "")) in _EAGER
        for given in (*call.args, *(one.value for one in call.keywords))
    }
    kept = {one.id for one in nodes if isinstance(one, ast.Name) and id(one) not in called}
    kept |= {item.name for one in nodes if isinstance(one, ast.ClassDef) for item in one.body if isinstance(item, _Def)}
    found: set[str] = set()
    for one in nodes[1:]:
        made = isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) and (one.decorator_list or one.name in kept)
        if made or (isinstance(one, ast.Lambda) and id(one) not in used_up):
            assert isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            found |= free_names(one).names
        elif isinstance(one, ast.GeneratorExp) and id(one) not in used_up:
            found |= {part.id for part in ast.walk(one) if isinstance(part, ast.Name)}
    return frozenset(found)


def _is_bound_again(units: list[Unit]) -> bool:
    """Whether a variable is bound by several statements, or in a loop."""
    loops = (ast.For, ast.AsyncFor, ast.While)
    return len(units) > 1 or any(isinstance(part, loops) for unit in units for part in ast.walk(unit.node))


def _is_earlier_definition(draft: Draft, unit: Unit, name: str) -> bool:
    """A class may stand on an earlier one; if that one stays, so will this: its needs say so."""
    binders = draft.binders.get(name, [])
    return bool(binders) and all(isinstance(one.node, _Def) and one.position <= unit.position for one in binders)


def _may_decorate(node: ast.expr, fixed: frozenset[str]) -> bool:
    """Decorators of libraries, plain or called with literals; an explicit signature would compile at once."""
    call = node if isinstance(node, ast.Call) else None
    target: ast.expr = call.func if call is not None else node
    while isinstance(target, ast.Attribute):
        target = target.value
    if not isinstance(target, ast.Name) or (target.id not in fixed and target.id not in BUILTINS):
        return False
    if call is None:
        return True
    signature = any(not isinstance(one, ast.Constant) or isinstance(one.value, str) for one in call.args)
    return not signature and all(is_literal(one.value) or isinstance(one.value, ast.Name) for one in call.keywords)


def _is_quiet(node: ast.expr) -> bool:
    """No call but those that only describe a class."""
    for part in ast.walk(node):
        if isinstance(part, (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)):
            return False
        if isinstance(part, ast.Call):
            name = part.func.attr if isinstance(part.func, ast.Attribute) else getattr(part.func, "id", "")
            if name not in _CLASS_CALLS:
                return False
    return True


def _may_take(draft: Draft, unit: Unit) -> bool:
    """Whether every use is a plain call, so that each can pass the current values."""
    node = unit.node
    if isinstance(node, ast.ClassDef) or node.decorator_list or node.name in draft.mentioned:  # type: ignore[attr-defined]
        return False
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    own = [one for part in node.body for one in ast.walk(part)]
    if any(isinstance(one, (ast.Yield, ast.YieldFrom)) for one in own):
        return False
    for other in draft.readers.get(node.name, ()):
        called = {id(one.func) for one in _calls(other.node, awaited=isinstance(node, ast.AsyncFunctionDef))}
        for one in ast.walk(other.node):
            if isinstance(one, ast.Name) and one.id == node.name and id(one) not in called:
                return False
        if isinstance(other.node, ast.ClassDef):
            return False
    return not _named_by_guards(draft, node.name)


def _calls(node: ast.AST, *, awaited: bool) -> Iterator[ast.Call]:
    """Every call inside `node`; with `awaited` those alone that are awaited where they stand: a coroutine that is kept
    reads the notebook's variables later.
    """
    for one in ast.walk(node):
        call = one.value if isinstance(one, ast.Await) else None if awaited else one
        if isinstance(call, ast.Call):
            yield call


def _named_by_guards(draft: Draft, name: str) -> bool:
    """Whether a guard line mentions it: those call it with their own arguments."""
    return any(
        reference.name.partition(".")[0] == name
        for cell in draft.cells
        if cell.directive is not None
        for _, reference in cell.directive.policy.references()
    )


def _callable_with(draft: Draft, name: str, takes: set[str]) -> bool:
    """Whether at every call those names mean the notebook's variables, surely bound by then and never deleted."""
    if takes & draft.deleted:
        return False
    given = {param.name for param in draft.params}
    for unit in draft.readers.get(name, ()):
        if _hidden(unit.node, name, takes, set()):
            return False
        if name in unit.facts.uses and not all(one in given or _is_bound_before(draft, unit, one) for one in takes):
            return False
    return True


def _is_bound_before(draft: Draft, unit: Unit, name: str) -> bool:
    """Whether an earlier statement binds the name on every path."""
    here = (unit.position, unit.place)
    return any(
        name in one.facts.definite and not one.cell.may_raise and (one.position, one.place) < here
        for one in draft.binders.get(name, ())
    )


def _hidden(node: ast.AST, name: str, takes: set[str], local: set[str]) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name and local & takes:
        return True
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        bound = {one.arg for one in arguments(node.args)}
        for item in node.body if isinstance(node.body, list) else [node.body]:
            for one in ast.walk(item):
                if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                    bound.add(one.id)
        if isinstance(node, ast.Lambda) or node.name != name or not (bound & takes):
            local = local | (bound - free_names(node).written)
        else:
            return True
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        local = local | {one for generator in node.generators for one in target_names(generator.target)}
    return any(_hidden(child, name, takes, local) for child in ast.iter_child_nodes(node))


def _first_read(node: ast.AST, name: str) -> int:
    """Where in the text the name is first read; names that only a call below passes on come last."""
    places = [(one.lineno, one.col_offset) for one in ast.walk(node) if isinstance(one, ast.Name) and one.id == name]
    return min(places)[0] * 1000 + min(places)[1] if places else 10**9
